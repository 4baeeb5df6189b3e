"""The replica axis: many models as one set of stacked tensors, and functions of one model mapped over it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.utils import _pytree as pytree

from perdure.core.batch import Params
from perdure.core.errors import PerdureError
from perdure.core.layer_draws import NoDraws
from perdure.core.refusals import describe
from perdure.models.redraw import redraw


@dataclass(frozen=True)
class Replica:
    """All that a replica carries through a run: tensors, or those of all replicas with a leading axis.

    Parameters
    ----------
    params, buffers:
        The model's tensors by name: what is trained, and what is not.
    state:
        The state of each part of the strategy, by its kind.
    optim:
        The optimiser's memory.
    """

    params: Params
    buffers: Params
    state: dict[str, Any]
    optim: dict[str, Any] = field(default_factory=dict)

    def view(self) -> Replica:
        """Return what the replica answers with: all but the optimiser's memory."""
        return replace(self, optim={})


pytree.register_dataclass(Replica)


class Mapper:
    """Maps functions written for one replica over a leading axis of their arguments.

    ``vmap`` does it in one go. What ``vmap`` refuses (a branch on a value, say) is run one replica at a time
    from then on, with one warning and the same results. That is decided for each kind of function by itself:
    a run that goes on after a stop must not depend on what was refused before it.

    Parameters
    ----------
    replicas:
        How many there are.
    unroll:
        Go through the replicas one by one all the same. On a CPU a convolution whose kernels differ by
        replica is far slower than as many convolutions; recorded, the loop costs nothing.
    """

    def __init__(self, replicas: int, unroll: bool = False) -> None:
        self.replicas = replicas
        self.unroll = unroll
        self._enabled = True
        self.refused_before = False  # in the part of a run that a stopped process did
        self._ways: dict[Any, Callable[..., Any] | None] = {}

    @property
    def mapped(self) -> bool:
        """Whether all functions so far could be mapped; set to False, none is any more."""
        return self._enabled and not self.refused_before and None not in self._ways.values()

    @mapped.setter
    def mapped(self, value: bool) -> None:
        self._enabled = value

    @property
    def enabled(self) -> bool:
        """Whether functions are mapped where they can be."""
        return self._enabled

    def __call__(
        self, function: Callable[..., Any], *args: Any, shared: Sequence[int] = (), kind: Any = None
    ) -> Any:
        """Apply ``function``; the arguments at the positions ``shared`` have no replica axis."""
        in_dims = tuple(None if i in shared else 0 for i in range(len(args)))
        if not self._enabled or self.unroll:
            return self._loop(function, args, in_dims)
        first: Exception | None = None
        for way in (self._ways[kind],) if kind in self._ways else (_as_it_is, _below_a_gradient):
            if way is None:
                break
            try:
                with NoDraws():
                    result = vmap(way(function), in_dims, randomness="different")(*args)
            except PerdureError:
                raise
            except Exception as error:
                first = first or error
            else:
                self._ways[kind] = way
                return result
        # If the function fails for a single replica as well, that failure is the one to report.
        result = self._loop(function, args, in_dims)
        if first is not None:
            self.refuse(first, kind)
        return result

    def refuse(self, error: Exception, kind: Any) -> None:
        """Run functions of a kind one replica at a time, and say so."""
        if self._ways.get(kind, _as_it_is) is None:
            return
        self._ways[kind] = None
        warnings.warn(
            f"the model or strategy cannot be mapped over replicas and runs one at a time: {describe(error)}",
            RuntimeWarning,
            stacklevel=3,
        )

    def _loop(self, function: Callable[..., Any], args: tuple[Any, ...], in_dims: tuple[Any, ...]) -> Any:
        results = []
        for r in range(self.replicas):
            own = [
                a if d is None else pytree.tree_map(lambda v, r=r: v[r] if isinstance(v, Tensor) else v, a)
                for a, d in zip(args, in_dims, strict=True)
            ]
            with NoDraws():
                results.append(function(*own))
        return pytree.tree_map(lambda *v: _joined(v) if isinstance(v[0], Tensor) else v[0], *results)


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _below_a_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function inside a differentiation that asks for nothing.

    There torch takes composite operations (recurrent layers) apart, which ``vmap`` cannot map as a whole.
    """

    def inside(*args: Any) -> Any:
        nothing = torch.zeros(())
        return grad(lambda zero: (zero.sum(), function(*args)), has_aux=True)(nothing)[1]

    return inside


def _joined(values: tuple[Tensor, ...]) -> Tensor:
    """Stack; one tensor alone is not copied."""
    return values[0].unsqueeze(0) if len(values) == 1 else torch.stack(values)


def convolves(module: nn.Module) -> bool:
    """Tell whether the module has convolutions."""
    return any(isinstance(part, nn.modules.conv._ConvNd) for part in module.modules())


def unshare(tree: Any, taken: set[int] | None = None) -> Any:
    """Copy what shares memory with something else in the tree, or is no memory of its own (expanded)."""
    seen = set() if taken is None else taken

    def own(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        place = value.untyped_storage()._cdata
        if place in seen or not value.is_contiguous() or value.untyped_storage().nbytes() > value.nbytes:
            value = value.contiguous() if not value.is_contiguous() else value.clone()
            place = value.untyped_storage()._cdata
        seen.add(place)
        return value

    return pytree.tree_map(own, tree)


def build(model: Callable[..., nn.Module] | nn.Module, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build one module: call the builder (with shape and outputs if it takes them) or copy and re-draw."""
    if isinstance(model, nn.Module):
        return redraw(model)
    required = [
        p for p in inspect.signature(model).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip
    if len(required) not in (0, 2):
        raise PerdureError(
            "model must be a function of nothing or of (input_shape, outputs); "
            f"it takes {len(required)} arguments"
        )
    module = model(shape, outputs) if required else model()
    if not isinstance(module, nn.Module):
        raise PerdureError(f"model must build a torch.nn.Module; it built {type(module).__name__}")
    return module


def stack(modules: Sequence[nn.Module], device: torch.device, dtype: torch.dtype) -> tuple[Params, Params]:
    """Stack the parameters and buffers of equal modules, ``[replicas, ...]`` each."""

    def gather(values: list[Tensor]) -> Tensor:
        stacked = torch.stack([v.detach() for v in values]).to(device)
        return stacked.to(dtype) if stacked.is_floating_point() else stacked

    params = {
        k: gather([dict(m.named_parameters())[k] for m in modules])
        for k, p in modules[0].named_parameters()
        if p.requires_grad
    }
    frozen = {
        k: gather([dict(m.named_parameters())[k] for m in modules])
        for k, p in modules[0].named_parameters()
        if not p.requires_grad
    }
    buffers = {
        k: gather([dict(m.named_buffers())[k] for m in modules]) for k, _ in modules[0].named_buffers()
    }
    return params, {**frozen, **buffers}
