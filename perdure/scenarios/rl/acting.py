"""Environments as parts of a task: copies that start anew by themselves, and episodes that are scored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perdure.core.batch import Rows, State
from perdure.core.checks import check_whole
from perdure.core.random import Rng
from perdure.envs.actions import PaddedDiscrete
from perdure.envs.contract import Env
from perdure.scenarios.contract.world import Act, World


@dataclass(frozen=True)
class Acting(World):
    """Copies of an environment in which a policy acts: to learn from, and to be scored by its returns.

    Scored episodes take the likeliest action each time, start as ``part`` says, and are the same ones at each
    evaluation. A return is the sum of an episode's rewards, without discount.

    Parameters
    ----------
    env:
        The environment.
    copies:
        How many run side by side while learning.
    episodes:
        How many are scored.
    part:
        Enters the draws of where scored episodes start, so that validation and test differ.
    first:
        The first of the model's outputs that the policy reads.
    """

    env: Env
    copies: int
    episodes: int
    part: str
    first: int

    def __post_init__(self) -> None:
        for name in ("horizon", "passes", "limit", "samples", "copies", "episodes"):
            check_whole(name, getattr(self, name))

    def policy(self, act: Act, x: Tensor) -> Tensor:
        """Return the outputs for observations ``[n, ...]`` that are this policy's, ``[n, reads]``."""
        return act(x)[:, self.first : self.first + self.reads]

    @property
    def reads(self) -> int:
        """How many outputs the policy reads."""
        return self.env.actions.outputs

    @property
    def closed(self) -> tuple[int, ...]:
        """Outputs of actions that the environment does not have, and other tasks of the stream do."""
        actions = self.env.actions
        absent = range(actions.n, actions.most) if isinstance(actions, PaddedDiscrete) else ()
        return tuple(self.first + i for i in absent)

    # ---- learning -------------------------------------------------------------------------------------

    def begin(self, rng: Rng) -> State:
        """Return the copies as training starts, each with the steps of its episode, ``age [copies]``."""
        inner = self.env.reset(rng, self.copies)
        zero = next(iter(inner.values()))
        return {"env": inner, "age": zero.new_zeros(len(zero), dtype=torch.int64)}

    def advance(self, state: State, action: Tensor, rng: Rng) -> tuple[State, dict[str, Tensor]]:
        """Go one step on; copies whose episode is over start anew.

        Returns the state, and of the step what followed, ``after [copies, ...]``: the observation before a
        new start; ``reward``, ``ended`` (nothing follows) and ``over`` (ended, or cut off), ``[copies]``.
        """
        inner, reward, ended = self.env.step(state["env"], action, rng.scoped("step"))
        age = state["age"] + 1
        over = ended | (age >= self.env.limit)
        fresh = self.env.reset(rng.scoped("reset"), self.copies)
        new = {k: _where(over, fresh[k], v) for k, v in inner.items()}
        step = {"after": self.env.observe(inner), "reward": reward, "ended": ended, "over": over}
        return {"env": new, "age": torch.where(over, 0, age)}, step

    # ---- scoring --------------------------------------------------------------------------------------

    def start(self, rng: Rng) -> State:
        """Return the episodes that are scored, their returns so far, and which go on."""
        inner = self.env.reset(rng.scoped(self.part), self.episodes)
        zero = next(iter(inner.values()))
        none = zero.new_zeros(len(zero), dtype=torch.float32)
        return {"env": inner, "return": none, "on": torch.ones_like(none)}

    def step(self, act: Act, state: State, rng: Rng) -> State:
        """Go one step on; episodes that have ended get no more rewards."""
        return self.watch(act, state, rng)[0]

    def watch(self, act: Act, state: State, rng: Rng) -> tuple[State, Rows]:
        x = self.env.observe(state["env"])
        output = self.policy(act, x)
        action = self.env.actions.best(output[:, : self.env.actions.outputs])
        inner, reward, ended = self.env.step(state["env"], action, rng.scoped(self.part))
        on = state["on"]
        # Numbers of an episode that is over stay finite: it stands still.
        new = {k: _where(on > 0, v, state["env"][k]) for k, v in inner.items()}
        reward = on * reward.to(on.dtype)
        after = {"env": new, "return": state["return"] + reward, "on": on * (~ended).to(on.dtype)}
        return after, {"x": x, "action": action, "reward": reward, "on": on}

    def over(self, state: State) -> Tensor:
        on: Tensor = state["on"]
        return (on == 0).all()

    def score(self, state: State) -> Tensor:
        """Return the return of each episode, ``[episodes]``."""
        total: Tensor = state["return"]
        return total

    # ---- pictures -------------------------------------------------------------------------------------

    def glimpse(self, state: State) -> State:
        return {"env": state["env"], "on": state["on"]}

    def frames(self, glimpses: State) -> Tensor:
        return self.env.frame(glimpses["env"])


def _where(condition: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Choose rows ``[n, ...]`` by a condition ``[n]``."""
    return torch.where(condition.view(-1, *(1,) * (one.ndim - 1)), one, other)
