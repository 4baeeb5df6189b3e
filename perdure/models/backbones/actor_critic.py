"""Two perceptrons side by side: a policy and a value."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.models.registry import MODELS, Builder, check_widths, sized

# Scales of the weights at the start: of hidden layers, of the policy's outputs, and of the value's.
HIDDEN_GAIN, POLICY_GAIN, VALUE_GAIN = math.sqrt(2), 0.01, 1.0


@MODELS.register("actor-critic")
def actor_critic(
    hidden: Sequence[int] | int = (64, 64), each: int | None = None, deviations: int = 0
) -> Builder:
    """Build a policy and a value, each a perceptron with tanh of its own, from orthogonal weights.

    The outputs are groups, one for each head of a stream: a policy's outputs, and a value behind them. Scales
    at the start are those of Schulman et al.'s code, as Stable-Baselines3 has them.

    Parameters
    ----------
    hidden:
        Width of each hidden layer; one number is one layer.
    each:
        How many outputs a group has; by default all are one group.
    deviations:
        How many of a policy's outputs, its last ones, are log deviations that do not depend on the input.
    """
    widths = check_widths("hidden", hidden)
    check_whole("deviations", deviations, least=0)
    if each is not None:
        check_whole("each", each, least=2)

    def build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        group = outputs if each is None else each
        if outputs % group or group - 1 - deviations < 1:
            raise PerdureError(
                f"actor-critic needs groups of {group} outputs, {deviations} of them deviations and one a "
                f"value; found {outputs} outputs"
            )
        return ActorCritic(math.prod(shape), widths, outputs // group, group - 1 - deviations, deviations)

    return sized("actor-critic", build)


class ActorCritic(nn.Module):
    """The policies and values of ``groups`` heads: outputs ``[n, groups (policy + deviations + 1)]``."""

    def __init__(self, inputs: int, widths: Sequence[int], groups: int, policy: int, deviations: int):
        super().__init__()
        self.groups = groups
        self.policy = perceptron(inputs, widths, groups * policy, POLICY_GAIN)
        self.value = perceptron(inputs, widths, groups, VALUE_GAIN)
        self.deviations = nn.Parameter(torch.zeros(groups, deviations)) if deviations else None

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        parts = [self.policy(x).unflatten(1, (self.groups, -1))]
        parts += [] if self.deviations is None else [self.deviations.expand(len(x), -1, -1)]
        parts.append(self.value(x).unsqueeze(-1))
        return torch.cat(parts, -1).flatten(1)


def perceptron(inputs: int, widths: Sequence[int], outputs: int, gain: float) -> nn.Sequential:
    """Return layers with tanh between them, orthogonal weights and zero biases."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [linear(inputs, width, HIDDEN_GAIN), nn.Tanh()]
        inputs = width
    return nn.Sequential(*layers, linear(inputs, outputs, gain))


def linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    """Return a layer of orthogonal weights."""
    layer = nn.Linear(inputs, outputs)
    if layer.weight.device.type != "meta":  # where weights are only counted
        nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
