"""Data sets through torchvision: from files where there are some, otherwise downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.transforms import Bytes
from perdure.scenarios.source import Source
from perdure.scenarios.sources.files import VARIABLE, cache, folders


def load(name: str, dataset: str, class_names: Sequence[str] | None = None) -> Source:
    """Return a torchvision data set of images as a source, with its own test part.

    Parameters
    ----------
    name:
        What the source is called.
    dataset:
        The class in ``torchvision.datasets``.
    class_names:
        Default: the names that torchvision gives.

    Raises
    ------
    PerdureError
        When there are no files and none can be downloaded, or they cannot be read.
    """
    train, test = _open(name, dataset)
    names = list(class_names if class_names is not None else train.classes)
    return Source.build(name, *_samples(train), *_samples(test), class_names=names, scale=Bytes())


def _open(name: str, dataset: str) -> tuple[Any, Any]:
    """Return the training and the test part."""
    import torchvision.datasets

    maker = _without_pickles(getattr(torchvision.datasets, dataset))
    for root in folders():
        found = _existing(maker, root)
        if found is not None:
            return found
    reason = "what came is not whole"
    try:
        # The folder that the user names may be meant for reading alone: downloads go to the cache.
        cache().mkdir(parents=True, exist_ok=True)
        maker(str(cache()), train=True, download=True)
        found = _existing(maker, cache())
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
    if found is None:
        raise PerdureError(
            f"source {name!r} is not in {' or '.join(map(str, folders()))}, and downloading it failed: "
            f"{reason}; point {VARIABLE} to the folder that holds torchvision's {dataset}"
        )
    return found


def _without_pickles(maker: Any) -> Any:
    """Return the class without its way to read the pickles that old versions of torchvision wrote."""
    # Torchvision derives the folder from the name of the class, which therefore has to stay.
    return type(maker.__name__, (maker,), {"_check_legacy_exist": lambda self: False})


def _existing(maker: Any, root: Path) -> tuple[Any, Any] | None:
    """Open both parts under a folder; ``None`` when they are not there."""
    try:
        return maker(str(root), train=True), maker(str(root), train=False)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200] or "the file is not whole"
        if isinstance(error, RuntimeError) and "not found" in reason:
            return None
        raise PerdureError(f"cannot read {maker.__name__} in {root}: {reason}") from error


def _samples(part: Any) -> tuple[Tensor, Tensor]:
    """Return a part's images, ``[n, channels, height, width]`` in bytes, and labels."""
    pixels = torch.as_tensor(part.data)
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return pixels.contiguous(), torch.as_tensor(part.targets)
