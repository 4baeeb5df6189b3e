"""Operators on the training samples of each task: fewer, unbalanced, or with wrong labels."""

from __future__ import annotations

from dataclasses import replace

import torch

from perdure.core.checks import check_number, check_whole, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Stream, check_is_stream
from perdure.scenarios.contract.task import samples
from perdure.scenarios.draws import Draws
from perdure.scenarios.operators.boundaries import origin
from perdure.scenarios.strata import ranks, thin


@checked
def imbalance(stream: Stream, factor: float = 0.1, *, seed: int = 0) -> Stream:
    r"""Make classes rarer and rarer within each task (a long tail); training samples only.

    Of the :math:`n_j` samples of a task's class :math:`j = 0, ..., k - 1` (in the order of ``Task.classes``),
    :math:`n_j f^{j/(k-1)}` are kept, rounded, at least one: all of the first, ``factor`` of the last.

    Parameters
    ----------
    stream:
        A stream of classifications.
    factor:
        Share of the last class that is kept, in (0, 1].
    seed:
        Decides which samples are kept.

    Raises
    ------
    PerdureError
        For a ``factor`` outside (0, 1], or a stream that does not classify.
    """
    check_is_stream(stream)
    share = check_number("`factor`", factor, high=1, ends="(]")
    _check_classes(stream, "imbalance")

    def change(index: int, part: Part) -> Part:
        classes = stream[index].outputs
        kept_share = torch.ones(stream.outputs, dtype=torch.float64)
        for place, c in enumerate(classes):
            kept_share[c] = share ** (place / max(len(classes) - 1, 1))
        rank, count = ranks(part.y, Draws(seed, "imbalance", index))
        return part.take(rank < (count * kept_share[part.y]).round().clamp(min=1))

    return stream.map_train(change, f"{stream.name}-imbalance")


@checked
def noise_labels(stream: Stream, rate: float = 0.2, *, seed: int = 0) -> Stream:
    """Give training samples a wrong label with probability ``rate``.

    The wrong label is any other class of the task that the sample comes from, all equally likely.
    Validation and test labels stay right.

    Parameters
    ----------
    stream:
        A stream of classifications whose tasks have two classes or more.
    rate:
        In [0, 1].
    seed:
        Decides which labels change, and to what.

    Raises
    ------
    PerdureError
        For a ``rate`` outside [0, 1], a stream that does not classify, a task with a single class.
    """
    check_is_stream(stream)
    share = check_number("`rate`", rate, high=1, ends="[]")
    _check_classes(stream, "noise_labels")
    for task in stream:
        if len(task.outputs) < 2:
            raise PerdureError(f"`noise_labels` needs two classes in each task; {task.name!r} has one")

    def change(index: int, part: Part) -> Part:
        draws = Draws(seed, "noise", index)
        wrong, which = draws.uniform(len(part)) < share, draws.uniform(len(part))
        y, source = part.y.clone(), origin(part, index)
        for number in sorted(set(source.tolist())):
            classes = torch.tensor(stream[number].outputs)
            rows = torch.nonzero(wrong & (source == number)).flatten()
            place = (classes == part.y[rows, None]).int().argmax(1)
            step = 1 + (which[rows] * (len(classes) - 1)).long()
            y[rows] = classes[(place + step) % len(classes)]
        return replace(part, y=y)

    return stream.map_train(change, f"{stream.name}-noise")


@checked
def limit(stream: Stream, samples: int, *, seed: int = 0) -> Stream:
    """Keep at most so many training samples of each task, its classes in the shares they had.

    Parameters
    ----------
    stream:
        Any stream.
    samples:
        How many.
    seed:
        Decides which samples are kept; they keep their order.

    Raises
    ------
    PerdureError
        For ``samples`` below 1.
    """
    check_is_stream(stream)
    number = check_whole("`samples`", samples)

    def change(index: int, part: Part) -> Part:
        strata = torch.zeros(len(part)) if part.y.is_floating_point() else part.y
        return part.take(thin(strata, number, Draws(seed, "limit", index)))

    return stream.map_train(change, f"{stream.name}-limit")


def _check_classes(stream: Stream, operator: str) -> None:
    for task in stream:
        if samples(task.train).y.is_floating_point():
            raise PerdureError(f"`{operator}` needs classes; task {task.name!r} has real numbers as labels")
