"""Streams of one environment whose physics change from task to task."""

from __future__ import annotations

import math
from typing import Literal

from perdure.core.checks import checked
from perdure.envs.contract import Env
from perdure.envs.single_agent import Acrobot, CartPole, Pendulum
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting, first_of
from perdure.scenarios.generators.recipes import Algorithm, DQNRecipe, PPORecipe, Recipe

# In the setting "class" each class has an output; a policy has none of its own.
Policies = Literal["task", "domain", "joint"]

CARTS: dict[str, Env] = {
    "usual": CartPole(),
    "swapped": CartPole(force=-10.0),
    "heavy pole": CartPole(pole=1.0, half=1.0),
    "weak": CartPole(force=4.0),
    "moon": CartPole(gravity=1.6, force=20.0),
}
PENDULUMS: dict[str, Env] = {
    "usual": Pendulum(),
    "swapped": Pendulum(torque=-2.0),
    "long": Pendulum(length=1.5, torque=4.0),
    "moon": Pendulum(gravity=2.0),
}
ACROBOTS: dict[str, Env] = {
    "usual": Acrobot(),
    "swapped": Acrobot(torque=-1.0),
    "heavy": Acrobot(mass_2=2.0, torque=2.0),
}
# Return of 200 steps upside down at full speed and torque, 4 N m at most.
LEAST = -200 * (math.pi**2 + 0.1 * 8**2 + 0.001 * 4**2)
# The settings that people use for these environments (the benchmark suite of Stable-Baselines3).
BALANCE: dict[Algorithm, Recipe] = {"ppo": PPORecipe(), "dqn": DQNRecipe()}
SWING = PPORecipe(
    copies=4, horizon=1024, passes=10, batch_size=64, lr=0.001, schedule="constant", discount=0.9, trace=0.95
)
HANG = PPORecipe(
    copies=16, horizon=256, passes=4, batch_size=64, lr=0.0003, schedule="constant", discount=0.99, trace=0.94
)


@checked
def cartpole_physics(
    tasks: int = 3,
    *,
    steps: int = 30_000,
    episodes: int = 10,
    setting: Policies = "domain",
    algorithm: Algorithm = "ppo",
) -> Stream:
    """Make tasks of keeping a pole upright on a cart: masses, lengths, gravity and force change.

    A policy is learned by reinforcement and scored by the return of episodes, 500 at most.

    Parameters
    ----------
    tasks:
        How many, up to five: the usual physics, left and right swapped, a heavy long pole, a weak push,
        and the moon with a strong one.
    steps:
        Steps of the environment that each task is learned for.
    episodes:
        How many episodes are scored.
    setting:
        ``"task"``: each task has a policy of its own behind what all share; ``"domain"``: all share one.
    algorithm:
        ``"ppo"``: proximal policy optimisation (:class:`perdure.scenarios.rl.PPO`); ``"dqn"``: deep
        Q-learning (:class:`perdure.scenarios.rl.DQN`), which needs 70,000 steps or so.
    """
    return acting(
        "cartpole-physics", first_of(CARTS, tasks), BALANCE[algorithm], setting, steps, episodes, best=500.0
    )


@checked
def pendulum_physics(
    tasks: int = 2, *, steps: int = 100_000, episodes: int = 10, setting: Policies = "domain"
) -> Stream:
    """Make tasks of swinging a rod up and holding it: torque, length and gravity change.

    The actions are continuous. Learned and scored as ``cartpole-physics`` is; a return is 0 at most.

    Parameters
    ----------
    tasks:
        How many, up to four: the usual physics, left and right swapped, a long rod, and the moon.
    steps, episodes, setting:
        As for :func:`cartpole_physics`.
    """
    chosen = first_of(PENDULUMS, tasks)
    return acting("pendulum-physics", chosen, SWING, setting, steps, episodes, LEAST, best=0.0)


@checked
def acrobot_physics(
    tasks: int = 2, *, steps: int = 100_000, episodes: int = 10, setting: Policies = "domain"
) -> Stream:
    """Make tasks of swinging two links up to a height by a torque between them: torque and mass change.

    Learned and scored as ``cartpole-physics`` is; each step costs 1, and an episode has 500 at most.

    Parameters
    ----------
    tasks:
        How many, up to three: the usual physics, the torque's directions swapped, and a heavy second link.
    steps, episodes, setting:
        As for :func:`cartpole_physics`.
    """
    chosen = first_of(ACROBOTS, tasks)
    return acting("acrobot-physics", chosen, HANG, setting, steps, episodes, -500.0, best=0.0)
