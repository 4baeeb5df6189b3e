"""What can never be allocated on this machine is refused before it is tried."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from perdure.core.errors import PerdureError
from perdure.core.light import Light

# What is taken for the memory of a machine that does not tell.
UNKNOWN = 2**40
# What torch says when it cannot allocate, or cannot count what it should allocate.
_SAID = ("can't allocate", "out of memory", "overflow", "storage size", "invalid size", "too large")


def total_bytes(device: torch.device | None = None) -> int:
    """Return the memory of a device in bytes; of the machine for the CPU."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return UNKNOWN


def check_bytes(what: str, count: int, most: int | None = None) -> None:
    """Refuse what needs more bytes than there are."""
    most = total_bytes() if most is None else most
    if count > most:
        raise PerdureError(f"{what} must fit in memory, {_size(most)} here; found {_size(count)}")


def _size(count: int) -> str:
    return f"{count / 1e9:,.3g} GB" if count < 1e15 else f"{count / 1e12:,.0f} TB"


@contextmanager
def bounded(what: str, copies: int = 1, device: torch.device | None = None) -> Iterator[None]:
    """Refuse, before it is tried, to allocate a tensor of which so many copies do not fit in memory.

    Parameters
    ----------
    what:
        What asks for the memory, as the error calls it.
    copies:
        How many of each tensor there will be.
    device:
        Whose memory counts.
    """
    try:
        with _Bounded(what, total_bytes(device) // copies):
            yield
    except (MemoryError, OverflowError, RuntimeError) as error:
        if isinstance(error, MemoryError | OverflowError) or any(said in str(error) for said in _SAID):
            raise PerdureError(f"{what} must fit in memory; found too little: {error}") from None
        raise


class _Bounded(Light):
    """Looks at the sizes of new tensors before there is any."""

    def __init__(self, what: str, most: int) -> None:
        super().__init__()
        self.what, self.most = what, most

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | dict(kwargs or {})
        size = named.get("size", named.get("end"))
        numbers = size if isinstance(size, list | tuple) else [size]
        nowhere = torch.device(named.get("device") or "cpu").type == "meta"
        if not func.is_view and not nowhere and all(isinstance(n, int) for n in numbers):
            like = getattr(named.get("self"), "dtype", torch.get_default_dtype())
            dtype = named.get("dtype") or like
            check_bytes(self.what, math.prod(map(abs, numbers)) * dtype.itemsize, self.most)
        return func(*args, **(kwargs or {}))
