"""A stream of torch datasets, whose samples are fetched when they are needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

from perdure.core.checks import check_number, check_whole, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.fetched import Augment, Fetched, as_item
from perdure.scenarios.contract.objective import Classification, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Setting, Stream, check_setting
from perdure.scenarios.contract.transforms import Bytes
from perdure.scenarios.generators.arrays import assemble, cut_test, labels_of, titles_of
from perdure.scenarios.values import check_finite

# Items that are read twice: they must be the same, and their labels those of `targets`.
PROBED = 4
# More processes than this read no faster from one disk.
MOST_WORKERS = 4


@checked
def from_datasets(
    tasks: Sequence[Any],
    setting: Setting = "domain",
    *,
    names: Sequence[str] | None = None,
    val: float = 0.1,
    augment: Augment | None = None,
    draws: int = 8,
    outputs: int | None = None,
    online: bool = False,
    workers: int | None = None,
    seed: int = 0,
    name: str = "datasets",
) -> Stream:
    """Make a stream of torch datasets: samples are fetched batch by batch, and never all in memory.

    Parameters
    ----------
    tasks:
        For each task ``(train, test)``, or one dataset, of which 20 % become the test part. A dataset is a
        map-style :class:`torch.utils.data.Dataset`, or anything with ``len`` and an index, whose items are
        ``(x, y)``. ``x`` is a tensor, an array or a Pillow image, of one shape throughout; bytes (uint8) are
        scaled to [0, 1] where they are used, other whole numbers are token ids. Labels are read from
        ``targets`` or ``labels``, where a dataset has that, else by going through all items once.
    setting:
        As in :func:`perdure.scenarios.from_arrays`.
    names:
        Names of the tasks; default ``"task 1"``, ``"task 2"``, ...
    val:
        Share of the training samples that becomes the validation part.
    augment:
        ``augment(x, draws) -> x``, of the same shape and type, changes a sample each time that it is learned
        from. ``draws`` are uniform numbers in [0, 1), a tensor: each replica, step and sample has its own,
        the same in every run. Validation and test samples, and what strategies measure at the end of a task,
        come as they are.
    draws:
        How many numbers ``augment`` gets.
    outputs:
        Width of the model's output; default: as many as the labels need.
    online:
        True when the samples may be passed over only once.
    workers:
        Processes that fetch samples ahead of the training; 0 fetches them when they are needed, in the
        process that trains. By default as many as there are processors, at most 4 (on Linux; 0 elsewhere,
        where datasets have to be sent to new processes). Results do not depend on it.
    seed:
        Decides the validation samples and the order of the training samples.
    name:
        What results call the stream.

    Raises
    ------
    PerdureError
        When a dataset has no items (x, y) by index, gives another item each time, or labels have no output.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> train, test = (TensorDataset(torch.randn(20, 3), torch.arange(20) % 2) for _ in range(2))
    >>> def noisy(x, draws):
    ...     return x + 0.1 * draws[:3]
    >>> stream = from_datasets([(train, test)], augment=noisy, workers=0)
    >>> len(stream), stream.outputs, stream.input_shape
    (1, 2, (3,))
    """
    check_setting(setting)
    check_number("`val`", val, high=1, ends="()")
    check_whole("`draws`", draws, 1, 1 << 16)
    if workers is None:
        cores = os.cpu_count() or 1
        workers = min(MOST_WORKERS, cores) if cores > 1 and sys.platform == "linux" else 0
    check_whole("`workers`", workers, 0, 256)
    titles = titles_of(tasks, names, "(train, test) or dataset")

    def part(where: str, items: Any) -> Fetched:
        return replace(_part(where, items), draws=draws, workers=workers)

    pairs = zip(titles, tasks, strict=True)
    read = [_read(title, pair, part, seed, i) for i, (title, pair) in enumerate(pairs)]
    objectives = [Regression() if train.y.is_floating_point() else Classification() for train, _ in read]
    stream = assemble(titles, read, objectives, setting, val, outputs, online, seed, name)
    # Not before: the validation samples, which come from the training part, are not augmented.
    return stream.map_train(lambda _, part: replace(cast(Fetched, part), augment=augment), stream.name)


def _read(
    title: str, pair: Any, part: Callable[[str, Any], Fetched], seed: int, index: int
) -> tuple[Part, Part]:
    """Read the labels of the training and test part of one task."""
    where = f"task {title!r}"
    if not isinstance(pair, (list, tuple)):
        return cut_test(part(where, pair), seed, index)
    if len(pair) != 2:
        raise PerdureError(f"{where}: expected (train, test) or one dataset; found {len(pair)} of them")
    train, test = pair
    return part(f"{where}, training part", train), part(f"{where}, test part", test)


def _part(where: str, items: Any) -> Fetched:
    if not hasattr(items, "__len__") or not hasattr(items, "__getitem__"):
        raise PerdureError(
            f"{where}: expected a dataset with a length and an index; found {type(items).__name__}"
        )
    if not len(items):
        raise PerdureError(f"{where}: expected at least one sample; found none")
    x = as_item(_item(where, items, 0)[0])
    if not x.ndim:
        raise PerdureError(f"{where}: an input must be [features] or [...]; found a single number")
    y = labels_of(where, _labels(where, items))
    check_finite(where, "targets", y)
    scale = Bytes() if x.dtype == torch.uint8 else None
    part = Fetched(
        torch.arange(len(y)), y, scale=scale, items=items, shape=tuple(x.shape), dtype=x.dtype, where=where
    )
    few = part.take(_probes(len(y)))
    if not torch.equal(few.inputs(), few.inputs()):
        raise PerdureError(
            f"{where}: an item must be the same each time it is read; found others: take random changes out "
            "of the dataset, and give them as `augment`"
        )
    return part


def _item(where: str, items: Any, i: int) -> tuple[Any, Any]:
    try:
        found = items[i]
    except Exception as error:  # a dataset is the user's own code
        raise PerdureError(f"{where}: item {i} cannot be read: {error or type(error).__name__}") from error
    if not isinstance(found, (list, tuple)) or len(found) != 2:
        raise PerdureError(f"{where}: item {i} must be a pair (x, y); found {type(found).__name__}")
    return found[0], found[1]


def _labels(where: str, items: Any) -> Any:
    """Return the labels of all items: those that the dataset says it has, if these are what it gives."""
    said = _said(items)
    if said is not None and len(said) == len(items):
        probes = _probes(len(items)).tolist()
        if all(float(said[i]) == float(_item(where, items, i)[1]) for i in probes):
            return said
    return np.array([_number(_item(where, items, i)[1]) for i in range(len(items))])


def _number(label: Any) -> Any:
    return label.item() if hasattr(label, "item") and getattr(label, "ndim", 0) == 0 else label


def _said(items: Any) -> Tensor | None:
    """Return the labels that a dataset, or those that it is made of, has in memory."""
    if isinstance(items, Subset):
        whole = _said(items.dataset)
        return None if whole is None else whole[torch.as_tensor(list(items.indices))]
    if isinstance(items, ConcatDataset):
        some = [_said(one) for one in items.datasets]
        there = [one for one in some if one is not None]
        return torch.cat(there) if len(there) == len(some) else None
    found = next((getattr(items, k) for k in ("targets", "labels") if hasattr(items, k)), None)
    try:
        said = None if found is None else torch.as_tensor(np.asarray(found))
    except Exception:  # whatever it is, it is no list of numbers: the items say what their labels are
        return None
    return said if said is not None and said.ndim == 1 else None


def _probes(n: int) -> Tensor:
    return torch.linspace(0, n - 1, PROBED).round().long()
