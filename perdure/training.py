"""How strategies are trained: everything that ``compare`` takes beside the stream and the strategies."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from perdure.core.checks import check_number, check_whole, checked
from perdure.core.errors import PerdureError, shown
from perdure.models.registry import get as get_model
from perdure.optim.optimizer import OPTIMIZERS, Optimizer
from perdure.optim.schedules import SCHEDULES
from perdure.optim.sgd import SGD
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.registry import get as get_stream
from perdure.strategies.contract.naming import name_strategies
from perdure.strategies.contract.strategy import Strategy

Model = str | nn.Module | Callable[..., nn.Module]
Strategies = Strategy | str | Sequence[Strategy | str] | Mapping[str, Strategy | str]
TUNABLE = ("lr", "weight_decay")
# More replicas than any machine trains at once, and more epochs than anybody waits for.
MOST_REPLICAS, MOST_EPOCHS = 100_000, 10**9
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


@checked
def read_stream(stream: Stream | str) -> Stream:
    """Return the stream that is given, or named."""
    return get_stream(stream) if isinstance(stream, str) else stream


@checked
def read_strategies(strategies: Strategies) -> dict[str, Strategy]:
    """Return the strategies that are given, or named, under the names that results have for them."""
    return name_strategies(strategies)


@checked
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
    device: str | torch.device,
    dtype: str,
    precision: str | None,
    pretrained: bool,
    eval_every: int | None,
    tune: Mapping[str, Sequence[float]] | None,
) -> Settings:
    """Check every setting; the first bad one raises, before any work."""
    if isinstance(model, str):
        get_model(model)
        if pretrained:
            raise PerdureError(
                "pretrained keeps the weights of a model that is a module; "
                f"found the name {shown(model)}, whose weights are drawn"
            )
    check_whole("batch_size", batch_size)
    epochs = get_epochs(stream, batch_size) if epochs is None else epochs
    check_whole("epochs", epochs, most=MOST_EPOCHS)
    if stream.online and epochs != 1:
        raise PerdureError(f"epochs must be 1: {stream.name} is online (one pass); found {epochs}")
    if eval_every is not None:
        check_whole("eval_every", eval_every)
    grid = get_grid(tune)
    # A single value to choose from is a value like any other.
    single = {key: values[0] for key, values in (tune or {}).items() if len(values) == 1}
    lr, weight_decay = single.get("lr", lr), single.get("weight_decay", weight_decay)
    check_number("lr", lr, ends="()")
    check_number("weight_decay", weight_decay)
    SCHEDULES.get(schedule)
    settings = Settings(
        model, get_seeds(seeds), epochs, batch_size,
        OPTIMIZERS.get(optimizer) if isinstance(optimizer, str) else optimizer,
        lr, weight_decay, schedule, get_device(str(device)),
        _dtype("dtype", dtype, ("float32", "float64")),
        None if precision is None else _dtype("precision", precision, ("bfloat16",)),
        pretrained, eval_every, grid,
    )  # fmt: skip
    check_whole(
        "the number of replicas, seeds times the values of tune,",
        len(settings.seeds) * len(settings.grid), most=MOST_REPLICAS,
    )  # fmt: skip
    return settings


def get_epochs(stream: Stream, batch_size: int) -> int:
    """Return how often to pass over the data by default: once, more often over small tasks."""
    if stream.online:
        return 1
    samples = sum(len(t.train) for t in stream) / len(stream)
    classes = sum(len(t.outputs) for t in stream) / len(stream)
    steps = max(ENOUGH_STEPS, ENOUGH_PER_CLASS * classes)
    return max(1, math.ceil(steps * batch_size / samples))


@checked
def get_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` means here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d{1,4})?", name, re.ASCII):
        raise PerdureError(f"device must be auto, cpu, cuda or cuda:N; found {shown(name)}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise PerdureError(f"device {name!r} asked for, but {torch.cuda.device_count()} CUDA devices found")
    return device


@checked
def get_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the list of seeds that a count or a list means."""
    if isinstance(seeds, int):
        return tuple(range(check_whole("seeds", seeds, most=MOST_REPLICAS)))
    chosen = tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= s < 2**32 for s in chosen):
        raise PerdureError(f"seeds must be a count or different numbers in [0, 2^32); found {shown(chosen)}")
    return chosen


@checked
def get_grid(tune: Mapping[str, Sequence[float]] | None) -> tuple[dict[str, float], ...]:
    """Return every combination of the values to choose from; a single value is no choice."""
    tune = tune or {}
    for key, values in tune.items():
        if key not in TUNABLE:
            raise PerdureError(f"tune can choose {' and '.join(TUNABLE)}; found {shown(key)}")
        if not values:
            raise PerdureError(f"tune must give values for {key!r}; found none")
        for value in values:
            check_number(f"tune's {key}", value, ends="()" if key == "lr" else "[)")
        if len(set(values)) < len(values):
            raise PerdureError(f"tune must give different values for {key!r}; found {list(values)}")
    several = {key: values for key, values in tune.items() if len(values) > 1}
    check_whole("the number of tune's values", math.prod(map(len, several.values())), most=MOST_REPLICAS)
    return tuple(dict(zip(several, point, strict=True)) for point in itertools.product(*several.values()))


def _dtype(name: str, value: str, allowed: tuple[str, ...]) -> torch.dtype:
    if value not in allowed:
        raise PerdureError(f"{name} must be {' or '.join(allowed)}; found {shown(value)}")
    dtype: torch.dtype = getattr(torch, value)
    return dtype
