"""Critical periods of deep linear nets: how long a first task lasts, and what the second one makes of it.

python examples/methods/critical.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product
from typing import ClassVar

from table import MULTITASK, cell, markdown, put
from torch import nn

from perdure import compare
from perdure.scenarios import Stream, get
from perdure.strategies import Phase, Strategy

STEPS = (0, 50, 100, 200, 400, 800, 1600)
SECOND = (100, 300)
SPEC = "critical-periods(ranks=5, features=20, outputs=20, samples={})"


@dataclass(frozen=True)
class FirstThenSecond(Strategy):
    """Learns the first task for some steps, then the second."""

    name: ClassVar[str] = "first-then-second"
    first: int = 0
    second: int = SECOND[0]

    def phases(self, stream: Stream) -> list[Phase]:
        return [Phase((t,), steps=steps) for t, steps in enumerate((self.first, self.second))]


def linear_net(depth: int) -> Callable[[tuple[int, ...], int], nn.Module]:
    """Build a net of linear layers without biases and nonlinearities."""

    def build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        widths = [shape[0]] * depth + [outputs]
        return nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in pairwise(widths)))

    return build


def main(seeds: int = 5, write: bool = True, quick: bool = False) -> str:
    stream = get(SPEC.format(200 if quick else 2000))
    rows = []
    for depth, second in product((1, 2, 3), (20,) if quick else SECOND):
        plans = {str(first): FirstThenSecond(first, second) for first in STEPS[: 2 if quick else None]}
        found = compare(
            stream, plans, model=linear_net(depth), seeds=seeds, lr=0.01, batch_size=32, quiet=True
        )
        errors = {first: cell(-found.scores[first][:, -1, 1], 4) for first in plans}
        after = {f"after {first} steps": text for first, text in errors.items()}
        rows.append({"layers": str(depth), "steps on the second": str(second), **after})
    text = markdown(rows)
    print(text)
    if write:
        put("critical", text, MULTITASK)
    return text


if __name__ == "__main__":
    main()
