"""Streams of teams: agents that act at once, and may tell each other what they see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from perdure.core.checks import checked
from perdure.envs.multi_agent import Referential, TeamEnv
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting, first_of
from perdure.scenarios.generators.recipes import TeamRecipe

GUESS = TeamRecipe(horizon=8, passes=4, batch_size=256, lr=0.003)
GAMES: dict[str, TeamEnv] = {f"{n} objects": Referential(objects=n) for n in (5, 3, 8)}


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
