"""Random layers: every draw of a model is the replica's own, whichever layer or function asks for it.

Torch's random operations read its global generator: a second run would differ, a resumed one too, and
``vmap`` refuses them. :class:`OwnDraws` stands below all transforms, where an operation of all replicas
arrives as one with a leading axis, and computes it from the counter-based numbers of
:mod:`perdure.core.random`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.core.light import Light
from perdure.core.random import Rng

aten = torch.ops.aten
Shape = Sequence[int]

# Half the distance of two uniform draws: moves them into the open interval (0, 1), where the log is finite.
_HALF = 2.0**-25
_WIDEST = 2**31


class OwnDraws(Light):
    """Draws the random numbers of a model from ``rng``; an operation that it lacks is refused by name.

    Parameters
    ----------
    rng:
        The replica's numbers at this step; inside ``vmap``, those of all replicas.
    """

    def __init__(self, rng: Rng) -> None:
        super().__init__()
        self.rng = rng
        self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not is_random(func, args, kwargs):
            return func(*args, **kwargs)
        rule = _RULES.get(func)
        if rule is None:
            raise PerdureError(
                f"the model draws with {func}, which cannot be made to draw from each seed's own numbers: "
                "use dropout, bernoulli, rand, randn, normal, exponential or multinomial"
            )
        self.calls += 1
        seed, step = plain(self.rng.seed), plain(self.rng.step)
        return rule(_Draw(Rng(seed, step, self.rng.scope), func, self.calls), *args, **kwargs)


class GlobalDraw(PerdureError):
    """A draw from torch's global generator where each seed has numbers of its own."""


class NoDraws(Light):
    """Refuses draws from torch's global generator."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if is_random(func, args, kwargs):
            raise GlobalDraw(
                f"{func} draws from torch's global generator, which a second run does not repeat: "
                "strategies draw from `batch.rng` and `task.rng`"
            )
        return func(*args, **kwargs)


def is_random(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether an operation reads a random generator: torch tags those that may."""
    if not _may_draw(func):
        return False
    given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | dict(kwargs)
    # Attention and recurrent layers carry the tag for their dropout, which is off by default.
    share = next(
        (given.get(a.name, a.default_value) for a in func._schema.arguments if "dropout" in a.name), 1
    )
    return share != 0


