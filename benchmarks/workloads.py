"""Synthetic streams that every library under test gets as the same tensors in memory.

permuted: 10 tasks of 6000/1000 samples, 784 inputs in a new order each, 10 classes; 784-256-256-10, batch 64.
split: 5 tasks of 2 classes, 2400/400 samples, one head of 10; the same net.
split-cnn: 5 tasks of 2 classes, 3x32x32, 2000/400 samples; two convolutions and two linear layers.
tabular: 10 tasks of 3000/1000 samples, 20 inputs, 2 classes by a plane that turns; 20-64-64-2, batch 32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

SEED = 20240
Pair = tuple[Tensor, Tensor]
Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Workload:
    train: list[Pair]
    test: list[Pair]
    outputs: int
    batch_size: int
    lr: float
    model: Callable[[], nn.Module]


def mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def tensors(x: np.ndarray, y: np.ndarray) -> Pair:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)), torch.from_numpy(y.astype(np.int64))


def clusters(rng: np.random.Generator, centres: np.ndarray, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    y = np.repeat(np.arange(10), per_class)[rng.permutation(10 * per_class)]
    return centres[y] + rng.standard_normal((len(y), *centres.shape[1:])).astype(np.float32), y


def permuted(rng: np.random.Generator) -> Workload:
    centres = rng.standard_normal((10, 784)).astype(np.float32) * 0.25
    (x, y), (xt, yt) = clusters(rng, centres, 600), clusters(rng, centres, 100)
    orders = [np.arange(784)] + [rng.permutation(784) for _ in range(9)]
    return Workload(
        [tensors(x[:, o], y) for o in orders], [tensors(xt[:, o], yt) for o in orders], 10, 64, 0.1,
        lambda: mlp(784, 256, 256, 10),
    )  # fmt: skip


def by_class(train: Arrays, test: Arrays) -> tuple[list[Pair], list[Pair]]:
    parts = []
    for x, y in (train, test):
        rows = [np.isin(y, (2 * t, 2 * t + 1)) for t in range(5)]
        parts.append([tensors(x[r], y[r]) for r in rows])
    return parts[0], parts[1]


def split(rng: np.random.Generator) -> Workload:
    centres = rng.standard_normal((10, 784)).astype(np.float32) * 0.25
    train, test = by_class(clusters(rng, centres, 1200), clusters(rng, centres, 200))
    return Workload(train, test, 10, 64, 0.1, lambda: mlp(784, 256, 256, 10))


def split_cnn(rng: np.random.Generator) -> Workload:
    low = rng.standard_normal((10, 3, 8, 8)).astype(np.float32) * 0.5
    centres = low.repeat(4, axis=2).repeat(4, axis=3)
    train, test = by_class(clusters(rng, centres, 1000), clusters(rng, centres, 200))
    return Workload(train, test, 10, 64, 0.02, cnn)


def tabular(rng: np.random.Generator) -> Workload:
    base, turn = rng.standard_normal(20), rng.standard_normal(20)
    parts: tuple[list[Pair], list[Pair]] = ([], [])
    for t in range(10):
        plane = np.cos(0.3 * t) * base + np.sin(0.3 * t) * turn
        for some, n in zip(parts, (3000, 1000), strict=True):
            x = rng.standard_normal((n, 20))
            some.append(tensors(x, (x @ plane > 0)))
    return Workload(*parts, 2, 32, 0.1, lambda: mlp(20, 64, 64, 2))


MAKERS = {"permuted": permuted, "split": split, "split-cnn": split_cnn, "tabular": tabular}


def get_workload(name: str) -> Workload:
    return MAKERS[name](np.random.default_rng(SEED))
