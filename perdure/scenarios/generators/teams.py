"""Streams of teams: agents that act at once, and may tell each other what they see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from perdure.core.checks import checked
from perdure.envs.multi_agent import Reference, Referential, SpeakerListener, Spread, TeamEnv
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting, first_of
from perdure.scenarios.generators.recipes import TeamRecipe

GUESS = TeamRecipe(horizon=8, passes=4, batch_size=256)
GAMES: dict[str, TeamEnv] = {f"{n} objects": Referential(objects=n) for n in (5, 3, 8)}
# A rollout is an episode of each copy; costs of many steps ahead would only make values large.
PLANE = TeamRecipe(horizon=25, batch_size=200, lr=0.002, discount=0.9, entropy=0.003)
CROWD = replace(PLANE, width=32, heads=2, passes=4, lr=0.004)
CROWDS: dict[str, TeamEnv] = {f"{n} agents": Spread(agents=n) for n in (3, 2, 4)}
HINTS: dict[str, TeamEnv] = {"speaker and listener": SpeakerListener(), "both": Reference()}


def padded(envs: Mapping[str, TeamEnv]) -> dict[str, TeamEnv]:
    """Return environments of one size: that of the largest team, table and number of moves among them."""
    agents, rows, moves = (max(some) for some in zip(*(env.sizes for env in envs.values()), strict=True))
    return {k: replace(env, seats=agents, slots=rows, choices=moves) for k, env in envs.items()}


@checked
def referential_games(tasks: int = 1, *, steps: int = 60_000, episodes: int = 500) -> Stream:
    """Make tasks of choosing the object that only the other agent knows to be meant.

    Without messages a return is ``1 / objects``, with them it can be 1. Learned by multi-agent PPO, scored by
    episodes that start in the same way each time.

    Parameters
    ----------
    tasks:
        How many, up to 3: of 5, 3 and 8 objects.
    steps:
        Steps of the environment that each task is learned for.
    episodes:
        How many are scored.
    """
    return acting(
        "referential-games", padded(first_of(GAMES, tasks)), GUESS, "domain", steps, episodes, best=1.0
    )


@checked
def spread_agents(tasks: int = 3, *, steps: int = 100_000, episodes: int = 100) -> Stream:
    """Make tasks of covering landmarks with as many agents, another number of them each time.

    All tasks have the size of the largest one: agents and entities that are not there are rows of zeros.
    Learned by multi-agent PPO. A return is the cost of 25 steps: about -24 for three agents that wait, and
    -8 for three that each go straight to a landmark of their own.

    Parameters
    ----------
    tasks:
        How many, up to 3: of 3, 2 and 4 agents.
    steps:
        Steps of the environment that each task is learned for.
    episodes:
        How many are scored.
    """
    return acting("spread-agents", padded(first_of(CROWDS, tasks)), CROWD, "domain", steps, episodes)


@checked
def reference_games(tasks: int = 2, *, steps: int = 200_000, episodes: int = 100) -> Stream:
    """Make tasks of going to a landmark whose colour only another agent knows.

    There are no symbols: what agents know must go through the messages of a strategy (``mcs``). Learned by
    multi-agent PPO. A return is the cost of 25 steps. Agents that wait in the middle of the landmarks reach
    about -15 in the first task and -17 in the second, those that are told where to go -7 and -8.

    Parameters
    ----------
    tasks:
        How many, up to 2: a listener that a speaker tells, and two agents that tell each other.
    steps:
        Steps of the environment that each task is learned for.
    episodes:
        How many are scored.
    """
    return acting("reference-games", padded(first_of(HINTS, tasks)), PLANE, "domain", steps, episodes)