@cache  # Asked for every operation, and torch builds the list of tags anew each time.
def _may_draw(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags and func is not aten._fused_sdp_choice.default


def plain(value: Tensor) -> Tensor:
    """Return the tensor below all transforms, with the axes that they map over."""
    while torch._C._functorch.is_functorch_wrapped_tensor(value):
        value = torch._C._functorch.get_unwrapped(value)
    return value


class _Draw:
    """One random operation: its numbers have a purpose of their own."""

    def __init__(self, rng: Rng, func: Any, call: int) -> None:
        self.rng, self.func = rng, func
        # The same whether the operation is in place or not: recorded, it is not.
        name = func.overloadpacket.__name__.removesuffix("_functional").rstrip("_")
        self.purpose = f"{'dropout' if func in _KEEPING else name}{call}"
        self.replicas = rng.seed.shape[0] if rng.seed.ndim else 0

    def own(self, shape: Shape) -> Shape:
        """Return one replica's share of a shape."""
        if not self.replicas:
            return shape
        if not shape or shape[0] != self.replicas:
            # An error of any kind makes the engine run one replica at a time, and there it works.
            raise RuntimeError(f"{self.func} has no axis of replicas here")
        return shape[1:]

    def uniform(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        wide = dtype if dtype == torch.float64 else torch.float32
        return self.rng.uniform(self.purpose, *self.own(shape), dtype=wide)

    def open(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Return uniform numbers in (0, 1)."""
        return self.uniform(shape, dtype) + _HALF

    def normal(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        wide = dtype if dtype == torch.float64 else torch.float32
        return self.rng.normal(self.purpose, *self.own(shape), dtype=wide)

    def keep(self, shape: Shape, dtype: torch.dtype, p: float | Tensor) -> Tensor:
        """Return what is True with probability ``p``."""
        return self.uniform(shape, dtype) >= 1.0 - p

    def integers(self, shape: Shape, low: int, high: int) -> Tensor:
        if not 0 < high - low <= _WIDEST:
            raise PerdureError(
                f"the model draws whole numbers in [{low}, {high}); expected a range of 1 to 2^31 numbers"
            )
        return low + self.rng.integers(self.purpose, high - low, *self.own(shape))


# ---- one rule per operation, with the operation's own arguments -------------------------------------------


def _filling(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Build the rule of an operation that fills its first argument, in place or as a new tensor."""

    def rule(draw: _Draw, self: Tensor, *args: Any, generator: Any = None, **kwargs: Any) -> Tensor:
        value = make(draw, self.shape, self.dtype, *args, **kwargs).to(self.dtype)
        return self.copy_(value) if draw.func._schema.is_mutable else value

    return rule


def _sized(make: Callable[..., Tensor], usual: torch.dtype | None = None) -> Callable[..., Tensor]:
    """Build the rule of an operation that is told a size, behind its other arguments."""

    def rule(draw: _Draw, *args: Any, dtype: Any = None, device: Any = None, **kwargs: Any) -> Tensor:
        *terms, size = args
        kind = dtype or usual or torch.get_default_dtype()
        value = make(draw, tuple(size), kind, *terms).to(kind)
        return value if device is None else value.to(device)

    return rule


def _like(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Build the rule of an operation that is told a tensor to be like."""

    def rule(draw: _Draw, self: Tensor, *args: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
        kind = dtype or self.dtype
        return make(draw, self.shape, kind, *args).to(kind)

    return rule


def _uniform(draw: _Draw, shape: Shape, dtype: torch.dtype, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * draw.uniform(shape, dtype)


def _normal(draw: _Draw, shape: Shape, dtype: torch.dtype, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return mean + std * draw.normal(shape, dtype)


def _log_normal(draw: _Draw, shape: Shape, dtype: torch.dtype, mean: float = 1.0, std: float = 2.0) -> Tensor:
    return _normal(draw, shape, dtype, mean, std).exp()


def _exponential(draw: _Draw, shape: Shape, dtype: torch.dtype, rate: float = 1.0) -> Tensor:
    return -draw.open(shape, dtype).log() / rate


def _geometric(draw: _Draw, shape: Shape, dtype: torch.dtype, p: float) -> Tensor:
    logarithm = draw.open(shape, dtype).log()
    return (logarithm / math.log1p(-p)).floor() + 1 if p < 1 else torch.ones_like(logarithm)


def _cauchy(draw: _Draw, shape: Shape, dtype: torch.dtype, median: float = 0.0, sigma: float = 1.0) -> Tensor:
    return median + sigma * torch.tan(math.pi * (draw.open(shape, dtype) - 0.5))


def _bernoulli(draw: _Draw, shape: Shape, dtype: torch.dtype, p: float | Tensor = 0.5) -> Tensor:
    return draw.keep(shape, p.dtype if isinstance(p, Tensor) else dtype, p)


def _integers(draw: _Draw, shape: Shape, dtype: torch.dtype, *bounds: int) -> Tensor:
    if not bounds or bounds[-1] is None:
        raise PerdureError(f"the model draws with {draw.func} over all numbers of {dtype}: give it an end")
    low, high = (0, bounds[0]) if len(bounds) == 1 else bounds
    return draw.integers(shape, low, high)


def _by_chance(draw: _Draw, self: Tensor, generator: Any = None) -> Tensor:
    return draw.keep(self.shape, self.dtype, self).to(self.dtype)


def _dropout(draw: _Draw, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    if train is False or p == 0:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    keep = draw.keep(x.shape, x.dtype, 1.0 - p)
    return x * keep * (1.0 / (1.0 - p) if p < 1 else 0.0), keep


def _normal_of(draw: _Draw, mean: Tensor | float, std: Tensor | float, generator: Any = None) -> Tensor:
    like = torch.as_tensor(mean) + torch.as_tensor(std)
    return mean + std * draw.normal(like.shape, like.dtype).to(like.dtype)


def _order(draw: _Draw, n: int, dtype: Any = None, **kwargs: Any) -> Tensor:
    if draw.replicas:  # Asked once per replica, without saying for which.
        raise RuntimeError(f"{draw.func} has no axis of replicas here")
    return draw.rng.permutation(draw.purpose, n).to(dtype or torch.int64)


def _categories(
    draw: _Draw, self: Tensor, count: int, replacement: bool = False, generator: Any = None
) -> Tensor:
    # Several rows of each replica arrive as rows of one matrix.
    rows = self.view(draw.replicas, -1, self.shape[-1]) if draw.replicas else self
    if replacement:
        ends = rows.cumsum(-1)
        at = draw.uniform((*rows.shape[:-1], count), rows.dtype) * ends[..., -1:]
        chosen = torch.searchsorted(ends, at.to(ends.dtype), right=True).clamp_max(rows.shape[-1] - 1)
    else:  # The largest of log p + Gumbel noise: a draw without replacement.
        chosen = (rows.log() - (-draw.open(rows.shape, rows.dtype).log()).log()).topk(count).indices
    return chosen.flatten(0, 1) if draw.replicas else chosen


def _leaky(
    draw: _Draw, self: Tensor, noise: Tensor, lower: Any = 1 / 8, upper: Any = 1 / 3, training: bool = False,
    generator: Any = None,
) -> Any:  # fmt: skip
    slope = _uniform(draw, self.shape, self.dtype, lower, upper) if training else torch.full_like(
        self, (lower + upper) / 2
    )  # fmt: skip
    drawn = torch.where(self <= 0, slope.to(self.dtype), 1.0)
    if draw.func._schema.is_mutable:
        noise.copy_(drawn)
        return self.copy_(self * drawn) if draw.func is aten.rrelu_with_noise_.default else self * drawn
    return self * drawn, drawn


_KEEPING = {
    aten.bernoulli.p, aten.bernoulli_.float, aten.bernoulli.default, aten.bernoulli.Tensor,
    aten.bernoulli_.Tensor, aten.native_dropout.default,
}  # fmt: skip

_RULES: dict[Any, Callable[..., Any]] = {
    aten.bernoulli.default: _by_chance,
    aten.native_dropout.default: _dropout,
    aten.normal.Tensor_float: _normal_of,
    aten.normal.float_Tensor: _normal_of,
    aten.normal.Tensor_Tensor: _normal_of,
    aten.randperm.default: _order,
    aten.multinomial.default: _categories,
    aten.rrelu_with_noise.default: _leaky,
    aten.rrelu_with_noise_.default: _leaky,
    aten.rrelu_with_noise_functional.default: _leaky,
}


def _overloads(*names: str, but: str = "out") -> list[Any]:
    """Return the overloads of operations, in place or not; those that a word is in are left out."""
    packets = [getattr(aten, name) for name in names]
    return [getattr(p, o) for p in packets for o in p.overloads() if "out" not in o and but not in o]


for _make, _names in (
    (_uniform, ("uniform", "uniform_")),
    (_normal, ("normal_functional", "normal_")),
    (_integers, ("random", "random_")),
    (_log_normal, ("log_normal", "log_normal_")),
    (_exponential, ("exponential", "exponential_")),
    (_geometric, ("geometric", "geometric_")),
    (_cauchy, ("cauchy", "cauchy_")),
    (_bernoulli, ("bernoulli_",)),
):
    _RULES |= dict.fromkeys(_overloads(*_names), _filling(_make))
_RULES |= dict.fromkeys((aten.bernoulli.p, aten.bernoulli.Tensor), _filling(_bernoulli))
for _make, _kind, _name in (
    (_uniform, None, "rand"),
    (_normal, None, "randn"),
    (_integers, torch.int64, "randint"),
):
    _RULES |= dict.fromkeys(_overloads(_name, but="names"), _sized(_make, _kind))
    _RULES |= dict.fromkeys(_overloads(f"{_name}_like", but="Tensor"), _like(_make))
_RULES[aten.normal.float_float] = _sized(_normal)
