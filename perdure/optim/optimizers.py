"""Optimisers as pure functions of one replica, with a learning rate that may differ by replica.

The update rules are those of ``torch.optim``; the tests compare whole trajectories with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from perdure.core.checks import check_number
from perdure.core.errors import PerdureError, check_pattern, shown
from perdure.core.net import Params
from perdure.core.registry import Registry

OPTIMIZERS: Registry[Optimizer] = Registry("optimizer")


@dataclass(frozen=True)
class Optimizer:
    """One update of the parameters. ``lr`` and ``decay`` are 0-d tensors of the replica."""

    slots: ClassVar[tuple[str, ...]] = ()

    def init(self, params: Params) -> dict[str, Any]:
        """Allocate what the optimiser remembers: a tensor like each parameter per slot, and a step count."""
        state: dict[str, Any] = {s: {k: torch.zeros_like(p) for k, p in params.items()} for s in self.slots}
        if self.slots:
            state["count"] = torch.zeros((), dtype=torch.int64, device=next(iter(params.values())).device)
        return state

    def update(
        self, params: Params, grads: Params, state: dict[str, Any], lr: Tensor, decay: Tensor | None
    ) -> tuple[Params, dict[str, Any]]:
        """Return the new parameters and the new memory."""
        raise PerdureError(f"{type(self).__name__} does not say how to update: override `update`")


@OPTIMIZERS.register("sgd")
@dataclass(frozen=True)
class SGD(Optimizer):
    """``v = momentum v + g + decay p;  p = p - lr v`` (with Nesterov: ``p - lr (g + momentum v)``)."""

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        check_number("momentum", self.momentum, high=1)
        if self.nesterov and not self.momentum:
            raise PerdureError("nesterov needs momentum; found momentum=0, with which it changes nothing")

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        """The velocity, when there is momentum."""
        return ("velocity",) if self.momentum else ()

    def update(
        self, params: Params, grads: Params, state: dict[str, Any], lr: Tensor, decay: Tensor | None
    ) -> tuple[Params, dict[str, Any]]:
        new: dict[str, Any] = {"velocity": {}, "count": state["count"] + 1} if self.momentum else {}
        moved = {}
        for k, p in params.items():
            g = grads[k] if decay is None else torch.addcmul(grads[k], p, decay)
            if self.momentum:
                v = torch.add(g, state["velocity"][k], alpha=self.momentum)
                new["velocity"][k] = v
                g = torch.add(g, v, alpha=self.momentum) if self.nesterov else v
            moved[k] = torch.addcmul(p, g, lr.to(p.dtype), value=-1.0)
        return moved, new


@OPTIMIZERS.register("adam")
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015); weight decay is added to the gradient."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("first", "second")
    decoupled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("beta1", self.beta1, high=1)
        check_number("beta2", self.beta2, high=1)
        check_number("eps", self.eps, ends="()")

    def update(
        self, params: Params, grads: Params, state: dict[str, Any], lr: Tensor, decay: Tensor | None
    ) -> tuple[Params, dict[str, Any]]:
        count = state["count"] + 1
        new: dict[str, Any] = {"first": {}, "second": {}, "count": count}
        moved = {}
        dtype = next(iter(params.values())).dtype
        one = torch.ones((), dtype=torch.float64, device=count.device)
        step = (lr / (1 - torch.pow(one * self.beta1, count))).to(dtype)
        root = (1 - torch.pow(one * self.beta2, count)).sqrt().to(dtype)
        for k, p in params.items():
            g = grads[k]
            if decay is not None:
                if self.decoupled:
                    p = p * (1 - lr * decay).to(dtype)
                else:
                    g = torch.addcmul(g, p, decay)
            first = torch.lerp(state["first"][k], g, 1 - self.beta1)
            second = torch.addcmul(state["second"][k] * self.beta2, g, g, value=1 - self.beta2)
            new["first"][k], new["second"][k] = first, second
            moved[k] = p - step * first / (second.sqrt() / root + self.eps)
        return moved, new


@OPTIMIZERS.register("adamw")
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): ``p = (1 - lr decay) p`` first."""

    decoupled: ClassVar[bool] = True


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


SCHEDULES: Registry[Callable[[int, int], float]] = Registry("learning-rate schedule")


@SCHEDULES.register("constant")
def constant() -> Callable[[int, int], float]:
    """Return the schedule that leaves the learning rate alone."""
    return lambda step, total: 1.0


@SCHEDULES.register("cosine")
def cosine(floor: float = 0.0) -> Callable[[int, int], float]:
    """Return a half cosine from 1 to ``floor``, in [0, 1], over each phase."""
    check_number("floor", floor, high=1, ends="[]")
    return lambda step, total: floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * step / max(total, 1)))


@SCHEDULES.register("linear")
def linear(warmup: float = 0.0) -> Callable[[int, int], float]:
    """Return a rise over the share ``warmup`` of each phase, then a straight line to 0."""
    check_number("warmup, a share of the phase,", warmup, high=1, ends="[]")

    def factor(step: int, total: int) -> float:
        rise = warmup * total
        # A rise that ends between two steps would go beyond 1.
        return min(1.0, (step + 1) / rise) if step < rise else max(0.0, (total - step) / max(total - rise, 1))

    return factor


@SCHEDULES.register("steps")
def steps(every: float = 0.5, factor: float = 0.1) -> Callable[[int, int], float]:
    """Return a schedule that multiplies the rate by ``factor`` after each share ``every`` of a phase.

    Both lie in (0, 1].
    """
    check_number("every, a share of the phase,", every, high=1, ends="(]")
    check_number("factor", factor, high=1, ends="(]")
    # A share may be so small that the division overflows; the rate is 0 long before.
    return lambda step, total: factor ** int(min(step / max(total, 1) / every, 1e9) + 1e-9)
