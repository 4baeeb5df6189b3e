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
    """A policy's layers and a value's, and behind both one head, whose outputs read those of their own.

    Outputs ``[n, groups (policy + deviations + 1)]``. One layer holds them all, so that what finds or
    replaces a model's head finds this one.
    """

    def __init__(self, inputs: int, widths: Sequence[int], groups: int, policy: int, deviations: int):
        super().__init__()
        self.policy = perceptron(inputs, widths)
        self.value = perceptron(inputs, widths)
        width = widths[-1] if widths else inputs
        each = policy + deviations + 1
        kinds = torch.tensor([0] * policy + [1] * deviations + [2]).repeat(groups)
        # Log deviations read nothing: they are their biases.
        reads = torch.cat([(kinds == k).unsqueeze(1).expand(-1, width) for k in (0, 2)], 1)
        self.head = Routed(reads.to(torch.get_default_dtype()))
        if self.head.weight.device.type != "meta":  # where weights are only counted
            with torch.no_grad():
                for kind, first, gain in ((0, 0, POLICY_GAIN), (2, width, VALUE_GAIN)):
                    rows = torch.empty(groups * (policy if kind == 0 else 1), width)
                    nn.init.orthogonal_(rows, gain)
                    self.head.weight[kinds == kind, first : first + width] = rows
        assert self.head.out_features == groups * each

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        out: Tensor = self.head(torch.cat([self.policy(x), self.value(x)], 1))
        return out


class Routed(nn.Linear):
    """A linear layer whose outputs read some of its inputs only: ``reads [outputs, inputs]`` is 1 there."""

    reads: Tensor

    def __init__(self, reads: Tensor):
        super().__init__(reads.shape[1], reads.shape[0])
        self.register_buffer("reads", reads)
        with torch.no_grad():
            self.weight.mul_(reads.to(self.weight.device))
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.reads, self.bias)


def perceptron(inputs: int, widths: Sequence[int]) -> nn.Sequential:
    """Return layers with a tanh behind each, orthogonal weights and zero biases."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [linear(inputs, width), nn.Tanh()]
        inputs = width
    return nn.Sequential(*layers)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a layer of orthogonal weights."""
    layer = nn.Linear(inputs, outputs)
    if layer.weight.device.type != "meta":
        nn.init.orthogonal_(layer.weight, HIDDEN_GAIN)
    nn.init.zeros_(layer.bias)
    return layer
