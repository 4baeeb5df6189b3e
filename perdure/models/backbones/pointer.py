"""A policy that points at the elements of a table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.models.registry import MODELS, Builder, sized


@MODELS.register("pointer")
def pointer(elements: int, features: Sequence[int], points: Sequence[int], width: int = 128) -> Builder:
    """Build a model that scores each element of a table by one net, and what needs no element by another.

    An input is a vector: a head, then tables ``[elements, f]`` one after the other, each flattened. Of the
    outputs, ``elements`` from each place in ``points`` on are scores of the elements, the rest are of the
    whole. What is learned of one element holds for all: where it stands enters as a number of its own.

    Parameters
    ----------
    elements:
        How many elements a table has.
    features:
        Width ``f`` of each table.
    points:
        Where scores of elements begin among the outputs.
    width:
        Of the layers.

    Source: pointer networks (Vinyals et al., NeurIPS 2015, arXiv 1506.03134), without recurrence.
    """
    check_whole("elements", elements)
    check_whole("width", width)
    for value in features:
        check_whole("a number in features", value)
    starts = sorted(check_whole("a place in points", place, least=0) for place in points)

    def build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        table = elements * sum(features)
        apart = all(b - a >= elements for a, b in zip(starts, [*starts[1:], outputs], strict=True))
        if len(shape) != 1 or shape[0] <= table or not starts or not apart:
            raise PerdureError(
                f"pointer needs inputs of more than {table} numbers, and {elements} outputs from each of "
                f"{starts} on; found inputs {list(shape)} and {outputs} outputs"
            )
        return Pointer(shape[0] - table, elements, tuple(features), starts, outputs, width)

    return sized("pointer", build)


class Pointer(nn.Module):
    """Outputs ``[n, outputs]`` of inputs ``[n, head + elements sum(features)]``."""

    order: Tensor

    def __init__(
        self, head: int, elements: int, features: tuple[int, ...], starts: list[int], outputs: int, width: int
    ):
        super().__init__()
        self.head, self.elements, self.features = head, elements, features
        self.whole = nn.Sequential(nn.Linear(head, width), nn.ReLU())
        self.each = nn.Sequential(
            nn.Linear(sum(features) + elements + width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.both = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU())
        self.point = nn.Linear(width, len(starts))
        rest = outputs - elements * len(starts)
        self.rest = nn.Linear(width, rest)
        # Scores come as those of elements, point by point, then the rest: where each output is among them.
        places = [start + i for start in starts for i in range(elements)]
        places += [i for i in range(outputs) if i not in set(places)]
        self.register_buffer("order", torch.tensor(places).argsort())

    def forward(self, x: Tensor) -> Tensor:
        head, rest = x[:, : self.head], x[:, self.head :]
        sizes = [self.elements * f for f in self.features]
        tables = [part.view(len(x), self.elements, -1) for part in torch.split(rest, sizes, 1)]
        whole = self.whole(head)
        where = torch.eye(self.elements, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        beside = whole.unsqueeze(1).expand(-1, self.elements, -1)
        each = self.each(torch.cat([*tables, where, beside], -1))
        both = self.both(torch.cat([whole, each.mean(1), each.amax(1)], 1))
        # An element is also seen in the light of all others.
        scores = self.point(each * both.unsqueeze(1) + each)
        out: Tensor = torch.cat([scores.transpose(1, 2).flatten(1), self.rest(both)], 1)
        return out.index_select(1, self.order)
