"""Samples on the device: what a phase trains on, in which batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from perdure.core.batch import Rows
from perdure.core.random import draw_bits, purpose_key
from perdure.scenarios.contract.part import Part, in_bytes
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.transforms import Bytes
from perdure.strategies.contract.phase import Phase

# Arrays, and where in them the samples of a batch lie; then as below.
Fed = tuple[Rows, Tensor, Tensor, int]
# Orders of few samples are drawn for so many epochs in one go, and numbers that one go may draw.
EPOCHS, DRAWN = 16, 1 << 16
# Index [replicas, n] and weight [n] of a batch, and how many of its samples are no padding (weight 0).
Drawn = tuple[Tensor, Tensor, int]


@dataclass(frozen=True, eq=False)
class Data:
    """Training samples of a phase on the device: the one door through which all of it is read.

    Parameters
    ----------
    rows:
        The samples by the names that a batch gives them, ``[n, ...]``; where each replica has samples of its
        own, ``[replicas, n, ...]``.
    spans:
        Where each of the phase's tasks begins and ends.
    own:
        Whether each replica has samples of its own.
    """

    rows: Rows
    spans: tuple[tuple[int, int], ...]
    own: bool = False

    def __len__(self) -> int:
        return self.spans[-1][1]

    @cached_property
    def arrays(self) -> Rows:
        """The samples of all replicas end to end: those of a replica lie behind those of the one before."""
        return {k: v.flatten(0, 1) for k, v in self.rows.items()} if self.own else self.rows

    def places(self, index: Tensor) -> Tensor:
        """Return where the samples with these indices ``[replicas, n]`` lie in :attr:`arrays`."""
        if not self.own:
            return index
        return index + len(self) * torch.arange(len(index), device=index.device).unsqueeze(1)

    def feed(self, batches: Iterable[Drawn], step: int | None = None) -> Iterator[Fed]:
        """Yield, for each batch, the arrays that it lies in and where; ``step`` is that of the first one."""
        arrays = self.arrays
        return ((arrays, self.places(index), weight, count) for index, weight, count in batches)

    @property
    def later(self) -> dict[str, Any]:
        """What ``begin_task`` and ``end_task`` see by name beside :attr:`rows`, and is no tensor."""
        return {}


@dataclass(frozen=True)
class Place:
    """Where samples go, and as what kind of numbers."""

    device: torch.device
    dtype: torch.dtype
    scale: Bytes | None = None

    def put(self, values: Tensor) -> Tensor:
        """Bring values to the device; whole numbers stay whole."""
        values = values.to(self.device)
        return values.to(self.dtype) if values.is_floating_point() else values

    def samples(self, some: Sequence[Part]) -> list[Tensor]:
        """Bring inputs to the device: as bytes where all are bytes of the stream's scale, else as numbers."""
        some = [part.loaded() for part in some]
        kept = in_bytes(some) if some[0].scale == self.scale else None
        return [self.put(x) for x in ([part.inputs() for part in some] if kept is None else kept)]

    def numbers(self, x: Tensor) -> Tensor:
        """Make the model's numbers of inputs on the device: what bytes mean; all else is what it is."""
        return x if self.scale is None or x.dtype != torch.uint8 else self.put(self.scale(x))

    def train(self, stream: Stream, tasks: Sequence[int], which: str = "train") -> Data:
        """Lay the training parts, or others, of some tasks end to end."""
        trains = [(i, getattr(stream[i], which)) for i in tasks]
        rows = self.end_to_end(stream, [p for _, p in trains])
        task, spans = laid_out(trains)
        return Data({**rows, "task": task.to(self.device)}, spans)

    def shared(self, stream: Stream, part: Part, task: int) -> Data:
        """Lay out samples that several tasks share, ``task`` the last of them."""
        rows = self.end_to_end(stream, [part])
        n = len(part)
        return Data({**rows, "task": torch.full((n,), task, device=self.device)}, ((0, n),))

    def end_to_end(self, stream: Stream, some: Sequence[Part]) -> Rows:
        """Lay inputs and labels of parts end to end."""
        x = self.samples(some)
        return {"x": x[0] if len(x) == 1 else torch.cat(x), **self.labels(stream, some)}

    def labels(self, stream: Stream, some: Sequence[Part]) -> Rows:
        """Lay the labels of parts end to end."""
        labels = [stream.labels(p) for p in some]
        columns = {k: [self.put(v[k]) for v in labels] for k in labels[0]}
        return {k: v[0] if len(v) == 1 else torch.cat(v) for k, v in columns.items()}


