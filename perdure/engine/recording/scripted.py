"""A record that is run often, without Python between its operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from perdure.engine.recording.passes import writes_unsaid

Run = Callable[..., list[Tensor]]
# Runs after which a record has cost, between its operations, what it takes to do without.
OFTEN = 256
# Bytes that are given up to a record, above which what lies between operations no longer matters.
SMALL_BYTES = 1 << 25


def scripted(run: Run, graph: fx.Graph, inputs: Sequence[Tensor], donated: int) -> Run | None:
    """Return a record as torch's own interpreter runs it: the same kernels in the same order.

    Between small operations a fifth to a third of the time is Python's. ``None`` where the record cannot be
    had so, or need not: on other devices than a CPU, with large states, with operations that write where they
    do not say so, and where torch has no such interpreter any more.

    Parameters
    ----------
    run, graph:
        The record as a function of Python, and its operations.
    inputs:
        What it is run with; it is left as it is.
    donated:
        How many of them, the first ones, are written on.
    """
    if any(not tensor.is_cpu or type(tensor) is not Tensor for tensor in inputs):
        return None
    if sum(tensor.nbytes for tensor in inputs[:donated]) > SMALL_BYTES or any(
        map(writes_unsaid, graph.nodes)
    ):
        return None
    copies = (*(tensor.clone() for tensor in inputs[:donated]), *inputs[donated:])
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # that it is deprecated, and that values are constants
            trace: Any = torch.jit.trace
            traced = trace(lambda *some: tuple(run(*some)), copies, check_trace=False)
            traced(*copies)
    except Exception:
        return None
    return lambda *some: [*traced(*some)]
