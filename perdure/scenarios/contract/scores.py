"""Scores by name: what is added up over the samples of a task, and what is made of the sums.

The definitions are torchmetrics'; the tests compare with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from perdure.core.batch import CLOSED
from perdure.core.registry import Registry

# Thresholds at which the receiver operating characteristic is measured.
THRESHOLDS = 512


@dataclass(frozen=True, eq=False)
class Score:
    """A score that is a function of sums over samples.

    Parameters
    ----------
    title:
        What tables and figures call it.
    of:
        What is added up, for each sample: ``[n]``, or ``[n, width]``, from outputs and labels.
    total:
        The score, ``[...]``, from the sums ``[..., width]`` and the number of samples.
    real:
        Whether labels are real numbers.
    higher_is_better:
        Whether a higher score is a better one.
    """

    title: str
    of: Callable[[Tensor, Tensor], Tensor]
    total: Callable[[Tensor, Tensor], Tensor]
    real: bool = False
    higher_is_better: bool = True


SCORES: Registry[Score] = Registry("score")


def _mean(sums: Tensor, count: Tensor) -> Tensor:
    return sums[..., 0] / count


@SCORES.register("accuracy")
def accuracy() -> Score:
    """Return the share of samples whose highest output is their class."""

    def of(output: Tensor, y: Tensor) -> Tensor:
        return (output.argmax(-1) == y).to(torch.get_default_dtype())

    return Score("accuracy", of, _mean)


def _by_class(output: Tensor, y: Tensor) -> Tensor:
    """Hits, predictions and labels of each class, ``[n, 3 classes]``."""
    classes = torch.arange(output.shape[-1], device=output.device)
    said, true = output.argmax(-1).unsqueeze(-1) == classes, y.unsqueeze(-1) == classes
    return torch.cat([said & true, said, true], -1).to(torch.get_default_dtype())


@SCORES.register("balanced-accuracy")
def balanced_accuracy() -> Score:
    """Return the mean over classes of the share of their samples that are recognised."""

    def total(sums: Tensor, count: Tensor) -> Tensor:
        hits, _, true = sums.reshape(*sums.shape[:-1], 3, -1).unbind(-2)
        there = true > 0
        recalls: Tensor = torch.where(there, hits / true.clamp_min(1), 0.0)
        return recalls.sum(-1) / there.sum(-1)

    return Score("balanced accuracy", _by_class, total)


@SCORES.register("f1")
def f1() -> Score:
    """Return the mean over classes of ``2 hits / (predictions + labels)``, without classes that have none."""

    def total(sums: Tensor, count: Tensor) -> Tensor:
        hits, said, true = sums.reshape(*sums.shape[:-1], 3, -1).unbind(-2)
        there = said + true > 0
        each: Tensor = torch.where(there, 2 * hits / (said + true).clamp_min(1), 0.0)
        return each.sum(-1) / there.sum(-1)

    return Score("F1", _by_class, total)


@SCORES.register("auroc")
def auroc() -> Score:
    """Return the area under the receiver operating characteristic of two classes, at 512 thresholds.

    The probability that a sample of the second class is given a higher output than one of the first, ties in
    one of 512 equal intervals of the predicted probability counting half. The classes are the two outputs
    that compete.
    """

    def of(output: Tensor, y: Tensor) -> Tensor:
        places = torch.arange(output.shape[-1], device=output.device)
        second = torch.where(output > CLOSED / 2, places, -1).amax(-1, keepdim=True)
        share = output.softmax(-1).gather(-1, second.clamp_min(0)).squeeze(-1)
        positive = y == second.squeeze(-1)
        place = (share * THRESHOLDS).long().clamp(0, THRESHOLDS - 1) + THRESHOLDS * positive
        cells = torch.arange(2 * THRESHOLDS, device=output.device)
        return (place.unsqueeze(-1) == cells).to(torch.get_default_dtype())

    def total(sums: Tensor, count: Tensor) -> Tensor:
        first, second = sums.double().reshape(*sums.shape[:-1], 2, -1).unbind(-2)
        below = first.cumsum(-1) - first / 2
        wins: Tensor = (second * below).sum(-1)
        return wins / (first.sum(-1) * second.sum(-1))

    return Score("AUROC", of, total)


@SCORES.register("negative-squared-error")
def negative_squared_error() -> Score:
    """Return the negative mean squared error."""
    return Score("negative squared error", lambda out, y: -(out - y).square(), _mean, real=True)


@SCORES.register("rmse")
def rmse() -> Score:
    """Return the root of the mean squared error; lower is better."""
    return Score("RMSE", lambda out, y: (out - y).square(), lambda s, n: _mean(s, n).sqrt(), True, False)


@SCORES.register("mae")
def mae() -> Score:
    """Return the mean absolute error; lower is better."""
    return Score("MAE", lambda out, y: (out - y).abs(), _mean, True, False)


@SCORES.register("r2")
def r2() -> Score:
    """Return ``1 - sum (y - f)^2 / sum (y - mean y)^2``."""

    def of(output: Tensor, y: Tensor) -> Tensor:
        y = y.double()
        return torch.stack([(output - y).square(), y, y.square()], -1)

    def total(sums: Tensor, count: Tensor) -> Tensor:
        error, first, second = sums.double().unbind(-1)
        return 1 - error / (second - first.square() / count)

    return Score("R2", of, total, real=True)
