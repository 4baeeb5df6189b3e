"""Streams of environments of different sizes, padded to the largest."""

from __future__ import annotations

from perdure.core.checks import checked
from perdure.envs.contract import Env
from perdure.envs.single_agent import Acrobot, CartPole, GridWorld, MountainCar
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting, first_of
from perdure.scenarios.generators.goals import ROOMS
from perdure.scenarios.generators.physics import BALANCE, Policies
from perdure.scenarios.generators.recipes import Algorithm

# Environments, with the worst and the best return of an episode.
CLASSICS: dict[str, tuple[Env, float, float]] = {
    "cartpole": (CartPole(), 0.0, 500.0),
    "acrobot": (Acrobot(), -500.0, 0.0),
    "mountain car": (MountainCar(), -200.0, 0.0),
}
GRIDS: dict[str, Env] = {f"{n} x {n}": GridWorld(("#" * n, *["#" + "." * (n - 2) + "#"] * (n - 2), "#" * n), image=True) for n in (5, 9, 7)}


@checked
def classic_control(
    tasks: int = 3,
    *,
    steps: int = 30_000,
    episodes: int = 10,
    setting: Policies = "domain",
    algorithm: Algorithm = "ppo",
) -> Stream:
    """Make tasks."""
    envs, worst, best = zip(*first_of(CLASSICS, tasks).values(), strict=True)
    named = dict(zip(CLASSICS, envs, strict=False))
    return acting("classic-control", named, BALANCE[algorithm], setting, steps, episodes, worst, best)
