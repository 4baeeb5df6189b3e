"""How strategies are trained and on what: everything that ``compare`` takes beside stream and strategies."""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from torch import nn

from perdure.core.checks import check_number, check_whole, checked
from perdure.core.errors import PerdureError, shown, unknown
from perdure.models.registry import get as get_model
from perdure.optim.optimizer import OPTIMIZERS, Optimizer
from perdure.optim.schedules import SCHEDULES
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.registry import get as get_stream
from perdure.strategies.contract.naming import name_strategies
from perdure.strategies.contract.strategy import Strategy

Model = str | nn.Module | Callable[..., nn.Module]
Strategies = Strategy | str | Sequence[Strategy | str] | Mapping[str, Strategy | str]
# Values of the numbers to choose from, by their keys: "lr", "weight_decay", "ewc.strength".
Tune = Mapping[str, Sequence[float]]
Made = TypeVar("Made", bound=Callable[..., Any])

# What tune can choose whatever the strategy.
TUNABLE = ("lr", "weight_decay")
# More replicas than any machine trains at once, and more epochs than anybody waits for.
MOST_REPLICAS, MOST_EPOCHS = 100_000, 10**9
# Steps that the default number of epochs gives at least: per task, and per class of a task.
ENOUGH_STEPS, ENOUGH_PER_CLASS = 50, 10


@dataclass(frozen=True)
class Training:
    """How every strategy of a comparison is trained: the same for all, so that they can be compared.

    :func:`perdure.compare` takes one as ``training``, or its fields as keywords of its own, or some of both.

    Parameters
    ----------
    epochs, batch_size:
        Passes over each task's data, and samples per step. Without ``epochs``, as many as give a task of
        typical size at least 50 steps, and 10 per class; one if the stream is online.
    optimizer, lr, weight_decay, schedule:
        ``sgd``, ``adam`` or ``adamw`` with parameters (``"sgd(momentum=0.9)"``); the schedule runs once over
        each phase.
    clip:
        Largest norm of a replica's gradient, over all weights that are trained: a longer one is shortened to
        it before the optimiser sees it, after strategies have changed it; ``None`` leaves all as they are.
    device:
        ``"auto"`` takes CUDA where there is one.
    dtype:
        ``"float32"`` or ``"float64"``.
    precision:
        ``"bfloat16"`` runs the model under autocast.

    Raises
    ------
    PerdureError
        On a value that does not fit.

    Examples
    --------
    >>> from perdure import Training, compare
    >>> training = Training(lr=0.05, optimizer="sgd(momentum=0.9)", clip=1.0)
    >>> results = compare("split-digits | take(2)", "naive", training=training, epochs=1, seeds=2)
    >>> results.config["lr"], results.config["clip"], results.config["epochs"]
    (0.05, 1.0, 1)
    """

    epochs: int | None = None
    batch_size: int = 32
    optimizer: str | Optimizer = "sgd"
    lr: float = 0.1
    weight_decay: float = 0.0
    schedule: str = "constant"
    clip: float | None = None
    device: str | torch.device = "auto"
    dtype: str = "float32"
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None:
            check_whole("epochs", self.epochs, most=MOST_EPOCHS)
        check_whole("batch_size", self.batch_size)
        check_number("lr", self.lr, ends="()")
        check_number("weight_decay", self.weight_decay)
        if self.clip is not None:
            check_number("clip", self.clip, ends="()")
        for read in ("rule", "factor", "place", "numbers", "autocast"):
            getattr(self, read)  # refuses what it cannot read

    def on(self, stream: Stream) -> Training:
        """Return the training with the number of epochs that a stream gets."""
        epochs = get_epochs(stream, self.batch_size) if self.epochs is None else self.epochs
        if stream.online and epochs != 1:
            raise PerdureError(f"epochs must be 1: {stream.name} is online (one pass); found {epochs}")
        return replace(self, epochs=epochs)

    @property
    def rule(self) -> Optimizer:
        """The optimiser."""
        return OPTIMIZERS.get(self.optimizer) if isinstance(self.optimizer, str) else self.optimizer

    @property
    def factor(self) -> Callable[[int, int], float]:
        """The learning-rate schedule: the factor at a step of so many."""
        return SCHEDULES.get(self.schedule)

    @property
    def place(self) -> torch.device:
        """The device that is meant here."""
        return get_device(str(self.device))

    @property
    def numbers(self) -> torch.dtype:
        """The type of all weights."""
        return _dtype("dtype", self.dtype, ("float32", "float64"))

    @property
    def autocast(self) -> torch.dtype | None:
        """The type that the model computes in, where it is another."""
        return None if self.precision is None else _dtype("precision", self.precision, ("bfloat16",))


checked(Training, "training")


@dataclass(frozen=True)
class Settings:
    """What a run is beside its stream and strategies; see :func:`perdure.compare` for what each means.

    ``grid`` holds the values of ``tune`` in all combinations; ``choosing`` says that scores on validation
    parts will decide between them.
    """

    model: Model = "mlp"
    seeds: tuple[int, ...] = tuple(range(10))
    training: Training = field(default_factory=Training)
    pretrained: bool = False
    eval_every: int | None = None
    grid: tuple[dict[str, float], ...] = ({},)
    tune_on: int | None = None
    choosing: bool = False

    def builder(self) -> nn.Module | Callable[..., nn.Module]:
        """Return what builds the model."""
        return get_model(self.model) if isinstance(self.model, str) else self.model

    @property
    def replicas(self) -> list[tuple[int, dict[str, float]]]:
        """Seed and grid point of every replica, grid points outermost."""
        return [(seed, point) for point in self.grid for seed in self.seeds]


