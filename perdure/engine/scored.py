"""What is scored: the parts of all tasks on the device, in chunks, and worlds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from perdure.core.batch import Rows
from perdure.engine.data import Place
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.shared_rows import inputs_key
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.world import World

# Token ids are scored in rows of a multiple of this length.
TOKEN_STEP = 4
# Outputs of a chunk of inputs that several tasks share, those of all tasks together.
SIDE_BY_SIDE = 1 << 19

# Samples, and the task that each counts for.
Chunk = tuple[Rows, Tensor]
# Tasks' numbers with their parts.
Tables = Sequence[tuple[int, Part]]


class Chunks(Protocol):
    """Samples that are scored a chunk at a time, and the task that each counts for."""

    def __len__(self) -> int:
        """Return the number of chunks."""

    def __iter__(self) -> Iterator[Chunk]:
        """Yield rows, and their tasks ``[n]`` or ``[tasks, n]``, in order; padding has a task behind all."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What is scored: samples, padded to whole chunks, whose padding counts for no task; and worlds.

    Where several tasks share the inputs of a chunk, ``x [n, ...]``, its labels and tasks are ``[tasks, n]``.
    """

    chunks: Chunks
    counts: Tensor
    worlds: tuple[tuple[int, World], ...] = ()


def in_chunks(place: Place, stream: Stream, tables: Tables, most: int) -> tuple[Chunk, ...]:
    """Lay out parts in chunks of at most ``most`` inputs.

    Parts with the same inputs are one group, whose inputs are there once; all others lie end to end.
    """
    groups: dict[Any, list[tuple[int, Part]]] = {}
    for i, part in tables:
        groups.setdefault(inputs_key(part), []).append((i, part))
    alone = [group[0] for group in groups.values() if len(group) == 1]
    chunks = list(_end_to_end(place, stream, alone, most)) if alone else []
    for group in groups.values():
        chunks += _side_by_side(place, stream, group, most) if len(group) > 1 else ()
    return tuple(chunks)


def _end_to_end(place: Place, stream: Stream, tables: Tables, most: int) -> Iterator[Chunk]:
    """Yield chunks of parts end to end, whose samples have one task each."""
    rows = place.end_to_end(stream, [p for _, p in tables])
    task, x = owners(tables, place.device), rows.pop("x")
    for index, real in _cut(x, most):
        own = task[index]
        labels = {k: v[index] for k, v in rows.items()}
        yield {**labels, "x": trimmed(x[index]), "task": own}, torch.where(real, own, len(stream))


def _side_by_side(place: Place, stream: Stream, tables: Tables, most: int) -> Iterator[Chunk]:
    """Yield chunks of inputs that several tasks share: all but the inputs has an axis of tasks in front."""
    x = place.samples([tables[0][1]])[0]
    each = [place.labels(stream, [p]) for _, p in tables]
    labels = {k: torch.stack([one[k] for one in each]) for k in each[0]}
    tasks = torch.tensor([i for i, _ in tables], device=place.device).unsqueeze(1)
    # Outputs are closed for each task by itself: an input has as many of them as there are tasks.
    most = max(1, min(most, SIDE_BY_SIDE // (len(tables) * stream.outputs)))
    for index, real in _cut(x, most):
        own = tasks.expand(-1, len(index))
        rows = {**{k: v[:, index] for k, v in labels.items()}, "x": trimmed(x[index]), "task": own}
        yield rows, torch.where(real, own, len(stream))


def _cut(x: Tensor, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield which inputs are in each chunk, ``[n]``, and which of them are no padding: chunks of one size."""
    size, index, real = padded(len(x), most, x.device)
    if x.dtype == torch.int64:
        # Token ids: short rows go together, and columns that hold nothing but padding are left out.
        by_length = lengths(x)[index].argsort(stable=True)
        index, real = index[by_length], real[by_length]
    yield from zip(torch.split(index, size), torch.split(real, size), strict=True)


def padded(n: int, most: int, device: torch.device | None = None) -> tuple[int, Tensor, Tensor]:
    """Return the size of chunks of ``n`` samples, and the sample at each place: the first one pads the last.

    The third says which places are no padding.
    """
    pieces = -(-n // most)
    size = -(-n // pieces)
    index = torch.arange(pieces * size, device=device)
    real = index < n
    return size, torch.where(real, index, 0), real


def owners(tables: Tables, device: torch.device) -> Tensor:
    """Return the task of each sample of parts end to end."""
    return torch.cat([torch.full((len(part),), i, device=device) for i, part in tables])


def lengths(ids: Tensor) -> Tensor:
    """Return where the padding (0) at the end of each row of token ids begins, ``[n]``."""
    places = torch.arange(1, ids.shape[-1] + 1, device=ids.device)
    return ((ids != 0) * places).flatten(1).amax(1)


def trimmed(x: Tensor) -> Tensor:
    """Leave out columns of token ids that are padding in every row; of few lengths, as each is a record."""
    if x.dtype != torch.int64:
        return x
    longest = max(1, int(lengths(x).max()))
    return x[..., : min(x.shape[-1], -(-longest // TOKEN_STEP) * TOKEN_STEP)].contiguous()
