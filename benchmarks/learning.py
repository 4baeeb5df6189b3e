"""Learning curves of PPO and of Stable-Baselines3's, with the same settings, side by side.

    python benchmarks/learning.py cartpole
    python benchmarks/learning.py pendulum

Five seeds each. Prints, for about a dozen numbers of environment steps, the mean return of 100 episodes in
which the likeliest actions are taken, with 95 % bootstrap intervals over seeds, and whether these overlap.
Needs Stable-Baselines3.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import gymnasium
import numpy as np
import torch

from perdure import compare
from perdure.analysis.metrics.worlds import steps as environment_steps
from perdure.analysis.statistics import bootstrap_interval
from perdure.scenarios import get
from perdure.scenarios.generators.physics import BALANCE, SWING
from perdure.scenarios.generators.recipes import Recipe

# Enough episodes that where they start does not decide: one that starts hanging costs more.
SEEDS, STEPS, EPISODES = 5, 100_000, 100
# Rollouts between two looks.
CASES: dict[str, tuple[str, str, Recipe, int]] = {
    "cartpole": ("cartpole-physics", "CartPole-v1", BALANCE["ppo"], 32),
    "pendulum": ("pendulum-physics", "Pendulum-v1", SWING, 2),
}
Curve = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def ours(stream: str, recipe: Recipe, every: int) -> Curve:
    """Return environment steps ``[K]`` and returns ``[seeds, K]``."""
    made = get(f"{stream}(tasks=1, steps={STEPS}, episodes={EPISODES})")
    train: Any = made[0].train
    each = train.passes * -(-len(train) // recipe.batch_size)
    results = compare(made, "naive", seeds=SEEDS, eval_every=every * each, quiet=True)
    curve = results.curves["naive"]
    return environment_steps(results, curve), curve.scores[:, :, 0]


def theirs(name: str, recipe: Any, every: int) -> Curve:
    """Return the same of Stable-Baselines3."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Looks(BaseCallback):  # type: ignore[misc]
        """Scores the policy after every so many rollouts have been learned from."""

        def __init__(self) -> None:
            super().__init__()
            self.rollouts = 0
            self.found: list[tuple[int, float]] = []

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.rollouts and self.rollouts % every == 0:
                self.look()
            self.rollouts += 1

        def look(self) -> None:
            env = DummyVecEnv([lambda: gymnasium.make(name)] * 50)
            env.seed(10_000)
            mean, _ = evaluate_policy(self.model, env, EPISODES, warn=False)
            self.found.append((self.num_timesteps, mean))

    def rate(left: float) -> float:
        return float(recipe.lr * (left if recipe.schedule == "linear" else 1.0))

    curves = []
    for seed in range(SEEDS):
        envs = DummyVecEnv([lambda: gymnasium.make(name)] * recipe.copies)
        looks = Looks()
        learner = PPO(
            "MlpPolicy", envs, n_steps=recipe.horizon, batch_size=recipe.batch_size, n_epochs=recipe.passes,
            gamma=recipe.discount, gae_lambda=recipe.trace, clip_range=recipe.clip, ent_coef=recipe.entropy,
            learning_rate=rate, max_grad_norm=recipe.norm, device="cpu", seed=seed,
        )  # fmt: skip
        learner.learn(STEPS, callback=looks)
        looks.look()
        curves.append(looks.found)
    shortest = min(map(len, curves))
    steps = np.array([at for at, _ in curves[0][:shortest]])
    return steps, np.array([[mean for _, mean in one[:shortest]] for one in curves])


def cell(values: np.ndarray[Any, Any]) -> tuple[str, tuple[float, float]]:
    low, high = bootstrap_interval(values) if np.ptp(values) else (values[0], values[0])
    return f"{values.mean():.0f} [{low:.0f}, {high:.0f}]", (float(low), float(high))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=list(CASES))
    stream, name, recipe, every = CASES[parser.parse_args().case]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    (at, own), (when, other) = ours(stream, recipe, every), theirs(name, recipe, every)
    together = 0
    print("| steps | Perdure | Stable-Baselines3 | intervals |\n| --- | --- | --- | --- |")
    count = min(len(at), len(when))
    for i in range(count):
        (one, (low, high)), (two, (least, most)) = cell(own[:, i]), cell(other[:, i])
        overlap = low <= most and least <= high
        together += overlap
        said = "overlap" if overlap else "apart"
        print(f"| {at[i]:,.0f} / {when[i]:,} | {one} | {two} | {said} |", flush=True)
    print(f"intervals overlap at {together} of {count}")
    one, two = cell(own[:, :count].mean(1))[0], cell(other[:, :count].mean(1))[0]
    print(f"mean over the curve: {one} against {two}")


if __name__ == "__main__":
    main()
