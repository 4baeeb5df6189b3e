"""Streams whose tasks fade into each other."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from perdure.core.checks import check_number, checked
from perdure.scenarios.contract.fetched import in_memory
from perdure.scenarios.contract.part import Part, in_bytes
from perdure.scenarios.contract.stream import Stream, check_is_stream
from perdure.scenarios.contract.task import samples
from perdure.scenarios.draws import Draws


@checked
def blur(stream: Stream, width: float = 0.2, *, seed: int = 0) -> Stream:
    r"""Make boundaries soft: near each one, training samples change places with those of the other task.

    On each side of a boundary lie ``w`` positions, ``width`` times the samples of the smaller of the two
    tasks. The samples at distance ``d = 0, ..., w - 1`` from it, one on each side, change places with
    probability :math:`\frac12 (1 - (d + \frac12) / w)`: in the middle both tasks are equally likely, and
    the share of the other task falls linearly to 0.

    No sample is lost or added, every task keeps its number of them, and ``Part.task`` says where each comes
    from. Labels stay with their samples; validation and test parts stay as they are. The ramp is one of
    positions: whoever shuffles the samples of a task keeps the mixture and loses the ramp.

    Parameters
    ----------
    stream:
        Any stream.
    width:
        Share of a task's samples on each side of a boundary, in (0, 0.5].
    seed:
        Decides which samples change places.

    Raises
    ------
    PerdureError
        For a ``width`` outside (0, 0.5].
    """
    check_is_stream(stream)
    share = check_number("`width`", width, high=0.5, ends="(]")
    # Tasks may be changed by transforms of their own, so that what is mixed has to be what is seen.
    trains = [in_memory(samples(task.train), "blur") for task in stream]
    kept = in_bytes(trains)
    xs = [x.clone() for x in ([part.inputs() for part in trains] if kept is None else kept)]
    scale = None if kept is None else trains[0].scale
    ys = [part.y.clone() for part in trains]
    ids = [origin(part, index).clone() for index, part in enumerate(trains)]
    for boundary in range(len(stream) - 1):
        sizes = len(ys[boundary]), len(ys[boundary + 1])
        w = int(share * min(sizes))
        ramp = 0.5 * (1 - (torch.arange(w, dtype=torch.float64) + 0.5) / max(w, 1))
        ahead = torch.nonzero(Draws(seed, "blur", boundary).uniform(w) < ramp).flatten()
        behind = sizes[0] - 1 - ahead
        for values in (xs, ys, ids):
            left, right = values[boundary], values[boundary + 1]
            left[behind], right[ahead] = right[ahead], left[behind]
    mixed = [Part(x, y, i, scale=scale) for x, y, i in zip(xs, ys, ids, strict=True)]
    tasks = [replace(task, train=part) for task, part in zip(stream, mixed, strict=True)]
    return stream.with_tasks(tasks, f"{stream.name}-blur")


def origin(part: Part, index: int) -> Tensor:
    """Return the task that each sample of a part of task ``index`` comes from, ``[n]`` int64."""
    return part.task if part.task is not None else torch.full((len(part),), index, dtype=torch.int64)
