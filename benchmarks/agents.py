"""Reinforcement learning: PPO on the replica axis beside Stable-Baselines3, worlds beside Gymnasium's.

    python benchmarks/agents.py                    on a CPU, five minutes
    python benchmarks/agents.py --device cuda --copies 64 1024 16384 --seeds 1 8 64    on a GPU

Prints environment steps per second, training included, of PPO on CartPole with the same settings (8 copies,
rollouts of 32 steps, 20 passes in one batch, two layers of 64), for each number of seeds, and the ratio to
Stable-Baselines3's (bars: 2 with one seed, 4 with 32; it learns one seed at a time, so its figure is the same
for any number). Then steps per second of the batched CartPole beside Gymnasium's (bar: 1). Each figure is the
median of three turns, one side after the other, after one that is not counted; one thread on a CPU.
Stable-Baselines3 is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from statistics import median

import gymnasium
import torch

import perdure.envs
from perdure import compare
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.recipes import PPORecipe

TURNS, COPIES, STEPS = 3, 8, 16_384


def ours(seeds: int, copies: int, device: str) -> float:
    """Return environment steps per second of all seeds together, training and recording included."""
    recipe = replace(PPORecipe(), copies=copies, batch_size=32 * copies)
    steps = max(STEPS, 32 * copies * 8)
    stream = acting("cartpole", {"usual": perdure.envs.CartPole()}, recipe, "domain", steps, 1)
    results = compare(stream, "naive", seeds=seeds, device=device, quiet=True)
    costs = results.costs["naive"]
    lived = recipe.rollouts(steps) * recipe.copies * recipe.horizon * seeds
    return lived / (costs["seconds_train"] + costs["seconds_warmup"])


def theirs() -> float:
    """Return environment steps per second of Stable-Baselines3's PPO, one seed."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    recipe = PPORecipe()
    envs = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * COPIES)
    learner = PPO(
        "MlpPolicy", envs, n_steps=recipe.horizon, batch_size=recipe.batch_size, n_epochs=recipe.passes,
        gamma=recipe.discount, gae_lambda=recipe.trace, learning_rate=lambda left: left * recipe.lr,
        ent_coef=0.0, device="cpu", seed=0,
    )  # fmt: skip
    began = time.perf_counter()
    learner.learn(STEPS)
    return STEPS / (time.perf_counter() - began)


def world(name: str, copies: int) -> float:
    """Return steps per second of a batched environment, drawing the actions included."""
    mode = "vector_entry_point"
    envs = gymnasium.make_vec(name, num_envs=copies, vectorization_mode=mode)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    times = max(200, 200_000 // copies)
    began = time.perf_counter()
    for _ in range(times):
        envs.step(envs.action_space.sample())
    return copies * times / (time.perf_counter() - began)


def turns(*sides: Callable[[], float]) -> list[float]:
    """Return the median of each side, in turn."""
    rows = [[side() for side in sides] for _ in range(1 + TURNS)][1:]
    return [median(column) for column in zip(*rows, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--copies", type=int, nargs="+", default=[COPIES])
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    other = find_spec("stable_baselines3") is not None
    for copies in chosen.copies:
        for seeds in chosen.seeds:

            def mine(seeds: int = seeds, copies: int = copies) -> float:
                return ours(seeds, copies, chosen.device)

            found = turns(mine, theirs) if other and copies == COPIES else turns(mine)
            line = f"PPO, {copies} copies, {seeds} seeds: {found[0]:,.0f} steps/s"
            ratio = f", Stable-Baselines3 {found[1]:,.0f}: {found[0] / found[1]:.1f}" if found[1:] else ""
            print(line + ratio, flush=True)
    for copies in (16, 256, 4096):
        a, b = turns(
            lambda n=copies: world("perdure/CartPole-v0", n),  # type: ignore[misc]
            lambda n=copies: world("CartPole-v1", n),  # type: ignore[misc]
        )
        print(
            f"world, {copies} copies: {a:,.0f} steps/s, Gymnasium's {b:,.0f}: {a / b:.2f} (bar 1)", flush=True
        )


if __name__ == "__main__":
    main()
