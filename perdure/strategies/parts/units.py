"""The hidden units of a chain of layers: how active they are, and fresh weights for some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from perdure.core.batch import Batch, Params
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.models.inspect import width
from perdure.strategies.parts.chain import chain, features
from perdure.strategies.parts.inside import inputs_of

# What a sum of activities or weights is at least where it divides: a layer that is all silent scores 0.
SMALL = 1e-12


class Units(NamedTuple):
    """The units of a hidden layer.

    Parameters
    ----------
    layer:
        Name of the linear or convolution layer that makes them: its weights are their incoming ones.
    reader:
        Name of the layer that reads them, by their outgoing weights.
    width:
        How many there are; a unit of a convolution is a channel.
    """

    layer: str
    reader: str
    width: int


def hidden(model: nn.Module, asker: str, norms: bool = False) -> list[Units]:
    """Return the hidden layers of a model, the first one first.

    Parameters
    ----------
    model, asker, norms:
        As for :func:`perdure.strategies.parts.chain.chain`, which refuses what is no chain.

    Examples
    --------
    >>> hidden(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), "redo")
    [Units(layer='0', reader='2', width=8)]
    """
    layers = chain(model, asker, norms)
    return [Units(one, reader, width(layers[one]) or 0) for one, reader in pairwise(layers)]


def start(params: Params, layers: Sequence[Units], asker: str) -> Params:
    """Return copies of the incoming weights of all units, which fresh ones are drawn from.

    Parameters
    ----------
    params:
        Trained tensors at the start.
    layers:
        The hidden layers.
    asker:
        Who asks, as errors begin.

    Raises
    ------
    PerdureError
        Where weights that are to be renewed are not trained.
    """
    for one in layers:
        for name in (f"{one.layer}.weight", f"{one.reader}.weight"):
            if name not in params:
                raise PerdureError(f"{asker} renews weights that are trained; found {name!r} frozen")
    names = [name for one in layers for name in _incoming(one) if name in params]
    return {name: params[name].clone() for name in names}


def activations(
    net: Net, params: Params, batch: Batch, layers: Sequence[Units]
) -> Iterator[tuple[Units, Tensor, Tensor]]:
    """Yield of each hidden layer its activations ``[rows, width]`` on a batch, and the weight of each row.

    They are what the reader is given, behind activation functions, norms and pooling. A convolution has a row
    for each place; the weights of a sample's rows sum to its own.

    Parameters
    ----------
    net, params, batch:
        The model and the samples.
    layers:
        The hidden layers.
    """
    given = inputs_of(net, params, batch, [one.reader for one in layers])
    for one in layers:
        rows = features(given[one.reader][-1], net.module.get_submodule(one.reader), one.width)
        places = len(rows) // len(batch)
        weight = (batch.sample_weight / places).repeat_interleave(places)
        yield one, rows.to(weight.dtype), weight


def activity(net: Net, params: Params, batch: Batch, layers: Sequence[Units]) -> dict[str, Tensor]:
    """Return the mean absolute activation of each unit over a batch, ``[width]`` by its layer's name.

    Parameters
    ----------
    net, params, batch:
        The model and the samples, which count with their weights. With the parameters that the step's
        gradient was taken at, a record shares the pass with the one that gives the losses.
    layers:
        The hidden layers.
    """
    return {
        one.layer: (weight.unsqueeze(1) * rows.abs()).sum(0) / weight.sum().clamp_min(SMALL)
        for one, rows, weight in activations(net, params, batch, layers)
    }


def score(active: Tensor) -> Tensor:
    """Divide the activity of a layer's units ``[width]`` by their mean; all are 0 where the layer is silent.

    Source: Sokar et al., ICML 2023.

    >>> score(torch.tensor([0.0, 1.0, 3.0, 0.0])).tolist()
    [0.0, 1.0, 3.0, 0.0]
    """
    return active / active.mean().clamp_min(SMALL)


def reach(params: Params, units: Units) -> Tensor:
    """Return the sum of the absolute outgoing weights of each unit, ``[width]``."""
    weight = params[f"{units.reader}.weight"]
    return weight.reshape(len(weight), units.width, -1).abs().sum((0, 2))


def renew(params: Params, begun: Params, units: Units, chosen: Tensor, rng: Rng) -> Params:
    """Return parameters with fresh incoming weights, and outgoing ones of zero, for some units of a layer.

    Parameters
    ----------
    params:
        All parameters.
    begun:
        Weights that fresh ones are drawn from: see :func:`start` and :func:`fresh`.
    units:
        The layer.
    chosen:
        Which units, ``[width]`` bool.
    rng:
        Random numbers of this moment.
    """
    new = dict(params)
    for name in _incoming(units):
        if name in params:
            old = params[name]
            rows = chosen.view(-1, *(1,) * (old.ndim - 1))
            new[name] = torch.where(rows, fresh(begun[name], rng, name), old)
    name = f"{units.reader}.weight"
    blocks = params[name].reshape(len(params[name]), units.width, -1)
    new[name] = torch.where(chosen.view(1, -1, 1), 0.0, blocks).view(params[name].shape)
    return new


def fresh(begun: Tensor, rng: Rng, purpose: str) -> Tensor:
    """Draw weights like those of a layer at its start: for each unit a stretch of these, from anywhere.

    All weights of the layer stand in a row, which is closed to a ring; a unit gets as many neighbours as it
    has incoming weights. Of weights that were drawn independently, this is a draw from their distribution,
    whatever it is, at one random number per unit instead of one per weight.

    Parameters
    ----------
    begun:
        The weights at the start, ``[width, ...]``.
    rng:
        Random numbers of this moment.
    purpose:
        What they are for.
    """
    row, each = begun.flatten(), begun[0].numel()
    ring = torch.cat([row, row[: each - 1]])
    first = rng.integers(purpose, len(row), len(begun))
    place = first.unsqueeze(1) + torch.arange(each, device=begun.device)
    return ring.gather(0, place.flatten()).view(begun.shape)


def _incoming(units: Units) -> tuple[str, str]:
    return f"{units.layer}.weight", f"{units.layer}.bias"
