"""Proximal policy optimisation: rollouts with advantages, and the clipped objective."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perdure.core.batch import Batch, Rows, State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.envs.actions import Actions, Continuous, Team
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.contract.world import Act
from perdure.scenarios.rl.acting import Acting

# Added to the deviation of advantages, as is usual.
TINY = 1e-8


@dataclass(frozen=True)
class Rollouts(Acting):
    """Rollouts of a policy and a value: the last output is the value, those before it are the policy.

    Advantages are estimated by Schulman et al. (2016), ``A_t = sum_k (discount trace)^k d_(t+k)`` with
    ``d_t = r_t + discount V(x_(t+1)) - V(x_t)``, within an episode; ``V`` of what follows an end is 0, of
    what follows a cut it is that of the observation before the new start. They are normalised over a rollout,
    for each replica by itself, so that the loss of a sample does not depend on others in its batch.

    Parameters
    ----------
    discount, trace:
        The factors of a step, in [0, 1].
    """

    discount: float = 0.99
    trace: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("discount", "trace"):
            check_number(name, getattr(self, name), high=1, ends="[]")

    @property
    def reads(self) -> int:
        return self.env.actions.outputs + 1

    def play(self, act: Act, state: State, rng: Rng) -> tuple[State, Rows]:
        """Draw an action of each copy's policy, and go one step on."""
        x = self.env.observe(state["env"])
        action = self.env.actions.draw(self.policy(act, x)[:, :-1], rng)
        state, step = self.advance(state, action, rng)
        return state, {"x": x, "action": action, **step}

    def rows(self, act: Act, state: State, trail: Rows) -> Rows:
        """Return observations, actions and their log probability, advantages (``gain``) and values."""
        times = trail["reward"].shape
        x, action = (trail[k].flatten(0, 1) for k in ("x", "action"))
        # The policy has not changed since: its values and probabilities are computed for all steps at once.
        both = self.policy(act, torch.cat([x, trail["after"].flatten(0, 1)]))
        output, beyond = both.chunk(2)
        value = output[:, -1].view(times)
        follows = beyond[:, -1].view(times) * (~trail["ended"]).to(value.dtype)
        going = (~trail["over"]).to(value.dtype)
        found = trail["reward"] + self.discount * follows - value
        gain = discounted(found, self.discount * self.trace * going)
        normal = (gain - gain.mean()) / (gain.std() + TINY)
        # Actions of several numbers are no label.
        labels = torch.zeros_like(action[:, 0]).long() if action.ndim > 1 else action
        return {
            "x": x,
            "y": labels,
            **({"action": action} if action.ndim > 1 else {}),
            "logp": self.env.actions.log_probs(output[:, :-1], action),
            "gain": normal.flatten(),
            "value": (gain + value).flatten(),
        }

    def example(self) -> Rows:
        one, actions = torch.zeros(1), self.env.actions
        action = torch.zeros(1, *actions.parts)
        action = action if isinstance(actions, Continuous) else action.long()
        apart = action.float() if isinstance(actions, Team) else one
        return {
            "x": torch.zeros(1, *self.env.shape), "y": one.long(),
            **({"action": action} if actions.parts else {}),
            "logp": apart, "gain": one, "value": one,
        }  # fmt: skip


@dataclass(frozen=True)
class PPO(Objective):
    """The clipped objective of Schulman et al. (2017), arXiv 1707.06347, with a value and an entropy term.

    ``-min(r A, clip(r, 1 - clip, 1 + clip) A) + weight (V - R)^2 - entropy H``, ``r`` the ratio of an
    action's probability to what it was when it was taken. The information of a sample is that of its action:
    ``surprise = -log p(action)``, which the value does not enter.

    Parameters
    ----------
    actions:
        What can be done.
    clip:
        How far the ratio may go from 1.
    weight:
        Of the squared error of the value.
    entropy:
        Of the policy's entropy.
    """

    metric = "return"

    actions: Actions
    clip: float = 0.2
    weight: float = 0.5
    entropy: float = 0.0

    def __post_init__(self) -> None:
        check_number("clip", self.clip, ends="()")
        check_number("weight", self.weight)
        check_number("entropy", self.entropy)

    @property
    def reads(self) -> int:
        return self.actions.outputs + 1

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        policy, value, gain = output[:, :-1], output[:, -1], batch.rows["gain"]
        ratio = (self.actions.log_prob(policy, self._taken(batch)) - batch.rows["logp"]).exp()
        free, kept = ratio * gain, ratio.clamp(1 - self.clip, 1 + self.clip) * gain
        # The smaller one, by a choice: the gradient of `minimum` takes eight operations more.
        loss = self.weight * (value - batch.rows["value"]).square() - torch.where(free < kept, free, kept)
        return loss - self.entropy * self.actions.entropy(policy) if self.entropy else loss

    def surprise(self, output: Tensor, batch: Batch) -> Tensor:
        return -self.actions.log_prob(output[:, :-1], self._taken(batch))

    def score(self, output: Tensor, batch: Batch) -> Tensor:
        """Return nothing: a world is scored by its episodes."""
        return torch.zeros_like(output[:, 0])

    def _taken(self, batch: Batch) -> Tensor:
        return batch.rows["action"] if self.actions.parts else batch.y


def discounted(values: Tensor, factors: Tensor) -> Tensor:
    """Return ``s_t = values_t + factors_t s_(t+1)`` along the first axis, in log2 of its length steps."""
    total, factor, width = values, factors, 1
    while width < len(values):
        none = torch.zeros_like(total[:width])
        # What lies `width` steps on is added, weighted with all factors on the way there.
        total = total + factor * torch.cat([total[width:], none])
        factor = factor * torch.cat([factor[width:], none])
        width *= 2
    return total
