"""Ready streams of MiniGrid's and MuJoCo's environments, stepped on the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.core.checks import check_whole, checked
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.hosted import NOTE, environments
from perdure.scenarios.generators.physics import Policies
from perdure.scenarios.generators.recipes import PPORecipe

# Five tasks with the same picture of 7 x 7 cells around the agent, and the same seven actions.
GRIDS = {
    "empty": "minigrid:MiniGrid-Empty-Random-5x5-v0",
    "lava gap": "minigrid:MiniGrid-LavaGapS5-v0",
    "crossing": "minigrid:MiniGrid-SimpleCrossingS9N1-v0",
    "door and key": "minigrid:MiniGrid-DoorKey-5x5-v0",
    "unlock": "minigrid:MiniGrid-Unlock-v0",
}
WALK = PPORecipe(
    copies=8,
    horizon=128,
    passes=4,
    batch_size=256,
    lr=0.001,
    schedule="constant",
    discount=0.99,
    trace=0.95,
    entropy=0.01,
)
# Downward accelerations in m/s^2.
GRAVITIES = {"usual": 9.81, "moon": 1.62, "twice": 19.62, "half": 4.9}
# Returns of bodies that can do no better.
BEST = {"InvertedPendulum-v5": 1000.0}
MOVE = PPORecipe(
    copies=4, horizon=512, passes=10, batch_size=64, lr=0.0003, schedule="constant", discount=0.99, trace=0.95
)


@checked
def minigrid_five(
    tasks: int = 5, *, steps: int = 100_000, episodes: int = 20, setting: Policies = "domain"
) -> Stream:
    """Make tasks of MiniGrid: an empty room, a gap in lava, a wall to cross, a key for a door, a door alone.

    What is seen are the 7 x 7 cells before the agent, ``[147]``, a tenth of MiniGrid's numbers for kind,
    colour and state of each. A return is above 0 for a goal reached, the more the sooner, 1 at most. Learned
    and scored as ``cartpole-physics`` is, on the host; needs the extra ``minigrid``.

    Parameters
    ----------
    tasks:
        How many, up to five.
    steps, episodes, setting:
        As for :func:`cartpole_physics`.

    Source: Chevalier-Boisvert et al., "Minigrid & Miniworld", 2023, arXiv 2306.13831.
    """
    names = _first(GRIDS, tasks)
    ids = [GRIDS[name] for name in names]
    envs = environments(ids, names=names, wrapper="minigrid.wrappers:ImgObsWrapper", scale=0.1)
    return acting("minigrid-five", envs, WALK, setting, steps, episodes, best=1.0, notes=(NOTE,))


@checked
def mujoco_gravity(
    tasks: int = 3,
    *,
    body: str = "InvertedPendulum-v5",
    steps: int = 60_000,
    episodes: int = 5,
    setting: Policies = "domain",
) -> Stream:
    """Make tasks of moving one body of MuJoCo's under another gravity each time.

    ``model.opt.gravity`` becomes that of the earth, the moon, twice and half the earth's. Learned and scored
    as ``cartpole-physics`` is, on the host; needs the extra ``mujoco``.

    Parameters
    ----------
    tasks:
        How many, up to four.
    body:
        Gymnasium's id of it: ``"HalfCheetah-v5"``, ``"Hopper-v5"``.
    steps, episodes, setting:
        As for :func:`cartpole_physics`.

    Source: gravity as what differs between tasks follows Mendez, Wang and Eaton, "Lifelong policy gradient
    learning of factored policies", NeurIPS 2020, arXiv 2007.07011, with other values.
    """
    names = _first(GRAVITIES, tasks)
    physics = [{"model.opt.gravity": [0.0, 0.0, -GRAVITIES[name]]} for name in names]
    envs = environments([body], physics=physics, names=names)
    best = BEST.get(body)
    return acting("mujoco-gravity", envs, MOVE, setting, steps, episodes, best=best, notes=(NOTE,))


def _first(table: Mapping[str, Any], tasks: int) -> list[str]:
    check_whole("tasks", tasks, most=len(table))
    return list(table)[:tasks]
