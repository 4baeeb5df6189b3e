"""Parts whose samples are fetched one by one when they are needed: files, or any dataset with an index."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.part import Part

# Changes one sample: x and uniform numbers in [0, 1) [draws], both tensors on the host.
Augment = Callable[[Tensor, Tensor], Tensor]
# Samples whose content tells one part from another: reading all of them would take as long as an epoch.
PROBED = 4


class Items(Protocol):
    """What samples are fetched from: a map-style :class:`torch.utils.data.Dataset`, or anything like it."""

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return item ``index`` as a pair (x, y)."""
        ...


@dataclass(frozen=True, eq=False)
class Fetched(Part):
    """Samples that are fetched by their index, a batch at a time: only labels and indices are in memory.

    ``x [n]`` (int64) says which item of ``items`` each sample is, so that whatever takes samples out of a
    part, or renames labels, does so here without reading any.

    Parameters
    ----------
    x, y, task, transform, scale:
        As in :class:`perdure.scenarios.contract.part.Part`, but for ``x``.
    items:
        Where samples come from. Their labels are ``y``, whatever the items say.
    shape, dtype:
        What each item is: uint8 with a ``scale``, float32, or token ids (int64).
    augment:
        ``augment(x, draws) -> x`` changes a sample each time that a step learns from it; ``draws [k]`` are
        uniform numbers in [0, 1), a function of the replica's seed, the step and the place in the batch.
        What is scored or measured is not augmented.
    draws:
        How many numbers that takes, k.
    workers:
        Processes that fetch ahead of the training; 0 fetches when a batch is needed.
    where:
        What errors call the part.
    """

    items: Items = field(kw_only=True)
    shape: tuple[int, ...] = field(kw_only=True)
    dtype: torch.dtype = field(kw_only=True)
    augment: Augment | None = field(default=None, kw_only=True)
    draws: int = field(default=8, kw_only=True)
    workers: int = field(default=0, kw_only=True)
    where: str = field(default="part", kw_only=True)

    def loaded(self, draws: Tensor | None = None) -> Part:
        """Fetch all samples of this part, augmented by ``draws [n, k]`` where these are given."""
        found = [
            self._item(i, None if draws is None else draws[row]) for row, i in enumerate(self.x.tolist())
        ]
        x = torch.stack(found) if found else torch.empty(0, *self.shape, dtype=self.dtype)
        return Part(x, self.y, self.task, self.transform, self.scale)

    def inputs(self) -> Tensor:
        """Fetch all inputs at once, ``[n, ...]``: for a few samples taken out of a part."""
        return self.loaded().inputs()

    def read(self, most: int) -> Iterator[Tensor]:
        """Fetch the inputs in pieces of at most ``most`` samples, in order."""
        for start in range(0, len(self), most):
            yield self.take(torch.arange(start, min(start + most, len(self)))).inputs()

    def in_bytes(self) -> Tensor | None:
        """Nothing is kept in memory, neither as bytes nor otherwise."""
        return None

    def digest(self) -> bytes:
        """Return what identifies the part: labels, indices, and the content of a few items spread over it.

        What ``items.digest()`` returns, where there is such a method, counts as well (for files, their names
        and sizes). An item that changes later is noticed only if it is among these.
        """
        found = hashlib.blake2b(digest_size=16)
        found.update(repr((len(self), self.shape, str(self.dtype), self.scale)).encode())
        for values in (self.x, self.y, *([] if self.task is None else [self.task])):
            found.update(values.contiguous().numpy().tobytes())
        own = getattr(self.items, "digest", None)
        found.update(own() if callable(own) else b"")
        spread = torch.linspace(0, len(self) - 1, PROBED).round().long()
        found.update(self.take(spread).inputs().contiguous().numpy().tobytes())
        return found.digest()

    def _item(self, i: int, draws: Tensor | None) -> Tensor:
        """Fetch one item; whatever goes wrong is one line that names it."""
        who = f"{self.where}: item {i}"
        try:
            x = as_item(self.items[i][0])
        except Exception as error:  # a dataset is the user's own code
            raise PerdureError(f"{who} cannot be read: {error or type(error).__name__}") from error
        if draws is not None and self.augment is not None:
            try:
                x = as_item(self.augment(x, draws[: self.draws]))
            except Exception as error:
                raise PerdureError(f"{who} cannot be augmented: {error or type(error).__name__}") from error
        if tuple(x.shape) != self.shape or x.dtype != self.dtype:
            expected, found = kind_of(self.shape, self.dtype), kind_of(x.shape, x.dtype)
            raise PerdureError(f"{who} must be {expected} like the first one; found {found}")
        if x.is_floating_point() and not bool(x.isfinite().all()):
            raise PerdureError(f"{who} must be finite; found NaN or infinite values")
        return x


def as_item(x: Any) -> Tensor:
    """Return an input as a tensor: bytes and token ids as they are, real numbers as float32.

    Tensors, arrays, and images of Pillow, which become ``[channels, height, width]``.
    """
    if hasattr(x, "getbands"):
        pixels = torch.from_numpy(np.array(x))
        x = pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()
    found = torch.as_tensor(x).detach()
    if found.dtype == torch.uint8:
        return found
    return found.to(torch.float32) if found.is_floating_point() else found.to(torch.int64)


def in_memory(part: Part, who: str) -> Part:
    """Return a part; refuse one that is fetched, for what needs all of its samples at once."""
    if isinstance(part, Fetched):
        raise PerdureError(
            f"{who} needs all samples in memory; those of the {part.where} are fetched one by one"
        )
    return part


def kind_of(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    """Say what an item is."""
    return f"{list(shape)} {dtype}".replace("torch.", "")
