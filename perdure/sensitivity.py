"""Measuring which modules of a model shift between tasks, by training without protection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from perdure.core.batch import Params
from perdure.core.checks import checked
from perdure.core.errors import PerdureError
from perdure.experiment import get_phases, make_engine
from perdure.scenarios.contract.stream import Stream
from perdure.strategies.baselines.naive import Naive
from perdure.strategies.parts.sensitivity import by_module, sensitivity, sizes
from perdure.training import make_settings, read_stream

if TYPE_CHECKING:
    import pandas as pd


@checked
def measure_sensitivity(
    stream: Stream | str, *, model: Any = "mlp", seeds: int | Sequence[int] = 3, **settings: Any
) -> pd.DataFrame:
    """Train task after task without protection, and return how far each module moved in each epoch.

    Parameters
    ----------
    stream, model, seeds:
        As in :func:`perdure.compare`.
    settings:
        Further settings of :func:`perdure.compare` for how it trains: ``epochs``, ``lr``, ``training``, ...

    Returns
    -------
    DataFrame
        One row per ``seed``, ``task``, ``epoch`` (from 1 in each task) and ``module``, with its ``size`` (how
        many weights are trained) and its ``sensitivity``: the mean absolute move of its weights since the
        epoch before, ``(1 / |theta^l|) * ||theta^l_n - theta^l_(n-1)||_1`` for module l and epoch n.
        :func:`perdure.analysis.plot_sensitivity` draws it.

    Raises
    ------
    PerdureError
        On a setting that does not exist, or a bad one, before any training.

    Source: Zhang et al., arXiv 2304.04158, the formula from second-hand accounts. FPF fine-tunes the modules
    that move most.

    Examples
    --------
    >>> from perdure import measure_sensitivity
    >>> frame = measure_sensitivity("split-digits | take(2)", seeds=2, epochs=1)
    >>> frame.groupby("module")["sensitivity"].mean().idxmax()  # the head
    '5'
    """
    import pandas as pd

    stream = read_stream(stream)
    for key in ("eval_every", "tune", "tune_on"):
        if settings.get(key) is not None:
            raise PerdureError(f"expected settings of one plain training; found {key}")
    chosen = make_settings(stream, model=model, seeds=seeds, **settings)
    engine = make_engine(stream, Naive(), chosen)
    replica = engine.start()
    rows = []
    for phase in get_phases(engine.strategy, stream):
        data = engine.load(phase)
        each = engine.sampler.steps(data.spans[-1][1])
        before = _copy(replica.params)
        for step, replica in enumerate(engine.train(replica, phase, data), 1):  # noqa: B020 (each is the next)
            if step % each:
                continue
            moved = torch.vmap(sensitivity)(before, replica.params).tolist()
            before = _copy(replica.params)
            names = by_module(before)
            counts = sizes({k: v[0] for k, v in before.items()})
            rows += [
                (seed, phase.tasks[-1], step // each, name, count, value)
                for seed, values in zip(engine.seeds, moved, strict=True)
                for name, count, value in zip(names, counts, values, strict=True)
            ]
    return pd.DataFrame(rows, columns=["seed", "task", "epoch", "module", "size", "sensitivity"])


def _copy(params: Params) -> Params:
    # The engine writes over what it has handed out.
    copied: Params = pytree.tree_map(torch.clone, params)
    return copied
