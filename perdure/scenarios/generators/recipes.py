"""How a policy is learned in an environment: settings that work, for each way to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from perdure.core.errors import PerdureError
from perdure.envs.actions import Actions, Continuous
from perdure.envs.contract import Env
from perdure.envs.hosted import Hosted
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.rl.acting import Acting
from perdure.scenarios.rl.dqn import DQN, Transitions
from perdure.scenarios.rl.hosted import HostRollouts
from perdure.scenarios.rl.ppo import PPO, Rollouts
from perdure.scenarios.rl.team import TeamPPO

Algorithm = Literal["ppo", "dqn"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a policy is learned in an environment. Subclass it for another way to learn.

    Parameters
    ----------
    copies, horizon:
        Copies of the environment, and steps of a rollout of each.
    passes, batch_size, lr, schedule, norm:
        Passes over a rollout, samples of a step, Adam's learning rate, its schedule over a task, and the
        largest norm of a gradient.
    discount:
        The factor of a step.
    hidden:
        Widths of the model's layers.
    """

    copies: int = 8
    horizon: int = 32
    passes: int = 1
    batch_size: int = 256
    lr: float = 0.001
    schedule: str = "linear"
    norm: float = 0.5
    discount: float = 0.98
    hidden: tuple[int, ...] = (64, 64)

    def reads(self, actions: Actions) -> int:
        """Return how many outputs a policy reads."""
        raise PerdureError(f"{type(self).__name__} does not say how many outputs it reads: override `reads`")

    def world(self, env: Env, steps: int, episodes: int, first: int) -> Acting:
        """Return an environment as it is learned for so many steps, and scored by its test episodes."""
        raise PerdureError(f"{type(self).__name__} does not say what its worlds are: override `world`")

    def objective(self, actions: Actions) -> Objective:
        """Return what is minimised."""
        raise PerdureError(f"{type(self).__name__} does not say what is minimised: override `objective`")

    def model(self, actions: Actions) -> str:
        """Return the model."""
        raise PerdureError(f"{type(self).__name__} does not say which model learns: override `model`")

    def rollouts(self, steps: int) -> int:
        """Return how many rollouts make so many steps of the environment, one at least."""
        return max(1, -(-steps // (self.copies * self.horizon)))

    def defaults(self, actions: Actions, steps: int) -> dict[str, Any]:
        """Return what a comparison takes unless it is told otherwise."""
        return {
            "model": self.model(actions),
            "epochs": self.rollouts(steps),
            "batch_size": self.batch_size,
            "optimizer": "adam(eps=1e-5)",
            "lr": self.lr,
            "schedule": self.schedule,
            "clip": self.norm,
        }


@dataclass(frozen=True, kw_only=True)
class PPORecipe(Recipe):
    """Learning by proximal policy optimisation.

    Parameters
    ----------
    trace, clip, entropy:
        As in :class:`perdure.scenarios.rl.Rollouts` and :class:`perdure.scenarios.rl.PPO`.
    """

    passes: int = 20
    trace: float = 0.8
    clip: float = 0.2
    entropy: float = 0.0

    def reads(self, actions: Actions) -> int:
        return actions.outputs + 1

    def world(self, env: Env, steps: int, episodes: int, first: int) -> Acting:
        kind: type[Rollouts] = Rollouts
        if isinstance(env, Hosted):
            kind = HostRollouts
        return kind(
            horizon=self.horizon, passes=self.passes, limit=env.limit, samples=self.copies * self.horizon,
            env=env, copies=self.copies, episodes=episodes, part="test", first=first, discount=self.discount,
            trace=self.trace,
        )  # fmt: skip

    def objective(self, actions: Actions) -> Objective:
        return PPO(actions, self.clip, entropy=self.entropy)

    def model(self, actions: Actions) -> str:
        deviations = actions.d if isinstance(actions, Continuous) else 0
        each = self.reads(actions)
        return f"actor-critic(hidden={list(self.hidden)}, each={each}, deviations={deviations})"


@dataclass(frozen=True, kw_only=True)
class TeamRecipe(PPORecipe):
    """Learning of a team by proximal policy optimisation.

    Parameters
    ----------
    width, blocks, heads:
        As in the model ``team-net``.
    """

    copies: int = 32
    passes: int = 8
    lr: float = 0.001
    trace: float = 0.95
    discount: float = 0.99
    entropy: float = 0.01
    width: int = 64
    blocks: int = 1
    heads: int = 4

    def objective(self, actions: Actions) -> Objective:
        return TeamPPO(actions, self.clip, entropy=self.entropy)

    def model(self, actions: Actions) -> str:
        return f"team-net(width={self.width}, blocks={self.blocks}, heads={self.heads})"


@dataclass(frozen=True, kw_only=True)
class DQNRecipe(Recipe):
    """Learning by deep Q-learning.

    Parameters
    ----------
    samples:
        Transitions that are drawn for a rollout.
    capacity, warm, epsilons:
        As in :class:`perdure.scenarios.rl.Transitions`.
    share:
        Share of a task's steps over which epsilon falls, in (0, 1].
    delta:
        As in :class:`perdure.scenarios.rl.DQN`; by default so large that the loss is the squared error. Where
        values are large, a loss that is linear from an error of 1 on hardly feels the rare ends.
    """

    copies: int = 16
    horizon: int = 8
    lr: float = 0.0025
    norm: float = 10.0
    discount: float = 0.99
    hidden: tuple[int, ...] = (120, 84)
    samples: int = 4096
    capacity: int = 10_000
    warm: int = 1_000
    epsilons: tuple[float, float] = (1.0, 0.02)
    share: float = 0.16
    delta: float = 100.0

    def reads(self, actions: Actions) -> int:
        return actions.outputs

    def world(self, env: Env, steps: int, episodes: int, first: int) -> Acting:
        if isinstance(env, Hosted):
            raise PerdureError(f"deep Q-learning needs an environment of tensors; found {env} on the host")
        return Transitions(
            horizon=self.horizon, passes=self.passes, limit=env.limit, samples=self.samples, env=env,
            copies=self.copies, episodes=episodes, part="test", first=first, discount=self.discount,
            capacity=self.capacity, warm=self.warm, epsilons=self.epsilons,
            fall=max(1, round(self.share * steps)),
        )  # fmt: skip

    def objective(self, actions: Actions) -> Objective:
        return DQN(actions, self.delta)

    def model(self, actions: Actions) -> str:
        return f"mlp(hidden={list(self.hidden)})"

    def rollouts(self, steps: int) -> int:
        # What the memory starts with is lived through as well.
        return super().rollouts(steps - self.warm)
