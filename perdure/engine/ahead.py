"""Parts read by requests, in worker processes that are some requests ahead."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from perdure.core.errors import PerdureError
from perdure.engine.data import Place
from perdure.scenarios.contract.fetched import Fetched
from perdure.scenarios.contract.part import Part

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
