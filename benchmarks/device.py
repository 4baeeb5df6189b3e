"""The simulated phone: whether every task can be solved, whether by luck, and how fast its layers are.

    python benchmarks/device.py            ten minutes on a CPU
    python benchmarks/device.py --quick    a minute

Prints how many tasks the oracle solves over 20 instances each; the share of episodes that a random policy
solves, with numbered actions; how many of 10,000 random sequences of actions end in an error, or are a
success of one layer and not of the other; and steps per second of the readable layer, and of the batched one
with 1,024 phones in two processes of a thread (bar: a million), the median of five turns after one that does
not count.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import torch
from torch import Tensor
from torch.func import vmap

from perdure.core.batch import State
from perdure.core.random import Rng
from perdure.engine.recording.trace import Traced
from perdure.envs import Device
from perdure.envs.device import Episode, get_task
from perdure.envs.device.coding import coding
from perdure.envs.device.task import templates

PHONES, STEPS, TURNS = 1024, 300, 5


def solved(instances: int) -> str:
    """Tell how many instances the oracle solves within their budgets."""
    done, steps, failed = 0, 0, []
    for name in templates():
        for index in range(instances):
            episode = Episode(get_task(name, 0, index))
            if episode.play(episode.oracle()) == 1.0:
                done, steps = done + 1, steps + episode.task.budget() - episode.left
            else:
                failed.append(f"{name} {index}")
    total = len(templates()) * instances
    mean = f"{steps / max(done, 1):.1f} steps on average"
    return f"oracle: {done} of {total} ({len(templates())} templates), {mean}; failed: {failed[:5]}"


def at_random(sequences: int) -> str:
    """Let numbered actions be drawn on both layers at once; tell of successes, errors and differences."""
    n = len(coding().actions)
    wins, errors, apart = 0, 0, 0
    world = Device("all", instances=1)
    tasks = world.tasks
    zero = torch.tensor(0)
    for i in range(sequences):
        which = i % len(tasks)
        episode, state = Episode(tasks[which]), world.start(torch.tensor([which]))
        actions = Rng(torch.tensor(i), zero).integers("luck", n, episode.left).tolist()
        reward, both = 0.0, 0.0
        try:
            for action in actions:
                reward = episode.step(action)
                state, found, _ = world.step(state, torch.tensor([action]), Rng(zero, zero))
                both = float(found)
                if episode.over:
                    break
        except Exception as error:
            errors += 1
            print(f"{tasks[which].name()}: {type(error).__name__}: {error}", flush=True)
            continue
        wins += reward == 1.0
        apart += reward != both
    share = 100 * wins / sequences
    return f"random: {share:.2f} % of {sequences} episodes; errors {errors}; layers apart {apart}"


def batched(phones: int, turns: int) -> float:
    """Return steps per second of phones on one thread, recorded as in a rollout, with random actions."""
    torch.set_num_threads(1)
    world = Device("all", instances=4)
    n, key = world.actions.n, torch.tensor([0])

    def body(state: State, seed: Tensor, at: Tensor) -> tuple[State, dict[str, Tensor]]:
        def one(state: State, seed: Tensor) -> tuple[State, dict[str, Tensor]]:
            rng = Rng(seed, at)
            state, reward, _ = world.step(state, rng.integers("luck", n, phones), rng)
            return state, {"reward": reward}

        found: tuple[State, dict[str, Tensor]] = vmap(one)(state, seed)
        return found

    with torch.no_grad():
        state = vmap(lambda seed: world.reset(Rng(seed, torch.tensor(0)), phones))(key)
        steps = torch.arange(STEPS).unbind()
        record, found = Traced(body, (state, key, steps[0]), donate=1, loops=True), []
        for _ in range(turns + 1):
            began = time.perf_counter()
            state, _ = record.loop(state, (key,), steps, 0)
            found.append(STEPS * phones / (time.perf_counter() - began))
    return median(found[1:])


def speeds(turns: int) -> str:
    """Tell the steps per second of both layers; the batched one on two processes, half the phones each."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        both = pool.map(batched, [PHONES // 2] * 2, [turns] * 2)
        total = sum(both)
    steps, began = 0, time.perf_counter()
    for name in list(templates())[:: max(1, len(templates()) // 20)]:
        episode = Episode(get_task(name))
        episode.play(episode.oracle())
        steps += episode.task.budget() - episode.left
    readable = steps / (time.perf_counter() - began)
    fast = f"{total:,.0f} at {PHONES} phones (bar 1,000,000)"
    return f"steps per second: readable {readable:,.0f}, batched {fast}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print(speeds(TURNS), flush=True)
    print(solved(2 if quick else 20), flush=True)
    print(at_random(200 if quick else 10_000), flush=True)


if __name__ == "__main__":
    main()
