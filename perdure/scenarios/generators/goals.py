"""Streams of one environment in which other places are to be reached from task to task."""

from __future__ import annotations

from perdure.core.checks import checked
from perdure.envs.contract import Env
from perdure.envs.single_agent import Catch, GridWorld, Reacher
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting, first_of
from perdure.scenarios.generators.physics import Policies
from perdure.scenarios.generators.recipes import Algorithm, DQNRecipe, PPORecipe, Recipe

GRIDS: dict[str, Env] = {
    "lower right": GridWorld("four-rooms"),
    "lower left": GridWorld("four-rooms", goal=(7, 1)),
    "upper right": GridWorld("four-rooms", goal=(1, 7)),
    "upper left": GridWorld("four-rooms", goal=(1, 1)),
}
TARGETS: dict[str, Env] = {
    "right": Reacher(target=(0.7, 0.4)),
    "left": Reacher(target=(-0.7, 0.4)),
    "below": Reacher(target=(0.3, -0.8)),
    "above": Reacher(target=(0.3, 0.8)),
}
BALLS: dict[str, Env] = {
    "usual": Catch(),
    "swapped": Catch(swapped=True),
    "inverted": Catch(inverted=True),
    "drift": Catch(drift=1),
}
ROOMS = PPORecipe(horizon=64, passes=8, lr=0.0025, discount=0.97, trace=0.95, entropy=0.01)
ARM = PPORecipe(horizon=128, passes=10, lr=0.001, discount=0.95, trace=0.95)
FALL: dict[Algorithm, Recipe] = {
    "ppo": PPORecipe(copies=32, passes=4, lr=0.001, discount=0.99, trace=0.95, entropy=0.05),
    "dqn": DQNRecipe(copies=8, horizon=16),
}

# Return of 50 steps as far away as the arm can be, two lengths of it, with full torques.
FAR = -50 * (2 * 1.0 + 0.01 * 2)


@checked
def grid_world_goals(
    tasks: int = 3, *, steps: int = 30_000, episodes: int = 20, setting: Policies = "domain"
) -> Stream:
    """Make tasks of walking through four rooms to a goal, which lies in another corner each time.

    The goal is not shown: a policy for one corner is wrong for the others. Learned and scored as
    ``cartpole-physics`` is; a return is 1 less the cost of the steps.

    Parameters
    ----------
    tasks:
        How many, up to four corners.
    steps, episodes, setting:
        As for :func:`cartpole_physics`.
    """
    return acting("grid-world-goals", first_of(GRIDS, tasks), ROOMS, setting, steps, episodes, -1.0, best=1.0)


@checked
def reacher_targets(
    tasks: int = 3, *, steps: int = 60_000, episodes: int = 10, setting: Policies = "domain"
) -> Stream:
    """Make tasks of bringing the end of an arm of two links to a target, another one each time.

    The actions are continuous, and the observation shows the target. Learned and scored as
    ``cartpole-physics`` is; a return is 0 at most.

    Parameters
    ----------
    tasks:
        How many, up to four targets.
    steps, episodes, setting:
        As for :func:`cartpole_physics`.
    """
    return acting("reacher-targets", first_of(TARGETS, tasks), ARM, setting, steps, episodes, FAR, best=0.0)


@checked
def catch_shift(
    tasks: int = 3,
    *,
    steps: int = 100_000,
    episodes: int = 20,
    setting: Policies = "domain",
    algorithm: Algorithm = "ppo",
) -> Stream:
    """Make tasks of catching a ball from pictures of 10 x 10 pixels, in which moves and pixels change.

    Learned and scored as ``cartpole-physics`` is; a return is 1 or -1. ``model="cnn"`` sees the pictures
    through convolutions.

    Parameters
    ----------
    tasks:
        How many, up to four: as usual, left and right swapped, dark for light, and a ball that drifts.
    steps, episodes, setting, algorithm:
        As for :func:`cartpole_physics`.
    """
    return acting(
        "catch-shift", first_of(BALLS, tasks), FALL[algorithm], setting, steps, episodes, -1.0, best=1.0
    )