def names() -> tuple[str, ...]:
    """Name the settings of a training, in their order."""
    return tuple(one.name for one in fields(Training))


def takes_training(function: Made) -> Made:
    """Show the settings of a training among a function's keywords, in place of the ``**`` that takes them."""
    signature = inspect.signature(function)
    plain = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    of = inspect.signature(Training).parameters
    more = [p.replace(kind=p.KEYWORD_ONLY) for p in of.values() if p.name not in signature.parameters]
    function.__signature__ = signature.replace(parameters=[*plain, *more])  # type: ignore[attr-defined]
    return function


@checked
def read_stream(stream: Stream | str) -> Stream:
    """Return the stream that is given, or named."""
    return get_stream(stream) if isinstance(stream, str) else stream


@checked
def read_strategies(strategies: Strategies) -> dict[str, Strategy]:
    """Return the strategies that are given, or named, under the names that results have for them."""
    return name_strategies(strategies)


def read_training(stream: Stream, training: Training | None, keywords: Mapping[str, Any]) -> Training:
    """Return a training with further settings by keyword; one that is given twice is refused."""
    for key in keywords:
        if key not in names():
            raise unknown("setting", key, names())
        if training is not None and getattr(training, key) != getattr(Training, key):
            raise PerdureError(f"expected {key} in training or as a keyword; found both")
    own = {key: value for key, value in stream.defaults.items() if key in names()}
    return Training(**{**own, **keywords}) if training is None else replace(training, **keywords)


@takes_training
@checked
def make_settings(
    stream: Stream,
    *,
    model: Model | None = None,
    seeds: int | Sequence[int] = 10,
    training: Training | None = None,
    pretrained: bool = False,
    eval_every: int | None = None,
    tune: Tune | None = None,
    tune_on: int | None = None,
    **keywords: Any,
) -> Settings:
    """Check every setting; the first bad one raises, before any work. ``keywords``: fields of Training."""
    model = stream.defaults.get("model", Settings.model) if model is None else model
    if isinstance(model, str):
        get_model(model)
        if pretrained:
            raise PerdureError(
                "pretrained keeps the weights of a model that is a module; "
                f"found the name {shown(model)}, whose weights are drawn"
            )
    training = read_training(stream, training, keywords).on(stream)
    if eval_every is not None:
        check_whole("eval_every", eval_every)
    grid = get_grid(tune)
    # A single value to choose from is a value like any other.
    single: dict[str, Any] = {
        key: values[0] for key, values in (tune or {}).items() if len(values) == 1 and key in TUNABLE
    }
    if tune_on is not None:
        check_tune_on(tune_on, stream, grid)
    settings = Settings(
        model, get_seeds(seeds), replace(training, **single), pretrained, eval_every, grid, tune_on,
        choosing=len(grid) > 1,
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
    """Return the device that ``auto``, ``cpu``, ``cuda``, ``gpu`` (the same) or ``cuda:1`` means here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|(cuda|gpu)(:\d{1,4})?", name, re.ASCII):
        raise PerdureError(f"device must be auto, cpu, cuda (or gpu) or cuda:N; found {shown(name)}")
    device = torch.device(name.replace("gpu", "cuda"))
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


def check_tune_on(tasks: int, stream: Stream, grid: Sequence[Mapping[str, float]]) -> None:
    """Refuse to choose on tasks that are not there, or where there is nothing to choose."""
    if len(grid) == 1:
        raise PerdureError("tune_on needs something to choose from: tune with several values; found none")
    if not 1 <= tasks < len(stream):
        raise PerdureError(
            f"tune_on must be a number of tasks below {len(stream)}, those of {stream.name}; found {tasks}"
        )


@checked
def get_grid(tune: Tune | None) -> tuple[dict[str, float], ...]:
    """Return every combination of the values to choose from; a single rate is no choice.

    Single values of strategies' numbers stay: each strategy takes those that are its own.
    """
    tune = tune or {}
    for key, values in tune.items():
        if key not in TUNABLE and not re.fullmatch(r"[^.]+\.\w+", key):
            raise PerdureError(
                f"tune can choose {', '.join(TUNABLE)} or a number of a strategy, such as ewc.strength; "
                f"found {shown(key)}"
            )
        if not values:
            raise PerdureError(f"tune must give values for {key!r}; found none")
        for value in values if key in TUNABLE else ():
            check_number(f"tune's {key}", value, ends="()" if key == "lr" else "[)")
        if len(set(values)) < len(values):
            raise PerdureError(f"tune must give different values for {key!r}; found {list(values)}")
    some = {key: values for key, values in tune.items() if len(values) > 1 or key not in TUNABLE}
    check_whole("the number of tune's values", math.prod(map(len, some.values())), most=MOST_REPLICAS)
    return tuple(dict(zip(some, point, strict=True)) for point in itertools.product(*some.values()))


def _dtype(name: str, value: str, allowed: tuple[str, ...]) -> torch.dtype:
    if value not in allowed:
        raise PerdureError(f"{name} must be {' or '.join(allowed)}; found {shown(value)}")
    dtype: torch.dtype = getattr(torch, value)
    return dtype
