"""Samples that are fetched: batches made on the host, ahead of the training, never a whole part in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.core.random import draw_bits, purpose_key
from perdure.engine.ahead import Ahead, Parts, Request
from perdure.engine.data import Data, Drawn, Fed, Place, laid_out
from perdure.engine.scored import Chunk, Scored, Tables, in_chunks, owners, padded
from perdure.scenarios.contract.fetched import Fetched
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.world import World

# Samples that are scored at a time, over all replicas, and the bytes that they may take as numbers.
SCORED_SAMPLES, SCORED_BYTES = 1024, 1 << 24


@dataclass(frozen=True, eq=False)
class FetchedData(Data):
    """Training samples of a phase that are fetched batch by batch; :attr:`rows` holds all but the inputs.

    Parameters
    ----------
    parts:
        The parts of the phase's tasks, one after the other.
    seeds:
        Seed of each replica.
    """

    parts: Parts = field(kw_only=True)
    seeds: Tensor = field(kw_only=True)

    @cached_property
    def _ahead(self) -> Ahead:
        return Ahead(self.parts, stay=True)

    @cached_property
    def _alike(self) -> tuple[Tensor, Tensor]:
        """The first replica of each seed, and which of these each replica is like."""
        seeds = self.seeds.tolist()
        distinct = list(dict.fromkeys(seeds))
        return torch.tensor([seeds.index(s) for s in distinct]), torch.tensor(
            [distinct.index(s) for s in seeds]
        )

    @classmethod
    def of(
        cls, place: Place, stream: Stream, tasks: Sequence[int], parts: Sequence[Part], seeds: Tensor
    ) -> FetchedData:
        """Lay parts end to end."""
        task, spans = laid_out(list(zip(tasks, parts, strict=True)))
        rows = {**place.labels(stream, parts), "task": task.to(place.device)}
        return cls(rows, spans, parts=Parts(parts, place), seeds=seeds)

    def feed(self, batches: Iterable[Drawn], step: int | None = None) -> Iterator[Fed]:
        """Fetch batches some ahead; where ``step`` is given, it decides how samples are augmented."""
        waiting: deque[tuple[Drawn, Tensor]] = deque()

        def requests() -> Iterator[Request]:
            for i, drawn in enumerate(batches):
                request, inverse = self._request(drawn[0], None if step is None else step + i)
                waiting.append((drawn, inverse))
                yield request

        for x in self._ahead(requests()):
            (index, weight, count), inverse = waiting.popleft()
            flat = index.flatten()
            rows = {k: v.index_select(0, flat) for k, v in self.rows.items()}
            # Each replica's samples end to end, as many in each batch: one record serves for all.
            rows = {"x": self.parts.place.put(x).index_select(0, inverse.to(index.device)), **rows}
            yield rows, torch.arange(len(flat), device=index.device).view(index.shape), weight, count

    def _request(self, index: Tensor, step: int | None) -> tuple[Request, Tensor]:
        """Return what is to be fetched for a batch ``[replicas, n]``, and where each sample is in it.

        A sample that several replicas want is fetched once; one that is augmented, once for each seed:
        replicas of one seed go through the samples in one order.
        """
        draws, n, index = self.parts.draws, index.shape[1], index.cpu()
        if step is None or not draws:
            distinct, inverse = np.unique(index.numpy(), return_inverse=True)
            return (distinct, None), torch.from_numpy(inverse.reshape(-1))
        first, group = self._alike
        seeds = self.seeds.cpu()[first]
        words = draw_bits(seeds, torch.tensor(step), purpose_key("augment"), n * draws)
        uniform = ((words >> 8).to(torch.float32) * 2.0**-24).view(-1, draws)
        places = group.unsqueeze(1) * n + torch.arange(n)
        return (index[first].flatten().numpy(), uniform.numpy()), places.flatten()

    def at(self, index: Tensor) -> Tensor:
        """Fetch the samples with these indices, as the model sees them, in the shape of ``index``."""
        distinct, inverse = np.unique(index.cpu().numpy(), return_inverse=True)
        place = self.parts.place
        x = place.numbers(place.put(self.parts.fetch(distinct, None)))
        return x[torch.from_numpy(inverse.reshape(-1)).to(x.device)].view(*index.shape, *x.shape[1:])

    @property
    def later(self) -> dict[str, Any]:
        """Inputs, which are fetched when they are taken."""
        return {"x": Later(self.at, len(self), self.seeds.device)}


class Later:
    """Stands for the inputs of all samples of a phase, ``[n, ...]``: some of them can be taken.

    ``x[index]``, ``x.index_select(0, index)`` and, for all of them a piece at a time, ``x.split(size)``.
    """

    def __init__(self, at: Callable[[Tensor], Tensor], length: int, device: torch.device) -> None:
        self._at, self._length, self._device = at, length, device

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Tensor:
        whole = isinstance(index, Tensor) and index.dtype == torch.int64
        taken = index if whole else torch.arange(self._length, device=self._device)[index]
        found: Tensor = _Take.apply(taken, self._at)
        return found

    def index_select(self, axis: int, index: Tensor) -> Tensor:
        """Take some samples."""
        return self[index] if axis == 0 else _refuse()

    def split(self, size: int) -> Iterator[Tensor]:
        """Take all samples, ``size`` at a time."""
        return (self[start : start + size] for start in range(0, self._length, size))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _refuse()

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        return _refuse()


def _refuse() -> Any:
    raise PerdureError(
        "expected a strategy that takes some samples of a task, x[index], or pieces, x.split(size): they are "
        "fetched one by one; found one that computes with all samples of a task at once"
    )


class _Take(torch.autograd.Function):
    """Fetching as an operation that can be mapped over replicas."""

    @staticmethod
    def forward(index: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
        return at(index)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is differentiated."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, index: Tensor, at: Callable[[Tensor], Tensor]) -> tuple[Tensor, int]:
        return _Take.apply(index.movedim(in_dims[0], 0), at), 0


class Chunks:
    """What is scored, chunk by chunk, fetched ahead each time: see :class:`perdure.engine.scored.Scored`."""

    def __init__(self, place: Place, stream: Stream, tables: Tables, most: int) -> None:
        self.parts = Parts([p for _, p in tables], place)
        self.labels = place.labels(stream, self.parts.parts)
        self.task = owners(tables, place.device)
        self.nobody = len(stream)
        example = stream.example()["x"]
        most = max(1, min(most, SCORED_SAMPLES, SCORED_BYTES // (4 * example.numel())))
        self.size, self.index, self.real = padded(len(self.task), most)

    def __len__(self) -> int:
        return len(self.index) // self.size

    def __iter__(self) -> Iterator[Chunk]:
        device = self.task.device
        cuts = list(zip(*(torch.split(each, self.size) for each in (self.index, self.real)), strict=True))
        answers = Ahead(self.parts, stay=False)((rows.numpy(), None) for rows, _ in cuts)
        for (chosen, there), x in zip(cuts, answers, strict=True):
            at = chosen.to(device)
            task, here = self.task[at], there.to(device)
            rows = {"x": self.parts.place.put(x), **{k: v[at] for k, v in self.labels.items()}, "task": task}
            yield rows, torch.where(here, task, self.nobody)


def scored(place: Place, stream: Stream, some: Sequence[Part | World], most: int) -> Scored:
    """Lay out the parts of all tasks to be scored; samples that are fetched are not kept in memory."""
    tables = [(i, p) for i, p in enumerate(some) if isinstance(p, Part)]
    worlds = tuple((i, p) for i, p in enumerate(some) if isinstance(p, World))
    counts = torch.tensor([len(p) if isinstance(p, Part) else 1 for p in some], device=place.device)
    fetched = any(isinstance(p, Fetched) for _, p in tables)
    chunks = (Chunks if fetched else in_chunks)(place, stream, tables, most)
    return Scored(chunks, counts, worlds)
