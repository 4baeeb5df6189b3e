"""Several copies of a part of a model as one set of stacked tensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from perdure.core.batch import Params


class Bank(nn.Module):
    """Experts of one architecture, computed at once: ``[experts, n, ...]`` for inputs ``[n, ...]``.

    Each parameter ``layer.weight`` of the experts is one tensor ``part.layer.weight [experts, ...]``. Random
    layers draw for each expert.

    Parameters
    ----------
    experts:
        Modules of one architecture; buffers are those of the first.
    """

    def __init__(self, experts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.part, self.experts = copy.deepcopy(experts[0]), len(experts)
        stacked: dict[int, nn.Parameter] = {}
        for path, layer in self.part.named_modules():
            for name, first in layer.named_parameters(recurse=False):
                key = f"{path}.{name}".lstrip(".")
                # A weight that two layers share stays one.
                if id(first) not in stacked:
                    values = torch.stack([e.get_parameter(key).detach() for e in experts])
                    stacked[id(first)] = nn.Parameter(values, first.requires_grad)
                setattr(layer, name, stacked[id(first)])

    def __len__(self) -> int:
        return self.experts

    def forward(self, x: Tensor, each: bool = False) -> Tensor:
        """Return what the experts make of ``x [n, ...]``, or of inputs of their own, ``[experts, n, ...]``.

        Parameters
        ----------
        x:
            The inputs.
        each:
            Whether the first axis of the inputs is that of the experts.
        """

        def one(own: Params, x: Tensor) -> Tensor:
            answer: Tensor = functional_call(self.part, own, (x,))
            return answer

        own: Params = {**dict(self.part.named_parameters())}
        answers: Tensor = vmap(one, (0, 0 if each else None), randomness="different")(own, x)
        return answers
