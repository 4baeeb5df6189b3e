"""Streams of teams on grids, whose sizes change from task to task."""

from __future__ import annotations

from dataclasses import replace

from perdure.core.checks import check_whole, checked
from perdure.envs.multi_agent import AliceBob, Skirmish
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting, first_of
from perdure.scenarios.generators.recipes import TeamRecipe
from perdure.scenarios.generators.teams import padded

SKIRMISHES: dict[str, Skirmish] = {
    "3v3": Skirmish(),
    "2v3": Skirmish(allies=2, ally_health=8.0, ally_damage=1.5),
    "5v5": Skirmish(allies=5, enemies=5),
}
# A rollout is an episode of each copy.
KEYS = TeamRecipe(horizon=40, batch_size=320, width=32, heads=2, lr=0.002, passes=4, norm=10.0)
FIGHT = TeamRecipe(horizon=40, batch_size=640, width=32, heads=2, lr=0.002, passes=4, norm=10.0)


@checked
def alicebob_agents(
    tasks: int = 2, *, size: int = 6, view: int = 3, limit: int = 40, shaping: float = 0.5,
    steps: int = 100_000, episodes: int = 100,
) -> Stream:  # fmt: skip
    """Make tasks of opening goals for each other: the number of agents, the grid and the places change.

    Learned by multi-agent PPO, scored by episodes that start in the same way each time; a return is 1 where
    all goals were opened. Policies have no memory: who holds a key sees only what is near, and agents that
    tell each other nothing hardly learn when to go on.

    Parameters
    ----------
    tasks:
        How many, up to four: two agents, three agents, two on a grid with a row and a column more, and two
        with keys and goals across the diagonals.
    size, view, limit:
        Rows and columns of the grid, walls included, rows and columns that an agent sees, and steps of an
        episode. The game is known with 10, 3 and 100; there chance finds next to nothing to learn from.
    shaping:
        Share of the reward that comes as each goal is opened, in [0, 1]. With 0 the only reward is for all of
        them.
    steps:
        Steps of the environment that each task is learned for.
    episodes:
        How many are scored.
    """
    first = AliceBob(size=size, view=view, limit=limit, shaping=shaping)
    envs = {
        "2 agents": first,
        "3 agents": replace(first, agents=3),
        "larger": replace(first, size=size + 1),
        "diagonals": replace(first, layout="diagonals"),
    }
    return acting("alicebob-agents", padded(first_of(envs, tasks)), KEYS, "domain", steps, episodes, best=1.0)


@checked
def skirmish_units(tasks: int = 2, *, sight: int = 5, steps: int = 60_000, episodes: int = 100) -> Stream:
    """Make tasks of a small fight: the number and strength of units change.

    Learned by multi-agent PPO, scored by episodes that start in the same way each time; a return is 1 where
    all enemies were beaten, and half of the share of their health that was taken elsewhere.

    Parameters
    ----------
    tasks:
        How many, up to three: three against three, two stronger ones against three, and five against five.
    sight:
        Steps from which agents see others.
    steps:
        Steps of the environment that each task is learned for.
    episodes:
        How many are scored.
    """
    check_whole("sight", sight)
    envs = {name: replace(env, sight_range=sight) for name, env in first_of(SKIRMISHES, tasks).items()}
    return acting("skirmish-units", padded(envs), FIGHT, "domain", steps, episodes, best=1.0)
