"""MAP: quadratic models of the tasks' losses in the coefficients, and the front of what can be had."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.merging.fitted import Fitted, Model
from perdure.strategies.merging.rule import count, rule, vectors

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

# Of the mean square of a regressor: what keeps the normal equations solvable.
RIDGE = 1e-4
DESCENTS = 300


@rule("map")
class MAP(Fitted):
    """Fit each task's loss by a quadratic in the coefficients of task arithmetic, and take the best ones.

    ``theta_0 + sum_t c_t tau_t``. Each step draws coefficients uniformly from ``[low, high]^T`` and takes the
    losses of that model on a batch. By least squares, task t's are ``M_t(c) = e_t + b_t'c + c'A_t c``. Then
    the coefficients make ``sum_t p_t M_t(c)`` small within the same range, by projected gradient descent from
    ``initial``: the preference p says how much each task counts.

    Parameters
    ----------
    preference:
        A weight for each task of the stream, at least 0 and not all 0; ``None``: the same for all.
    low, high:
        The range of coefficients.
    initial:
        What each coefficient is before anything is learned.
    points:
        How many preferences the front is found for, at most (but at least one for each task): those that are
        multiples of 1/n and add up to 1, with the largest n for which they are not too many.
    steps:
        How many steps, of batches of the run's size that mix the tasks. A quadratic of T coefficients has
        ``(T + 1) (T + 2) / 2`` numbers, and fewer steps are refused. Memory grows with the fifth power of T.
    part:
        Which part of the tasks the samples are of: ``"val"`` or ``"train"``.

    ``results.extras[name]["report"]["merge"]`` holds, for each replica, the front: ``preferences [n, T]``,
    the ``coefficients [n, T]`` that are best for them, and the ``losses [n, T]`` that the quadratics predict.

    Deviations: losses are of batches, and count by their samples, where the source takes scores of all
    validation data; the front is that of weighted sums, where the source searches it by NSGA-III in
    ``[-3, 3]^T``; where a quadratic bends down, descent may end in a local minimum. Nested and Bayesian MAP
    are not here.

    Source: Li et al., "MAP: low-compute model merging with amortized Pareto fronts via quadratic
    approximation", ICLR 2025, arXiv 2406.07529.

    >>> import torch
    >>> base, tasks = {"w": torch.zeros(2)}, {"w": torch.tensor([[1.0, 2.0], [3.0, 0.0]])}
    >>> MAP().build(base, tasks, {"": torch.tensor([1.0, 0.5])})["w"].tolist()
    [2.5, 2.0]
    """

    data: ClassVar[str] = "labels"
    preference: Sequence[float] | None = None
    low: float = 0.0
    high: float = 1.0
    initial: float = 0.3
    points: int = 64
    steps: int = 100
    part: Literal["val", "train"] = "val"

    def __post_init__(self) -> None:
        if self.preference is not None:
            object.__setattr__(self, "preference", tuple(self.preference))
            if not (all(p >= 0 for p in self.preference) and any(self.preference)):
                raise PerdureError(
                    f"preference must be numbers of at least 0, not all 0; found {self.preference}"
                )
        check_number("low", self.low, -math.inf)
        check_number("high", self.high, self.low, ends="()")
        check_number("initial", self.initial)
        check_whole("points", self.points)
        check_whole("steps", self.steps)

    def check(self, stream: Stream) -> None:
        super().check(stream)
        tasks = len(stream)
        if self.preference is not None and len(self.preference) != tasks:
            raise PerdureError(
                f"preference must have a number for each of the {tasks} tasks; found {self.preference}"
            )
        if self.steps < numbers(tasks):
            raise PerdureError(
                f"map needs at least {numbers(tasks)} steps to fit quadratics of {tasks} coefficients; "
                f"found {self.steps}"
            )

    def begin(self, net: Net, base: Params, tasks: int, shape: tuple[int, ...]) -> State:
        like, size = next(iter(base.values())), numbers(tasks)
        front = like.new_tensor(lattice(tasks, self.points))
        return {
            "values": {"": like.new_full((tasks,), self.initial)},
            "products": like.new_zeros(tasks, size, size),
            "sums": like.new_zeros(tasks, size),
            "weight": like.new_zeros(tasks),
            "front": {"preferences": front, "coefficients": 0 * front, "losses": 0 * front},
        }

    def learn(self, net: Net, params: Params, tasks: Params, fit: State, model: Model, batch: Batch) -> State:
        index = torch.arange(count(tasks), device=batch.weight.device)
        at = 2 * batch.rng.uniform("coefficients", len(index), dtype=batch.weight.dtype) - 1
        # A task to come has no vector: it stays out of the regression.
        at = torch.where(index <= batch.current, at, 0.0)
        weight = batch.sample_weight * (batch.task == index.unsqueeze(1))
        each = net.sample_losses(model({"": self.coefficients(at)}), batch)
        row, held = features(at), weight.sum(1)
        return {
            **fit,
            "products": fit["products"] + held.view(-1, 1, 1) * row.outer(row),
            "sums": fit["sums"] + (weight * each).sum(1, keepdim=True) * row,
            "weight": fit["weight"] + held,
        }

    def conclude(self, net: Net, fit: State, model: Model, task: TaskData) -> State:
        terms = quadratics(fit["products"], fit["sums"], fit["weight"])
        wanted = (
            torch.ones_like(fit["weight"]) if self.preference is None else terms.new_tensor(self.preference)
        )
        preferences = torch.cat([(wanted / wanted.sum()).unsqueeze(0), fit["front"]["preferences"]])
        start = (2 * self.initial - self.low - self.high) / (self.high - self.low)
        at = lowest(preferences, terms, torch.full_like(preferences, min(max(start, -1.0), 1.0)))
        front = {
            "preferences": preferences[1:],
            "coefficients": self.coefficients(at[1:]),
            "losses": features(at[1:]) @ terms.mT,
        }
        return {**fit, "values": {"": self.coefficients(at[0])}, "front": front}

    def coefficients(self, at: Tensor) -> Tensor:
        """Return the coefficients at places in ``[-1, 1]``, which is where the regression is done."""
        return self.low + (self.high - self.low) * (at + 1) / 2

    def build(self, base: Params, tasks: Params, values: Params) -> Params:
        own = vectors(base, tasks)
        return {k: v + torch.tensordot(values[""], own[k], 1) for k, v in base.items()}

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        first = next(iter(base.values())).new_full((count(tasks),), self.initial)
        return self.build(base, tasks, {"": first})

    def report(self, fit: State) -> State:
        return dict(fit["front"])


def numbers(tasks: int) -> int:
    """Return how many numbers a quadratic of so many coefficients has."""
    return (tasks + 1) * (tasks + 2) // 2


def features(at: Tensor) -> Tensor:
    """Return the terms of a quadratic at places ``[..., T]``: 1, each coordinate, each product of two."""
    first, second = torch.triu_indices(at.shape[-1], at.shape[-1], device=at.device)
    return torch.cat([torch.ones_like(at[..., :1]), at, at[..., first] * at[..., second]], -1)


def quadratics(products: Tensor, sums: Tensor, weight: Tensor) -> Tensor:
    """Return the terms of each task's quadratic, ``[T, P]``, from its normal equations; 0 without samples.

    Parameters
    ----------
    products, sums, weight:
        Sums over samples of phi phi' ``[T, P, P]``, loss phi ``[T, P]`` and 1 ``[T]``, each times the weight.
    """
    ridge = RIDGE * torch.eye(products.shape[-1], dtype=products.dtype, device=products.device)
    total = weight.clamp_min(1e-12).unsqueeze(-1)
    terms: Tensor = torch.linalg.solve(products / total.unsqueeze(-1) + ridge, sums / total)
    return terms


def lowest(preferences: Tensor, terms: Tensor, start: Tensor) -> Tensor:
    """Return for each preference ``[n, T]`` where in ``[-1, 1]^T`` its sum of quadratics is lowest.

    Parameters
    ----------
    preferences, start:
        Weights of the quadratics, and where descent starts, ``[n, T]``.
    terms:
        The quadratics, ``[T, P]``.
    """
    tasks = preferences.shape[-1]
    first, second = torch.triu_indices(tasks, tasks, device=terms.device)
    mixed = preferences @ terms
    slope = mixed[:, 1 : tasks + 1]
    pick = torch.nn.functional.one_hot(first * tasks + second, tasks * tasks).to(terms.dtype)
    square = (mixed[:, tasks + 1 :] @ pick).view(-1, tasks, tasks)
    bend = square + square.mT
    rate = 1 / bend.square().sum((1, 2)).sqrt().clamp_min(1e-6).unsqueeze(-1)
    at = start
    for _ in range(DESCENTS):
        at = (at - rate * (slope + (bend @ at.unsqueeze(-1)).squeeze(-1))).clamp(-1, 1)
    return at


def lattice(tasks: int, points: int) -> list[list[float]]:
    """Return the preferences that are multiples of 1/n, with the largest n that makes few enough of them.

    Each is a way to put T - 1 bars among n stars.

    >>> lattice(2, 3)
    [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    """
    n = 1
    while n < points and math.comb(tasks + n, n + 1) <= points:
        n += 1
    size = n + tasks - 1
    cuts = [(-1, *bars, size) for bars in itertools.combinations(range(size), tasks - 1)]
    return [[(b - a - 1) / n for a, b in itertools.pairwise(cut)] for cut in cuts]
