"""CartPole whose physics change from task to task."""

from __future__ import annotations

from typing import Literal

from perdure.core.checks import check_whole, checked
from perdure.core.errors import PerdureError
from perdure.envs.single_agent.cartpole import CartPole
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.recipes import Algorithm, DQNRecipe, PPORecipe, Recipe

PHYSICS = {
    "usual": CartPole(),
    "heavy pole": CartPole(pole=1.0, half=1.0),
    "swapped": CartPole(force=-10.0),
    "weak": CartPole(force=4.0),
    "moon": CartPole(gravity=1.6, force=20.0),
}
RECIPES: dict[Algorithm, Recipe] = {"ppo": PPORecipe(), "dqn": DQNRecipe()}


@checked
def cartpole_physics(
    tasks: int = 3,
    *,
    steps: int = 50_000,
    episodes: int = 10,
    setting: Literal["task", "domain", "joint"] = "domain",
    algorithm: Algorithm = "ppo",
) -> Stream:
    """Make tasks of keeping a pole upright on a cart: the masses, lengths, gravity and force change.

    A policy is learned and scored by the return of episodes, 500 at most.

    Parameters
    ----------
    tasks:
        How many, up to five: the usual physics, a heavy long pole, left and right swapped, a weak push,
        and the moon with a strong one.
    steps:
        Steps of the environment that each task is learned for.
    episodes:
        How many episodes are scored.
    setting:
        ``"task"``: each task has outputs of its own behind what all share; ``"domain"``: all share them.
    algorithm:
        ``"ppo"``: proximal policy optimisation (:class:`perdure.scenarios.rl.PPO`); ``"dqn"``: deep
        Q-learning (:class:`perdure.scenarios.rl.DQN`), which needs about twice as many steps.
    """
    check_whole("tasks", tasks)
    if tasks > len(PHYSICS):
        raise PerdureError(f"tasks must be at most {len(PHYSICS)}, the physics that there are; found {tasks}")
    chosen = dict(list(PHYSICS.items())[:tasks])
    return acting("cartpole-physics", chosen, RECIPES[algorithm], setting, steps, episodes)
