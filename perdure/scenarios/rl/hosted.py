"""Environments on the host as parts of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from perdure.core.random import Rng
from perdure.envs.hosted import HostCopies, Hosted
from perdure.scenarios.contract.host_world import HostWorld
from perdure.scenarios.contract.world import Act
from perdure.scenarios.rl.ppo import Rollouts


@dataclass(frozen=True)
class HostRollouts(Rollouts, HostWorld):
    """Rollouts of a policy in an environment of Gymnasium's, which is stepped on the host.

    Parameters
    ----------
    env:
        The environment; all else as for :class:`Rollouts`.
    """

    env: Hosted

    def enter(self, seeds: Sequence[int]) -> HostCopies:
        return self.env.copies(seeds)

    def choose(self, act: Act, x: Tensor, rng: Rng) -> Tensor:
        return self.env.actions.draw(self.policy(act, x)[:, :-1], rng)

    def best(self, act: Act, x: Tensor) -> Tensor:
        return self.env.actions.best(self.policy(act, x)[:, :-1])
