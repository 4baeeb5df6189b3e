"""Streams of teams on grids, whose sizes change from task to task."""

from __future__ import annotations

from dataclasses import replace

from perdure.core.checks import check_number, checked
from perdure.envs.multi_agent import AliceBob, Skirmish, TeamEnv
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting, first_of
from perdure.scenarios.generators.recipes import TeamRecipe
from perdure.scenarios.generators.teams import padded

ALICEBOBS: dict[str, AliceBob] = {
    "2 agents": AliceBob(),
    "3 agents": AliceBob(agents=3),
    "larger": AliceBob(size=12),
    "diagonals": AliceBob(layout="diagonals"),
}
SKIRMISHES: dict[str, TeamEnv] = {
    "3v3": Skirmish(),
    "2v3": Skirmish(allies=2, ally_health=8.0, ally_damage=1.5),
    "5v5": Skirmish(allies=5, enemies=5),
}
# As multi-agent PPO is usually set, a rollout being some episodes of each copy.
KEYS = TeamRecipe(horizon=100, passes=8, batch_size=800, norm=10.0)
FIGHT = TeamRecipe(horizon=40, passes=8, batch_size=640, norm=10.0)


@checked
def alicebob_agents(
    tasks: int = 2, *, shaping: float = 0.5, steps: int = 500_000, episodes: int = 50
) -> Stream:
    """Make tasks of opening goals for each other: the number of agents, the grid and the places change.

    Learned by multi-agent PPO, scored by episodes that start in the same way each time; a return is 1 where
    all goals were opened.

    Parameters
    ----------
    tasks:
        How many, up to four: two agents, three agents, two on a grid of 12 rows and columns instead of 10,
        and two with keys and goals across the diagonals.
    shaping:
        Share of the reward that comes as each goal is opened, in [0, 1]. With 0 the only reward is for all of
        them, which two agents that act at random found in none of 2,000 episodes.
    steps:
        Steps of the environment that each task is learned for. Goals are rarely opened by chance:
        64,000 steps taught one team nothing.
    episodes:
        How many are scored.
    """
    check_number("shaping", shaping, high=1, ends="[]")
    envs = {name: replace(env, shaping=shaping) for name, env in first_of(ALICEBOBS, tasks).items()}
    return acting("alicebob-agents", padded(envs), KEYS, "domain", steps, episodes, best=1.0)


@checked
def skirmish_units(tasks: int = 2, *, steps: int = 100_000, episodes: int = 50) -> Stream:
    """Make tasks of a small fight: the number and strength of units change.

    Learned by multi-agent PPO, scored by episodes that start in the same way each time; a return is 1 where
    all enemies were beaten, and half of the share of their health that was taken elsewhere.

    Parameters
    ----------
    tasks:
        How many, up to three: three against three, two stronger ones against three, and five against five.
    steps:
        Steps of the environment that each task is learned for; after 40,000 one team of three had a return of
        .75, from 0.
    episodes:
        How many are scored.
    """
    return acting(
        "skirmish-units", padded(first_of(SKIRMISHES, tasks)), FIGHT, "domain", steps, episodes, best=1.0
    )
