"""Deep Q-learning: a replay memory of transitions with targets, and the error of the values of actions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perdure.core.batch import Batch, Rows, State
from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.envs.actions import Actions, Discrete
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.contract.world import Act
from perdure.scenarios.rl.acting import Acting

# What the memory holds of a transition.
KEPT = ("x", "action", "after", "reward", "ended")


@dataclass(frozen=True)
class Transitions(Acting):
    """Transitions drawn from a replay memory, with targets; the outputs are the values of actions, ``Q(x)``.

    Copies take the action of the highest value, or with probability epsilon any action. After each step the
    memory takes up what it brought, the oldest transitions giving way, and ``samples / horizon`` transitions
    are drawn from it, uniformly and with replacement. At the end of the rollout they are given targets,
    ``r + discount (1 - ended) max_a Q(after, a)``: an end cuts them off, a cut of the episode does not.

    The targets are by the policy as it was while it acted, and stay while the rollout is learned: that is a
    target network which is refreshed at every rollout. Double Q-learning lets the network that learns choose
    the action whose value the target network says: at that moment they are the same, so it is left out. A
    strategy that keeps samples keeps their targets as they were.

    Parameters
    ----------
    discount:
        The factor of a step, in [0, 1].
    capacity:
        Transitions that the memory holds.
    warm:
        Transitions of random actions that are lived through, by all copies together, before any is learned
        from; rounded up to whole steps of all copies.
    epsilons:
        Epsilon as learning begins, and after ``fall`` transitions more; it falls linearly.
    fall:
        See there.

    Raises
    ------
    PerdureError
        For actions that are real numbers, ``samples`` that are no multiple of ``horizon``, and a memory that
        is smaller than ``warm``, or than a step of all copies.

    Source: Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015. Deviations:
    many copies act side by side, and learning waits for the end of a rollout; the target network is as old as
    a rollout, not a number of steps of its own; rewards are not clipped.
    """

    discount: float = 0.99
    capacity: int = 10_000
    warm: int = 1_000
    epsilons: tuple[float, float] = (1.0, 0.05)
    fall: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_discrete(self.env.actions)
        check_number("discount", self.discount, high=1, ends="[]")
        for epsilon in self.epsilons:
            check_number("epsilon", epsilon, high=1, ends="[]")
        check_whole("fall", self.fall)
        check_whole("warm", self.warm, least=0)
        check_whole("capacity", self.capacity, least=max(self.copies, self.warmed))
        if self.samples % self.horizon:
            raise PerdureError(
                f"samples must be a multiple of horizon, {self.horizon}: as many are drawn at each step; "
                f"found {self.samples}"
            )

    @property
    def warmed(self) -> int:
        """How many transitions the memory holds when learning begins."""
        return -(-self.warm // self.copies) * self.copies

    @property
    def _choices(self) -> int:
        """How many actions there are: fewer than outputs, where other tasks have more."""
        assert isinstance(self.env.actions, Discrete)
        return self.env.actions.n

    def epsilon(self, count: Tensor) -> Tensor:
        """Return the probability of a random action once so many transitions were lived through."""
        first, last = self.epsilons
        return first + (last - first) * ((count - self.warmed) / self.fall).clamp(0, 1)

    def begin(self, rng: Rng) -> State:
        """Return the copies, and the memory with the transitions of random actions."""
        state = super().begin(rng)
        x = self.env.observe(state["env"])
        number = torch.zeros_like(state["age"][:1], dtype=torch.float32)
        one = {
            "x": x[:1], "action": torch.zeros_like(state["age"][:1]), "after": x[:1],
            "reward": number, "ended": number > 0,
        }  # fmt: skip
        memory = {k: v.new_zeros(self.capacity, *v.shape[1:]) for k, v in one.items()}
        found = []
        for i in range(self.warmed // self.copies):
            at = rng.scoped(f"warm{i}")
            action = at.integers("action", self._choices, self.copies)
            state, step = self._transition(state, action, at)
            found.append(step)
        count = torch.zeros_like(state["age"][0])
        if found:
            memory = written(memory, count, {k: torch.cat([step[k] for step in found]) for k in KEPT})
        return {**state, "memory": memory, "count": count + self.warmed}

    def play(self, act: Act, state: State, rng: Rng) -> tuple[State, Rows]:
        """Go one step on with each copy, remember it, and draw transitions."""
        best = self.env.actions.best(self.policy(act, self.env.observe(state["env"])))
        other = rng.integers("any", self._choices, self.copies)
        explores = rng.uniform("explore", self.copies) < self.epsilon(state["count"])
        new, step = self._transition(state, torch.where(explores, other, best), rng)
        memory, count = written(state["memory"], state["count"], step), state["count"] + self.copies
        drawn = rng.integers("replay", count.clamp_max(self.capacity), self.samples // self.horizon)
        return {**new, "memory": memory, "count": count}, {k: v[drawn] for k, v in memory.items()}

    def rows(self, act: Act, state: State, trail: Rows) -> Rows:
        """Return the observations and actions that were drawn, and their ``target``."""
        drawn = {k: v.flatten(0, 1) for k, v in trail.items()}
        follows = self.policy(act, drawn["after"]).amax(-1) * (~drawn["ended"]).to(drawn["reward"].dtype)
        return {"x": drawn["x"], "y": drawn["action"], "target": drawn["reward"] + self.discount * follows}

    def example(self) -> Rows:
        one = torch.zeros(1)
        return {"x": torch.zeros(1, *self.env.shape), "y": one.long(), "target": one}

    def _transition(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Rows]:
        """Go one step on; return the copies, and what the memory holds of the step."""
        x = self.env.observe(state["env"])
        state, step = self.advance(state, action, rng)
        found = {"x": x, "action": action, **step}
        return state, {k: found[k] for k in KEPT}


@dataclass(frozen=True)
class DQN(Objective):
    """Huber's loss of the value of the action that was taken, ``h(Q(x, a) - target)``.

    ``h(e) = e^2 / 2`` up to ``delta``, and ``delta (|e| - delta / 2)`` beyond.

    The information of a sample is that of a normal distribution with mean ``Q(x, a)`` and variance 1, which
    the squared error is the likelihood of. Its Fisher information is ``(d Q(x, a) / d theta)^2`` whatever the
    target, and of the value of the action that was taken alone. ``surprise`` is that of a target one
    deviation away, whose squared gradient is just this: that at the targets themselves would vanish where
    the values are well learned. It says how values move, and needs no temperature, which the probability of
    an action under a softmax of values would.

    Parameters
    ----------
    actions:
        What can be done.
    delta:
        Errors from which on the loss grows linearly. 1 is for rewards of size 1 at most that are rare, as in
        the paper; where an end takes a value of 100 away, it should be as large.

    Source: Mnih et al., Nature 2015, where errors are clipped at 1.
    """

    metric = "return"

    actions: Actions
    delta: float = 1.0

    def __post_init__(self) -> None:
        check_discrete(self.actions)
        check_number("delta", self.delta, ends="()")

    @property
    def reads(self) -> int:
        return self.actions.outputs

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        error = (taken(output, batch) - batch.rows["target"]).abs()
        kept = error.clamp(max=self.delta)
        return kept * (error - 0.5 * kept)

    def surprise(self, output: Tensor, batch: Batch) -> Tensor:
        value = taken(output, batch)
        return 0.5 * (value - (value.detach() + 1)).square()

    def score(self, output: Tensor, batch: Batch) -> Tensor:
        """Return nothing: a world is scored by its episodes."""
        return torch.zeros_like(output[:, 0])


def check_discrete(actions: Actions) -> None:
    """Refuse actions that there is no highest value of."""
    if not isinstance(actions, Discrete):
        raise PerdureError(f"deep Q-learning needs one of several actions; found {actions}")


def written(memory: Rows, count: Tensor, new: Rows) -> Rows:
    """Return a ring of slots ``[capacity, ...]`` with ``n`` rows written behind the ``count`` before them."""
    rows = next(iter(new.values()))
    capacity = len(next(iter(memory.values())))
    slots = (count + torch.arange(len(rows), device=rows.device)) % capacity
    return {k: v.index_put((slots,), new[k].to(v.dtype)) for k, v in memory.items()}


def taken(output: Tensor, batch: Batch) -> Tensor:
    """Return the value of the action that was taken, ``[n]``."""
    return output.gather(-1, batch.y.unsqueeze(-1)).squeeze(-1)
