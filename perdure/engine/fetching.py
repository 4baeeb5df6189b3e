"""Samples that are fetched: batches made on the host, ahead of the training, never a whole part in memory."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from perdure.core.batch import Rows
from perdure.core.errors import PerdureError
from perdure.core.random import draw_bits, purpose_key
from perdure.engine.data import Data, Drawn, Fed, Place, Scored, laid_out
from perdure.scenarios.contract.fetched import Fetched
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.world import World

# Samples that are scored at a time, over all replicas, and the bytes that they may take as numbers.
SCORED_SAMPLES, SCORED_BYTES = 1024, 1 << 24

# Which samples of the parts, end to end, are wanted, [d], and the draws that augment each, [d, k].
Request = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32] | None]


class Parts(Dataset[Any]):
    """Parts end to end, read by requests: what worker processes run."""

    def __init__(self, parts: Sequence[Part], place: Place) -> None:
        self.parts = tuple(parts)
        self.place = place
        self.starts = np.cumsum([0, *(len(p) for p in parts)])
        # Decided for all of them: one phase is one kind of number.
        self.bytes = place.scale is not None and all(
            p.scale == place.scale and (p.transform is None or getattr(p.transform, "moves", False))
            for p in parts
        )

    @property
    def draws(self) -> int:
        """How many numbers augment a sample; 0 where none is augmented."""
        fetched = [p for p in self.parts if isinstance(p, Fetched) and p.augment is not None]
        return max((p.draws for p in fetched), default=0)

    @property
    def workers(self) -> int:
        """How many processes fetch ahead."""
        return max((p.workers for p in self.parts if isinstance(p, Fetched)), default=0)

    def __getitem__(self, request: Request) -> Tensor | PerdureError:
        """Fetch samples, ``[d, ...]`` on the host. An error is an answer: raised, it would lose its line."""
        try:
            return self.fetch(*request)
        except PerdureError as error:
            return error

    def fetch(self, index: npt.NDArray[np.int64], draws: npt.NDArray[np.float32] | None) -> Tensor:
        """Fetch samples, ``[d, ...]`` on the host: bytes, or numbers as the model sees them."""
        owner = np.searchsorted(self.starts, index, side="right") - 1
        pieces: list[Tensor] = []
        places = []
        for i in np.unique(owner):
            rows = np.flatnonzero(owner == i)
            part = self.parts[i].take(torch.from_numpy(index[rows] - self.starts[i]))
            part = part.loaded(None if draws is None else torch.from_numpy(draws[rows]))
            kept = part.in_bytes() if self.bytes else None
            pieces.append(part.inputs() if kept is None else kept)
            places.append(rows)
        if len(pieces) == 1:
            return pieces[0]
        order = np.argsort(np.concatenate(places), kind="stable")
        return torch.cat(pieces)[torch.from_numpy(order)]


class _Requests:
    """What a loader asks for next: set before each pass."""

    def __init__(self) -> None:
        self.source: Iterable[Request] = ()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.source)


def _as_it_is(x: Any) -> Any:
    return x


class Ahead:
    """Answers requests in order, two of each worker process ahead; the processes end with :meth:`close`.

    Parameters
    ----------
    parts:
        What is fetched from.
    stay:
        Whether processes outlive a pass, for the next one.
    """

    def __init__(self, parts: Parts, stay: bool) -> None:
        self.requests = _Requests()
        # Functions of the user's session cannot be sent to a process that starts from nothing.
        forks = parts.workers > 0 and sys.platform == "linux"
        self.loader: DataLoader[Any] = DataLoader(
            parts,
            batch_size=None,
            sampler=self.requests,
            num_workers=parts.workers,
            collate_fn=_as_it_is,
            # A generator of its own: the session's global one is not drawn from.
            generator=torch.Generator(),
            persistent_workers=stay and parts.workers > 0,
            multiprocessing_context=multiprocessing.get_context("fork") if forks else None,
        )

    def __call__(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """Yield the samples that each request asks for."""
        self.requests.source = requests
        if self.loader.num_workers:
            # Processes share the memory of what is there before they fork, until somebody writes on it; a
            # search for garbage would write on all of it, and make a copy for each.
            gc.freeze()
        try:
            with warnings.catch_warnings():
                # That forking a process with threads may hang: the workers take one thread, and no lock.
                warnings.simplefilter("ignore")
                answers = iter(self.loader)
            for answer in answers:
                if isinstance(answer, PerdureError):
                    raise answer
                yield answer
        except BaseException:  # an error, an interruption, or a pass that nobody reads to its end
            self.close()
            raise
        finally:
            if self.loader.num_workers:
                gc.unfreeze()

    def close(self) -> None:
        """End the worker processes."""
        answers = getattr(self.loader, "_iterator", None)
        if answers is not None:
            answers._shutdown_workers()


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
    """What is scored, chunk by chunk, fetched ahead each time: see :class:`perdure.engine.data.Scored`."""

    def __init__(self, place: Place, stream: Stream, tables: Sequence[tuple[int, Part]], most: int) -> None:
        self.parts = Parts([p for _, p in tables], place)
        self.labels = place.labels(stream, self.parts.parts)
        self.task = torch.cat([torch.full((len(p),), i, device=place.device) for i, p in tables])
        self.nobody = len(stream)
        example = stream.example()["x"]
        most = max(1, min(most, SCORED_SAMPLES, SCORED_BYTES // (4 * example.numel())))
        n = len(self.task)
        self.pieces = -(-n // most)
        self.size = -(-n // self.pieces)

    def __len__(self) -> int:
        return self.pieces

    def __iter__(self) -> Iterator[tuple[Rows, Tensor]]:
        n = len(self.task)
        index = torch.arange(self.pieces * self.size)
        real = index < n
        index = torch.where(real, index, 0)
        device = self.task.device
        cuts = list(zip(torch.split(index, self.size), torch.split(real, self.size), strict=True))
        answers = Ahead(self.parts, stay=False)((rows.numpy(), None) for rows, _ in cuts)
        for (chosen, there), x in zip(cuts, answers, strict=True):
            at = chosen.to(device)
            task, here = self.task[at], there.to(device)
            rows = {"x": self.parts.place.put(x), **{k: v[at] for k, v in self.labels.items()}, "task": task}
            yield rows, torch.where(here, task, self.nobody)


def scored(place: Place, stream: Stream, some: Sequence[Part | World], most: int) -> Scored:
    """Lay out the parts of all tasks to be scored; samples that are fetched are not kept in memory."""
    tables = [(i, p) for i, p in enumerate(some) if isinstance(p, Part)]
    if not any(isinstance(p, Fetched) for _, p in tables):
        return place.scored(stream, some, most)
    worlds = tuple((i, p) for i, p in enumerate(some) if isinstance(p, World))
    counts = torch.tensor([len(p) if isinstance(p, Part) else 1 for p in some], device=place.device)
    return Scored(Chunks(place, stream, tables, most), counts, worlds)
