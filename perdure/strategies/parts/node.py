"""Functions of small matrices that a recorded step keeps as one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def one_node(name: str) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Keep the decorated function as one node of a recorded step: its rounds may depend on the values.

    The function takes ``matrix [..., n, n]``, ``vector [..., n]`` and what else its annotations say, all
    tensors with the same leading axes, and returns a tensor like ``vector``. Each problem of a batch must be
    solved as it would be alone. No gradient goes through it.

    Parameters
    ----------
    name:
        What the operation is called, in torch's namespace ``perdure``.
    """

    def enter(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        operation: Any = torch.library.custom_op(f"perdure::{name}", function, mutates_args=())

        def mapped(info: Any, in_dims: Any, *given: Any) -> tuple[Tensor, int]:
            batched = [_first(value, dim, info.batch_size) for value, dim in zip(given, in_dims, strict=True)]
            return operation(*batched), 0

        operation.register_fake(lambda matrix, vector, *more: torch.empty_like(vector))
        operation.register_vmap(mapped)
        return operation  # type: ignore[no-any-return]

    return enter


def _first(value: Any, dim: int | None, size: int) -> Any:
    """Bring the mapped axis of a tensor to the front; repeat one that has none."""
    if not isinstance(value, Tensor):
        return value
    return value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)
