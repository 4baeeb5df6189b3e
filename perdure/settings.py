"""How strategies are trained: everything that ``compare`` takes beside the stream and the strategies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from perdure.engine.optim import OPTIMIZERS, SCHEDULES, SGD, Optimizer
from perdure.errors import PerdureError
from perdure.models.registry import get as get_model
from perdure.scenarios.stream import Stream

Model = str | nn.Module | Callable[..., nn.Module]
TUNABLE = ("lr", "weight_decay")
# Steps that the default number of epochs gives at least: per task, and per class of a task.
ENOUGH_STEPS, ENOUGH_PER_CLASS = 50, 10


@dataclass(frozen=True)
class Settings:
    """Validated training settings; see :func:`perdure.compare` for what each means."""

    model: Model = "mlp"
    seeds: tuple[int, ...] = tuple(range(10))
    epochs: int = 1
    batch_size: int = 32
    optimizer: Optimizer = field(default_factory=SGD)
    lr: float = 0.1
    weight_decay: float = 0.0
    schedule: str = "constant"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    precision: torch.dtype | None = None
    pretrained: bool = False
    eval_every: int | None = None
    grid: tuple[dict[str, float], ...] = ({},)

    def builder(self) -> nn.Module | Callable[..., nn.Module]:
        """Return what builds the model."""
        return get_model(self.model) if isinstance(self.model, str) else self.model

    def factor(self) -> Callable[[int, int], float]:
        """Return the learning-rate schedule."""
        return SCHEDULES.get(self.schedule)

    @property
    def replicas(self) -> list[tuple[int, dict[str, float]]]:
        """Seed and grid point of every replica, grid points outermost."""
        return [(seed, point) for point in self.grid for seed in self.seeds]


def make_settings(
    stream: Stream,
    *,
    model: Model,
    seeds: int | Sequence[int],
    epochs: int | None,
    batch_size: int,
    optimizer: str | Optimizer,
    lr: float,
    weight_decay: float,
    schedule: str,
    device: str,
    dtype: str,
    precision: str | None,
    pretrained: bool,
    eval_every: int | None,
    tune: Mapping[str, Sequence[float]] | None,
) -> Settings:
    """Check every setting; the first bad one raises, before any work."""
    if isinstance(model, str):
        get_model(model)
    elif not callable(model):
        raise PerdureError(f"model must be a name, a module or a function that builds one; found {model!r}")
    _whole("batch_size", batch_size, 1)
    epochs = get_epochs(stream, batch_size) if epochs is None else epochs
    _whole("epochs", epochs, 1)
    if stream.online and epochs != 1:
        raise PerdureError(f"epochs must be 1: {stream.name} is online (one pass); found {epochs}")
    if eval_every is not None:
        _whole("eval_every", eval_every, 1)
    grid = get_grid(tune)
    # A single value to choose from is a value like any other.
    single = {key: values[0] for key, values in (tune or {}).items() if len(values) == 1}
    lr, weight_decay = single.get("lr", lr), single.get("weight_decay", weight_decay)
    _real("lr", lr, positive=True)
    _real("weight_decay", weight_decay)
    SCHEDULES.get(schedule)
    chosen = OPTIMIZERS.get(optimizer) if isinstance(optimizer, str) else optimizer
    place = get_device(device)
    return Settings(
        model, get_seeds(seeds), epochs, batch_size, chosen, lr, weight_decay, schedule, place,
        _dtype("dtype", dtype, ("float32", "float64")),
        None if precision is None else _dtype("precision", precision, ("bfloat16",)),
        pretrained, eval_every, grid,
    )  # fmt: skip


def get_epochs(stream: Stream, batch_size: int) -> int:
    """Return how often to pass over the data by default: once, more often over small tasks."""
    if stream.online:
        return 1
    samples = sum(len(t.train) for t in stream) / len(stream)
    classes = sum(len(t.classes) for t in stream) / len(stream)
    steps = max(ENOUGH_STEPS, ENOUGH_PER_CLASS * classes)
    return max(1, math.ceil(steps * batch_size / samples))


def get_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` means here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise PerdureError(f"device must be auto, cpu, cuda or cuda:N; found {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise PerdureError(f"device {name!r} asked for, but {torch.cuda.device_count()} CUDA devices found")
    if device.type not in ("cpu", "cuda"):
        raise PerdureError(f"device must be auto, cpu, cuda or cuda:N; found {name!r}")
    return device


def get_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the list of seeds that a count or a list means."""
    if isinstance(seeds, int):
        _whole("seeds", seeds, 1)
        return tuple(range(seeds))
    chosen = tuple(int(s) for s in seeds)
    if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= s < 2**32 for s in chosen):
        raise PerdureError(f"seeds must be a count or different numbers in [0, 2^32); found {list(seeds)}")
    return chosen


def get_grid(tune: Mapping[str, Sequence[float]] | None) -> tuple[dict[str, float], ...]:
    """Return every combination of the values to choose from; a single value is no choice."""
    tune = tune or {}
    for key, values in tune.items():
        if key not in TUNABLE:
            raise PerdureError(f"tune can choose {' and '.join(TUNABLE)}; found {key!r}")
        if not values:
            raise PerdureError(f"tune must give values for {key!r}; found none")
        for value in values:
            _real(f"tune's {key}", value, positive=key == "lr")
        if len(set(values)) < len(values):
            raise PerdureError(f"tune must give different values for {key!r}; found {list(values)}")
    several = {key: values for key, values in tune.items() if len(values) > 1}
    return tuple(dict(zip(several, point, strict=True)) for point in itertools.product(*several.values()))


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PerdureError(f"{name} must be a whole number of at least {least}; found {value!r}")


def _real(name: str, value: Any, positive: bool = False) -> None:
    if not isinstance(value, int | float) or not 0 <= value < float("inf") or (positive and value == 0):
        raise PerdureError(
            f"{name} must be a {'positive' if positive else 'non-negative'} number; found {value!r}"
        )


def _dtype(name: str, value: str, allowed: tuple[str, ...]) -> torch.dtype:
    if value not in allowed:
        raise PerdureError(f"{name} must be {' or '.join(allowed)}; found {value!r}")
    dtype: torch.dtype = getattr(torch, value)
    return dtype
