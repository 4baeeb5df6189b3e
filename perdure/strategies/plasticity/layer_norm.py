"""Layer normalisation in front of the activations of hidden layers."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import nn

from perdure.core.errors import PerdureError
from perdure.models.inspect import LAYERS
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish,
)  # fmt: skip
# May stand between a layer and its activation.
BETWEEN = (nn.Identity, nn.modules.dropout._DropoutNd)


@strategy("layer-norm")
class LayerNorm(Strategy):
    """Normalise what goes into the activations of hidden layers, over the units of the layer.

    ``phi(a)`` becomes ``phi(g * (a - mean(a)) / sqrt(var(a) + 1e-5) + b)`` for a linear layer with outputs a,
    with g and b trained (1 and 0 at the start). Behind a convolution, mean and variance are over channels and
    places, and g and b are a channel's (a group norm of one group). What goes into activations then keeps its
    scale however far weights have moved.

    It goes into the sequences of the model (``nn.Sequential``, also inside other modules), where an
    activation follows a linear or convolution layer without a norm. Names of weights that were there stay.

    Source: Ba et al., arXiv 1607.06450 (2016); against loss of plasticity Lyle et al., "Understanding
    plasticity in neural networks", ICML 2023, arXiv 2303.01486.
    """

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        new = copy.deepcopy(model)
        before: nn.Module | None = None
        count = 0
        for place, name, part in _in_order(new):
            if isinstance(part, LAYERS):
                before = part
            elif isinstance(part, ACTIVATIONS) and before is not None:
                setattr(place, name, nn.Sequential(_norm(before), part))
                before, count = None, count + 1
            elif not isinstance(part, BETWEEN):
                before = None
        if not count:
            raise PerdureError(
                "layer-norm needs an nn.Sequential with an activation behind a linear or convolution layer "
                f"without a norm; found none in {type(model).__name__}"
            )
        return new


def _in_order(model: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Return the layers of all sequences in the order of their calls: the sequence, its key, the layer.

    One that stands outside of the others begins behind a layer of no kind.
    """
    found: list[tuple[nn.Module, str, nn.Module]] = []
    seen: set[nn.Module] = set()

    def walk(sequence: nn.Sequential) -> None:
        seen.add(sequence)
        for name, part in list(sequence._modules.items()):
            assert part is not None
            if isinstance(part, nn.Sequential):
                if part not in seen:
                    walk(part)
            else:
                found.append((sequence, name, part))

    for module in model.modules():
        if isinstance(module, nn.Sequential) and module not in seen:
            found.append((model, "", nn.Module()))
            walk(module)
    return found


def _norm(layer: nn.Module) -> nn.Module:
    """Return the norm for the outputs of a layer, of its kind of number."""
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    norm = nn.LayerNorm(len(weight)) if isinstance(layer, nn.Linear) else nn.GroupNorm(1, len(weight))
    return norm.to(weight.device, weight.dtype)
