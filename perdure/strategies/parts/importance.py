"""Sums over samples of powers of per-sample gradients: what EWC's Fisher and MAS's importance are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import grad
from torch.overrides import TorchFunctionMode

from perdure.core.batch import Batch, Params
from perdure.core.net import Net

# Takes the outputs [n, outputs] and the batch, and gives the value of each sample, [n].
Values = Callable[[Tensor, Batch], Tensor]


def gradient_powers(net: Net, params: Params, batch: Batch, values: Values, power: int) -> Params:
    """Return ``sum_i w_i |d values_i / d theta|^power`` for every parameter, exactly.

    In a model whose parameters all belong to linear layers used once on ``[n, features]``, a sample's
    gradient is the outer product ``dz_i x_i``, so the sum is a matrix product and costs as much as one
    ordinary backward pass. Any other model is differentiated sample by sample.

    Parameters
    ----------
    net, params, batch:
        The model and the samples, which count with their weights.
    values:
        What is differentiated.
    power:
        1 for absolute gradients (MAS), 2 for squares (Fisher).
    """
    found = _linear_layers(net, params, batch)
    if found is None:
        return _by_sample(net, params, batch, values, power)
    return _by_layer(net, params, batch, values, power, found)


class _Linear(TorchFunctionMode):
    """Notes each linear layer's input and adds a probe to its output, to be differentiated by."""

    def __init__(self, params: Params, probes: Mapping[str, Tensor] | None) -> None:
        super().__init__()
        self.names = {id(v): k for k, v in params.items()}
        self.probes = probes
        self.inputs: dict[str, Tensor] = {}
        self.layers: dict[str, tuple[str | None, tuple[int, ...]]] = {}
        self.repeated = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is not torch.nn.functional.linear or len(args) < 2 or id(args[1]) not in self.names:
            return out
        name = self.names[id(args[1])]
        bias = args[2] if len(args) > 2 else (kwargs or {}).get("bias")
        self.repeated |= name in self.layers
        self.layers[name] = (self.names.get(id(bias)), tuple(out.shape))
        self.inputs[name] = args[0]
        return out if self.probes is None else out + self.probes[name]


def _linear_layers(
    net: Net, params: Params, batch: Batch
) -> dict[str, tuple[str | None, tuple[int, ...]]] | None:
    """Return name of bias and shape of output by name of weight, or None if other parameters are used."""
    with _Linear(params, None) as noted:
        net.eval()(params, batch.x, batch.task)
    named = set(noted.layers) | {bias for bias, _ in noted.layers.values()}
    flat = all(len(shape) == 2 for _, shape in noted.layers.values())
    return noted.layers if flat and not noted.repeated and named - {None} == set(params) else None


def _by_layer(
    net: Net, params: Params, batch: Batch, values: Values, power: int,
    layers: dict[str, tuple[str | None, tuple[int, ...]]],
) -> Params:  # fmt: skip
    # Negative zeros change no number, so a record drops their addition.
    probes = {name: batch.x.new_full(shape, -0.0) for name, (_, shape) in layers.items()}

    def total(probes: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        with _Linear(params, probes) as noted:
            output = net.eval()(params, batch.x, batch.task)
        return values(output, batch).sum(), noted.inputs

    slopes, inputs = grad(total, has_aux=True)(probes)
    sums: Params = {}
    for weight, (bias, _) in layers.items():
        slope = raised(slopes[weight], power) * batch.sample_weight.unsqueeze(-1)
        sums[weight] = slope.mT @ raised(inputs[weight].detach(), power)
        if bias is not None:
            sums[bias] = slope.sum(0)
    return {k: sums[k] for k in params}


def _by_sample(net: Net, params: Params, batch: Batch, values: Values, power: int) -> Params:
    names = list(batch.rows)

    def one(weight: Tensor, *row: Tensor) -> Params:
        single = batch.like({k: v[None] for k, v in zip(names, row, strict=True)})

        def value(params: Params) -> Tensor:
            return values(net.eval()(params, single.x, single.task), single).sum()

        slopes = grad(value)(params)
        return {k: raised(g, power) * weight for k, g in slopes.items()}

    each = net.each(one, batch.sample_weight, *batch.rows.values())
    return {k: v.sum(0) for k, v in each.items()}


def raised(values: Tensor, power: int) -> Tensor:
    """Return ``|values| ** power``; an even power needs no absolute values."""
    return values**power if power % 2 == 0 else values.abs() ** power
