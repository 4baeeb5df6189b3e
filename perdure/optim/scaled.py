"""Learning rates of their own for some parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perdure.core.batch import Params
from perdure.core.checks import check_number
from perdure.core.errors import PerdureError, check_pattern, shown
from perdure.optim.optimizer import OPTIMIZERS, Optimizer


@OPTIMIZERS.register("scaled")
@dataclass(frozen=True)
class Scaled(Optimizer):
    """Another optimiser, with learning rates of their own for some parameters: ``lr_k = factor_k lr``.

    For a pretrained model, whose new head has to move much faster than the rest (discriminative fine-tuning,
    Howard & Ruder 2018, arXiv 1801.06146): ``"scaled('adamw', {'head': 100})"``.

    Parameters
    ----------
    rule:
        An optimiser, or the name of one.
    factors:
        Factor of the learning rate by regular expression: the first that a parameter's name holds a match of
        counts, and 1 where there is none.

    Weight decay that goes with the learning rate (``adamw``) is scaled with it.

    >>> import torch
    >>> rule = Scaled("sgd", {"head": 10.0})
    >>> params = {"body.weight": torch.ones(1), "head.weight": torch.ones(1)}
    >>> moved, _ = rule.update(params, params, rule.init(params), torch.tensor(0.01), None)
    >>> {name: round(float(value), 4) for name, value in moved.items()}
    {'body.weight': 0.99, 'head.weight': 0.9}
    """

    rule: str | Optimizer
    factors: Mapping[str, float]

    def __post_init__(self) -> None:
        if isinstance(self.rule, str):
            object.__setattr__(self, "rule", OPTIMIZERS.get(self.rule))
        if not self.factors:
            raise PerdureError(f"factors must be a table such as {{'head': 100}}; found {self.factors!r}")
        for pattern, factor in self.factors.items():
            check_pattern(pattern, "a name in factors")
            check_number(f"the factor of {shown(pattern)}", factor)

    @property
    def inner(self) -> Optimizer:
        """The optimiser whose rates are scaled."""
        return self.rule  # type: ignore[return-value]

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the other optimiser remembers."""
        return self.inner.slots

    def factor(self, name: str) -> float:
        """Return the factor of a parameter's learning rate."""
        return next((f for pattern, f in self.factors.items() if re.search(pattern, name)), 1.0)

    def init(self, params: Params) -> dict[str, Any]:
        for pattern in self.factors:
            if not any(re.search(pattern, name) for name in params):
                there = ", ".join(map(repr, list(params)[:5])) + (", ..." if len(params) > 5 else "")
                raise PerdureError(f"factors must name parameters; {pattern!r} is not in {there}")
        return self.inner.init(params)

    def update(
        self, params: Params, grads: Params, state: dict[str, Any], lr: Tensor, decay: Tensor | None
    ) -> tuple[Params, dict[str, Any]]:
        moved, new = self.inner.update(params, grads, state, lr, decay)
        # In every rule the whole move is proportional to the learning rate.
        for k in params:
            if (factor := self.factor(k)) != 1:
                moved[k] = torch.lerp(params[k], moved[k], factor)
        return moved, new
