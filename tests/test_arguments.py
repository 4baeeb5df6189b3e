"""What is given is held against annotations and ranges, whoever calls."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import torch

from perdure import PerdureError, compare
from perdure.core.checks import check_number, check_whole, checked, unchecked
from perdure.core.hints import Extended
from perdure.models import MODELS
from perdure.optim.optimizer import OPTIMIZERS
from perdure.optim.schedules import SCHEDULES
from perdure.scenarios import blur, from_arrays, permuted, rotated, split
from perdure.strategies import EWC, IBCL, STRATEGIES, Replay, get

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


@checked
def maker(
    flag: bool = False,
    whole: int = 1,
    real: float = 1.0,
    far: Extended = 1.0,
    word: Literal["a", "b"] = "a",
    some: Sequence[int] | None = None,
    pairs: Sequence[tuple[int, float]] = (),
    table: Mapping[str, float] | None = None,
    call: Callable[[], int] | None = None,
    stranger: Unknown = None,
) -> dict[str, object]:
    return dict(locals())


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("flag", True, True),
        ("whole", np.int64(3), 3),
        ("whole", torch.tensor(3), 3),
        ("real", 2, 2),
        ("real", np.float32(0.5), 0.5),
        ("far", math.inf, math.inf),
        ("some", np.arange(2), [0, 1]),
        ("some", range(2), [0, 1]),
        ("some", (np.int8(1),), (1,)),
        ("pairs", [[1, 2.0]], [(1, 2.0)]),
        ("table", {"a": np.float64(1)}, {"a": 1.0}),
        ("call", int, int),
        ("stranger", "anything", "anything"),
    ],
)
def test_values_that_fit_become_plain_ones(key, value, kept):
    found = maker(**{key: value})[key]
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("flag", "no", "True or False; found 'no'"),
        ("flag", 1, "True or False"),
        ("whole", True, "a whole number; found True"),
        ("whole", 1.0, "a whole number"),
        ("whole", 2**63, "a whole number"),
        ("real", "x", "must be a number; found 'x'"),
        ("real", False, "a number"),
        ("real", math.inf, "a finite number; found inf"),
        ("real", math.nan, "a finite number; found nan"),
        ("real", 10**400, "a number"),
        ("far", math.nan, "number; found nan"),
        ("word", "c", "'a' or 'b'; found 'c'"),
        ("some", "12", "a list of whole numbers or None; found '12'"),
        ("some", [1, True], "a list of whole numbers"),
        ("pairs", [(1, 2, 3)], "a list of tuples (a whole number, a number)"),
        ("table", {1: 1.0}, "a table from strings to numbers or None"),
        ("call", 3, "a function or None; found 3"),
        ("whole", np.zeros(3), "a whole number"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_one_line(key, value, words):
    with pytest.raises(PerdureError) as caught:
        maker(**{key: value})
    line = str(caught.value)
    assert line.startswith(f"maker: {key} must be ")
    assert words in line
    assert "\n" not in line


def test_numbers_of_more_digits_than_python_writes_are_refused():
    with pytest.raises(PerdureError, match="a whole number; found something of the type int"):
        maker(whole=10**5000)


def test_what_passes_unchecked_can_be_asked_for():
    assert unchecked(maker) == ["stranger"]


def test_signatures_and_classes_stay_what_they_are():
    assert list(inspect.signature(EWC).parameters) == ["strength", "fisher", "samples"]
    assert STRATEGIES.maker("ewc") is EWC
    assert checked(maker) is maker


@pytest.mark.parametrize(
    "call",
    [
        lambda: EWC("x"),
        lambda: EWC(strength=math.inf),
        lambda: EWC(samples=True),
        lambda: Replay(capacity=1.5),
        lambda: split("digits", shuffle_classes="no"),
        lambda: split("digits", shuffle_classes=[0, 1]),
        lambda: split("digits", online="no"),
        lambda: permuted("digits", online=2.5),
        lambda: rotated("digits", angles="90"),
        lambda: from_arrays([(np.eye(20), np.arange(20) % 2)], online="no"),
        lambda: blur(split("digits"), seed=1.0),
        lambda: blur("split-digits"),
        lambda: get("derpp(shared=no)"),
        lambda: get("lora(warm=1)"),
        lambda: get("sd-lora(falls=[3])"),
        lambda: get("weighted(preference='ab')"),
    ],
)
def test_every_way_in_is_checked(call):
    with pytest.raises(PerdureError, match="must be"):
        call()


def test_a_parameter_may_say_that_it_takes_infinity():
    assert IBCL(distance=math.inf).distance is None


@pytest.mark.parametrize(
    "spec",
    ["sgd(momentum=-1)", "sgd(momentum=1)", "sgd(nesterov=True)", "sgd(momentum='x')", "adam(beta1=1)",
     "adam(beta2=2)", "adam(eps=-1)", "adam(eps=0)", "adamw(beta1=-0.1)", "adamw(eps=inf)",
     "scaled(5, {head: 1})", "scaled(sgd, {})", "scaled(sgd, {head: -1})", "scaled(sgd, {head: nan})",
     "scaled(sgd, [1])"],
)  # fmt: skip
def test_optimizers_have_ranges(spec):
    with pytest.raises(PerdureError):
        OPTIMIZERS.get(spec)


@pytest.mark.parametrize(
    "spec",
    ["cosine(floor=-1)", "cosine(floor=2)", "cosine(floor=x)", "linear(warmup=-0.1)", "linear(warmup=1.5)",
     "steps(every=0)", "steps(every=2)", "steps(factor=0)", "steps(factor=-1)", "steps(factor=nan)"],
)  # fmt: skip
def test_schedules_have_ranges(spec):
    with pytest.raises(PerdureError):
        SCHEDULES.get(spec)


@pytest.mark.parametrize("warmup", [0.01, 0.25, 0.33, 5e-324, 1.0])
def test_a_rise_never_goes_beyond_the_rate(warmup):
    rates = [SCHEDULES.make("linear", warmup)(step, 10) for step in range(10)]
    assert max(rates) <= 1
    assert min(rates) >= 0


def test_a_schedule_of_tiny_shares_does_not_overflow():
    assert SCHEDULES.get("steps(every=5e-324)")(5, 10) == 0.0


@pytest.mark.parametrize(
    "spec",
    ["mlp(hidden=0)", "mlp(hidden=2.5)", "mlp(hidden=[0])", "mlp(hidden=[1.5])", "mlp(hidden=[True])",
     "mlp(dropout=1)", "mlp(dropout=-1)", "cnn(hidden=0)", "cnn(channels=0)", "cnn(channels=[0])",
     "cnn(channels=x)", "resnet(width=0)", "resnet(blocks=-1)", "resnet(blocks=1000000000)",
     "encoder(source=5)", "encoder(weights=1)", "encoder(frozen=[1])"],
)  # fmt: skip
def test_models_have_ranges(spec):
    with pytest.raises(PerdureError):
        MODELS.get(spec)


@pytest.mark.parametrize(
    ("short", "long"), [("mlp(hidden=6)", "mlp(hidden=[6])"), ("cnn(channels=6)", "cnn(channels=[6])")]
)
def test_one_width_is_one_layer(short, long):
    shapes = [[p.shape for p in MODELS.get(spec)((1, 4, 4), 2).parameters()] for spec in (short, long)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("strategy", "model"),
    [
        ("naive", "mlp(hidden=[1000000000])"),
        ("naive", "mlp(hidden=[1000000000000, 1000000000000])"),
        ("naive", "resnet(width=100000000)"),
        ("naive", "cnn(hidden=100000000000000)"),
        ("replay(1000000000000)", "mlp"),
        ("gem(1000000000)", "mlp"),
        ("der(9223372036854775807)", "mlp"),
        ("fpf(10000000000000)", "mlp"),
    ],
)
def test_what_can_never_be_allocated_is_refused_before_any_work(strategy, model, tmp_path):
    with pytest.raises(PerdureError, match=r"must fit in memory|can be counted"):
        compare("split-digits | take(2)", strategy, model=model, seeds=1, quiet=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "spec", ["replay(batch_size=1000000000)", "agem(sample=1000000000)", "kfpf(k=1000000000)"]
)
def test_what_would_never_end_is_refused(spec):
    with pytest.raises(PerdureError, match="at most"):
        get(spec)


def test_ranges_say_what_was_expected():
    assert check_whole("n", np.int64(3)) == 3
    assert check_number("x", 1, high=1, ends="[]") == 1
    with pytest.raises(PerdureError, match="n must be a whole number of at least 1; found 0"):
        check_whole("n", 0)
    with pytest.raises(PerdureError, match=r"x must lie in \(0, 1\]; found 0"):
        check_number("x", 0, high=1, ends="(]")