@dataclass(frozen=True, eq=False)
class Sampler:
    """The batches of every replica, each in an order of its own.

    Parameters
    ----------
    seeds:
        Seed of each replica, ``[replicas]``.
    batch_size:
        Samples of a step.
    dtype:
        Kind of number of the weights.
    exact_tails:
        Leave the last batch of an epoch as small as it is, where padding would count (batch norm).
    least:
        Samples that a batch needs. A last batch of fewer joins the one before.
    """

    seeds: Tensor
    batch_size: int
    dtype: torch.dtype
    exact_tails: bool
    least: int = 1
    # The orders drawn last, by the number of samples and the purpose, with the epoch that they begin at.
    _drawn: dict[tuple[int, str], tuple[int, Tensor]] = field(default_factory=dict, init=False)

    def order(self, n: int, epoch: int, purpose: str) -> Tensor:
        """Return each replica's own order of ``n`` samples, ``[replicas, n]``."""
        length = max(1, min(EPOCHS, DRAWN // (n * len(self.seeds))))
        first = epoch - epoch % length
        held = self._drawn.get((n, purpose))
        if held is None or held[0] != first:
            at = torch.arange(first, first + length, device=self.seeds.device).unsqueeze(1)
            words = draw_bits(self.seeds, at, purpose_key(purpose), n)
            held = self._drawn[n, purpose] = (first, words.sort(dim=-1, stable=True).indices)
        return held[1][epoch - first]

    def batches(self, phase: Phase, data: Data, epoch: int) -> Iterator[Drawn]:
        """Yield the batches of an epoch: each replica goes through all samples in its own order."""
        if phase.batch_per_task:
            yield from self._separate(data, epoch)
            return
        yield from self.cut(self.order(len(data), epoch, "order"))

    def cut(self, order: Tensor) -> Iterator[Drawn]:
        """Cut the replicas' orders ``[replicas, n]`` into batches; the last is filled up to their size."""
        n = order.shape[1]
        size = min(self.batch_size, n)
        left = n % size
        joins = self._joins(n)
        alike = n // size - joins
        ones = torch.ones(size + joins * left, dtype=self.dtype, device=order.device)
        one = ones[:size]
        # All at once: a slice and a copy for each step would take longer than a small step.
        for batch in order[:, : alike * size].reshape(len(order), alike, size).transpose(0, 1).contiguous():
            yield batch, one, size
        if joins:
            yield order[:, alike * size :], ones, size + left
            return
        if left and self.exact_tails:
            yield order[:, n - left :], ones[:left], left
        elif left:
            # Same shape as the others, so that one record serves: the padding weighs nothing.
            tail = torch.cat([order[:, n - left :], order[:, : size - left]], 1)
            yield tail, (torch.arange(size, device=order.device) < left).to(self.dtype), left

    def _joins(self, n: int) -> bool:
        """Tell whether the last batch of ``n`` samples is too small to stand alone."""
        return self.exact_tails and self.batch_size < n and 0 < n % self.batch_size < self.least

    def steps(self, n: int) -> int:
        """Return the number of batches of an epoch of ``n`` samples."""
        return -(-n // self.batch_size) - self._joins(n)

    def smallest(self, n: int) -> int:
        """Return the size of the smallest batch of an epoch of ``n`` samples."""
        left = n % min(self.batch_size, n)
        return left if left and self.exact_tails and not self._joins(n) else min(self.batch_size, n)

    def _separate(self, data: Data, epoch: int) -> Iterator[Drawn]:
        """One batch per task at each step; shorter tasks start over until the longest is through."""
        longest = max(b - a for a, b in data.spans)
        size = min(self.batch_size, min(b - a for a, b in data.spans))
        orders = []
        for t, (a, b) in enumerate(data.spans):
            order = self.order(b - a, epoch, f"order{t}") + a
            orders.append(order.repeat(1, -(-longest // (b - a)))[:, :longest])
        ones = torch.ones(size * len(orders), dtype=self.dtype, device=self.seeds.device)
        for i in range(0, longest - size + 1, size):
            yield torch.cat([o[:, i : i + size] for o in orders], 1), ones, len(ones)


def laid_out(parts: Sequence[tuple[int, Part]]) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
    """Return the task of each sample of parts end to end, ``[n]``, and where each part begins and ends."""
    task = torch.cat([p.task if p.task is not None else torch.full((len(p),), i) for i, p in parts])
    return task, tuple(pairwise(accumulate((len(p) for _, p in parts), initial=0)))
