"""Every name that a user can ask for, TOML and settings, with generated values: a result, or one line.

``PERDURE_EXAMPLES`` says how many examples each test tries; with it, ``--hypothesis-seed`` says which.
"""

import collections.abc
import inspect
import math
import os
import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure import PerdureError
from perdure.cli.reading import read_file, read_seeds, read_tune
from perdure.core.checks import _hints, unchecked
from perdure.core.hints import INFINITE
from perdure.core.random import Rng
from perdure.core.registry import Registry
from perdure.core.specs import parse, write
from perdure.experiment import compare
from perdure.models import MODELS
from perdure.optim.optimizer import OPTIMIZERS, Optimizer
from perdure.optim.schedules import SCHEDULES
from perdure.scenarios import SOURCES, STREAMS, Stream, split
from perdure.scenarios import get as get_stream
from perdure.scenarios.contract.scores import SCORES
from perdure.scenarios.objectives import OBJECTIVES
from perdure.scenarios.operators import OPERATORS
from perdure.scenarios.registry import MADE
from perdure.strategies import STRATEGIES
from perdure.strategies import get as get_strategy
from perdure.strategies.merging.rule import MERGING
from perdure.strategies.parts.balancing import BALANCING
from perdure.training import Training, make_settings
from perdure.training import names as names_of_settings

EXAMPLES = int(os.environ.get("PERDURE_EXAMPLES", "30"))
REGISTRIES: dict[str, Registry[Any]] = {
    "strategy": STRATEGIES, "model": MODELS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES,
    "operator": OPERATORS, "stream": STREAMS, "source": SOURCES, "merging": MERGING, "balancing": BALANCING,
    "score": SCORES, "objective": OBJECTIVES,
}  # fmt: skip
# Whatever files say is tried in tests of their own; Avalanche takes seconds to import.
ELSEWHERE = {"avalanche", "table", "images", "omniglot", "adult", "clinc150", "mnist", "mnist-5k",
             "fashion-mnist", "cifar10", "cifar100", "table-targets", "adult-two-targets"}  # fmt: skip
NAMES = [
    (kind, name) for kind, table in REGISTRIES.items() for name in table
    if name not in ELSEWHERE and name.partition("-")[2] not in ELSEWHERE
]  # fmt: skip
# A `transformers` configuration is of no class that can be named without importing that library.
PASS_UNCHECKED = {("model", "encoder"): ["source"]}
SETTINGS = {
    **{name: getattr(Training, name) for name in names_of_settings()}, "epochs": 1, "device": "cpu",
    "model": "mlp", "seeds": 2, "pretrained": False, "eval_every": None, "tune": None, "tune_on": None,
}  # fmt: skip
STREAM = split("digits", tasks=2)

generated = settings(
    max_examples=EXAMPLES, deadline=None, derandomize="PERDURE_EXAMPLES" not in os.environ, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

# ---- values -------------------------------------------------------------------------------------------

huge = st.sampled_from([10**9, 10**12, 2**63 - 1, 2**63, 10**400, 10**4000, -(10**12)])
whole = st.integers(-3, 40) | huge | st.sampled_from([np.int64(3), np.uint8(7)])
number = (
    whole
    | st.floats()
    | st.floats(0, 1)
    | st.sampled_from([np.float32(0.25), np.float64("nan"), 1e308, 5e-324])
)
text = st.text(max_size=8) | st.sampled_from(
    [
        "",
        "task",
        "head",
        "no",
        "False",
        "(",
        "[",
        "\\",
        "a|b",
        "a+b",
        "\0",
        "\n",
        "'",
        "none",
        "1.0",
        "x" * 999,
    ]
)
flag = st.booleans()
plain = st.none() | flag | number | text
objects = st.sampled_from(
    [object(), int, torch.optim.Adam, np.zeros(3), torch.zeros(2, 2), b"x", 1j, {1, 2}, range(3), len, math,
     np.array(1.5), torch.tensor(2), np.True_, NotImplemented, ...]
)  # fmt: skip
anything = st.recursive(
    plain | objects,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(text | whole, inner, max_size=2)
    ),
    max_leaves=6,
)


def of(hint):
    """Values that an annotation asks for."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return number
    if origin in (Union, types.UnionType):
        return st.one_of([of(part) for part in inner])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple and ... not in inner:
        return st.tuples(*map(of, inner))
    if origin in (collections.abc.Sequence, list, tuple):
        return st.lists(of(inner[0]), max_size=4)
    if origin in (collections.abc.Mapping, dict):
        return st.dictionaries(of(inner[0]), of(inner[1]), max_size=3)
    known = {bool: flag, int: whole, float: number, str: text, type(None): st.none(), Stream: st.just(STREAM)}
    return known.get(hint, plain)


def satisfies(value, hint):
    """Tell whether a value is what an annotation says: written apart from the code that is tested."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return INFINITE in inner and type(value) in (int, float) and not math.isnan(value)
    if origin in (Union, types.UnionType):
        return any(satisfies(value, part) for part in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin is tuple and ... not in inner:
        return type(value) is tuple and len(value) == len(inner) and all(map(satisfies, value, inner))
    if origin in (collections.abc.Sequence, list, tuple):
        return isinstance(value, list | tuple) and all(satisfies(item, inner[0]) for item in value)
    if origin in (collections.abc.Mapping, dict):
        return isinstance(value, dict) and all(
            satisfies(k, inner[0]) and satisfies(v, inner[1]) for k, v in value.items()
        )
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint in (bool, int, str, type(None)):
        return type(value) is hint
    return hint is Any or isinstance(value, origin or hint)


def outcome(call, *args, **kwargs):
    """Return what a call returns, or ``None`` after an error of one line; other errors pass through."""
    try:
        return call(*args, **kwargs)
    except PerdureError as error:
        line = str(error)
        assert line
        assert len(line.splitlines()) == 1
        assert len(line) < 2500
        return None


# ---- registered names ---------------------------------------------------------------------------------


def hints_of(kind, name):
    """Resolved annotations of a name's parameters; a stream's are those of its generator and its source."""
    halves = name.split("-", 1) if kind == "stream" and name not in MADE else [name]
    makers = (
        [STREAMS.maker(halves[0]), SOURCES.maker(halves[1])]
        if len(halves) > 1
        else [REGISTRIES[kind].maker(name)]
    )
    hints = {key: hint for maker in makers for key, hint in _hints(maker, inspect.signature(maker)).items()}
    return {
        key: hints[key] for key in inspect.signature(REGISTRIES[kind].maker(name)).parameters if key in hints
    }


REGISTERED = [(kind, name) for kind, table in REGISTRIES.items() for name in table if name in table._makers]


@pytest.mark.parametrize(("kind", "name"), REGISTERED)
def test_every_parameter_has_an_annotation_that_is_checked(kind, name):
    assert unchecked(REGISTRIES[kind].maker(name)) == PASS_UNCHECKED.get((kind, name), [])


@generated
@given(st.data())
def test_every_name_with_generated_arguments(data):
    kind, name = data.draw(st.sampled_from(NAMES))
    maker = REGISTRIES[kind].maker(name)
    hints = hints_of(kind, name)
    given_ = {}
    for key, hint in hints.items():
        optional = inspect.signature(maker).parameters[key].default is not inspect.Parameter.empty
        if key == "stream":
            given_[key] = STREAM
        elif not optional or data.draw(st.booleans()):
            given_[key] = data.draw(st.one_of(of(hint), anything) if data.draw(flag) else of(hint) | anything)
    positional = [given_.pop("stream")] if "stream" in given_ else []
    made = outcome(REGISTRIES[kind].make, name, *positional, **given_)
    if made is None:
        return
    for key, value in given_.items():
        assert satisfies(plain_value(value), hints[key]), f"{name} took {key}={value!r}"
    use(kind, name, made)


def plain_value(value):
    """Return what numbers of NumPy and arrays stand for."""
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        return value.tolist()
    if isinstance(value, list | tuple | range):
        return (tuple if isinstance(value, tuple) else list)(plain_value(item) for item in value)
    return {k: plain_value(v) for k, v in value.items()} if isinstance(value, dict) else value


def use(kind, name, made):
    """Do with what was made what a run begins with."""
    if kind == "strategy":
        assert get_strategy(str(made)) == made
        hash(str(made))
    elif kind == "model" and name != "encoder":  # loads a transformer
        for shape in ((1, 8, 8), (5,)):
            with torch.device("meta"):
                outcome(made, shape, 3)
    elif kind == "optimizer":
        params = {"head.weight": torch.ones(2)}
        state = outcome(made.init, params)
        if state is not None:
            moved, _ = made.update(params, params, state, torch.tensor(0.1), torch.tensor(0.01))
            assert all(v.isfinite().all() for v in moved.values()) or isinstance(made, Optimizer)
    elif kind == "schedule":
        assert all(0 <= made(step, 10) <= 1 for step in range(10))
        made(0, 1)
    elif isinstance(made, Stream):
        assert len(made) >= 1
    elif kind in ("merging", "balancing"):
        assert REGISTRIES[kind].get(str(made)) == made
        holder = outcome(STRATEGIES.make, "merge" if kind == "merging" else "balance", rule=made)
        assert holder is None or get_strategy(str(holder)) == holder
    if kind == "balancing":
        check_weights(made)


def check_weights(rule):
    """The weights of three tasks and the state after them are numbers, whatever the rule's parameters are."""
    losses, rng = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), Rng(torch.tensor(1), torch.tensor(2))
    gram = torch.eye(3, dtype=torch.float64) + 0.5
    state = outcome(rule.init, 3, losses)
    if state is not None:
        weights = outcome(rule.weights, gram, losses, state, rng)
        assert weights is None or (weights.shape == (3,) and not weights.isnan().any())


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "avalanche"])
def test_a_strategys_name_builds_it_again(name):
    assert get_strategy(str(STRATEGIES.make(name))) == STRATEGIES.make(name)


# ---- specs --------------------------------------------------------------------------------------------

valid = st.sampled_from([
    "naive", "ewc(strength=20)", "replay(200) + ewc", "scaled(adamw, {head: 100})", "sgd(momentum=0.9)",
    "split-digits(setting=task)", "split-digits | take(2) | blur(width=0.1)", "mlp(hidden=[8, 8])",
    "scaled(sgd(momentum=0.9), {'head': 1e1})", "ibcl(priors=(0.1, .2), distance=inf)", "lora(alpha=None)",
    "split-digits | concat(split-digits(setting=class) | take(1))", "sd-lora(falls=[(1, 2)])",
    "weighted(preference=[0.5, 0.5])", "steps(every=0.5)", "cnn", "avalanche(name=Naive)",
])  # fmt: skip
pieces = st.sampled_from(
    [*"()[]{}=,:+|'\"-.*; \n\0#\\", "**", "::", "1", "e9", "inf", "nan", "None", "x", "“"]
)


@st.composite
def mutated(draw):
    """A valid spec with pieces put in, left out and doubled."""
    spec = draw(valid)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(spec)))
        end = min(len(spec), at + draw(st.integers(0, 3)))
        spec = spec[:at] + draw(pieces | st.just(spec[at:end] * 2)) + spec[end:]
    return spec


hostile = st.sampled_from(
    [
        *("ewc(" + "[" * 100_000, "(" * 5000, "ewc(" + "-" * 5000 + "1)", "ewc(" + "9" * 5000 + ")"),
        *("ewc(1)(2)", "ewc(1).f(3)", "ewc(strength=1, strength=2)", "ewc(**{'strength': 5})", "x[::-1]"),
        *("ewc(lambda: 1)", "ewc(__import__('os'))", "ewc('\0')", "ewc(" + "a(" * 500 + ")" * 501, "+" * 500),
        *(
            "ewc(1 if 1 else 2)",
            "ewc(f'{1}')",
            "ewc(b'1')",
            "ewc(1j)",
            "ewc({1, 2})",
            "ewc(...)",
            "ewc(*[1])",
        ),
        *("mlp(hidden=[" + "1," * 5000 + "])", "ewc('" + "a" * 100_000 + "')", "ewc" * 10_000),
        *(
            "naive + " * 100 + "naive",
            "split-digits | repeat(1000000000)",
            "permuted-digits(tasks=1000000000)",
        ),
        *("split-digits | concat(" * 30 + "split-digits" + ")" * 30, "ewc('\\ud800')", "ewc(\ud800)"),
        *("ewc(0x" + "f" * 500 + ")", "ewc(1_000__0)", "ewc(strength:=1)", "ewc(x.__class__)"),
    ]
)


@generated
@given(mutated() | hostile | st.text(max_size=30))
def test_specs(spec):
    for read in (parse, get_strategy, OPTIMIZERS.get, SCHEDULES.get, MODELS.get, get_stream):
        outcome(read, spec)


@generated
@given(
    st.sampled_from(["ewc", "split-digits", "a"]),
    st.lists(st.recursive(
        st.none() | flag | st.integers(-10, 10**20) | st.floats(allow_nan=False) | text,
        lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(text, inner, max_size=2), max_leaves=5,
    ), max_size=3),
    st.dictionaries(st.sampled_from(["x", "key", "two_words"]), text | number.map(plain_value), max_size=2),
)  # fmt: skip
def test_what_is_written_is_read_again(name, args, kwargs):
    known = outcome(parse, write(name, args, kwargs)) if all(map(short, kwargs.values())) else None
    if known is not None and all(map(short, kwargs.values())) and not any("\0" in repr(v) for v in args):
        assert known == (name, args, kwargs)


def short(value):
    return value == value and (not isinstance(value, int) or abs(value) < 10**300)


# ---- settings, the command line, TOML -----------------------------------------------------------------


@generated
@given(
    st.dictionaries(
        st.sampled_from(sorted(SETTINGS)),
        anything | mutated() | st.just({"lr": [0.1, 1]}) | st.just({"ewc.strength": [0.1, 1]}),
        max_size=3,
    )
)
def test_settings(changes):
    made = outcome(make_settings, STREAM, **(SETTINGS | changes))
    if made is None:
        return
    hints = typing.get_type_hints(make_settings) | typing.get_type_hints(Training)
    for key, value in changes.items():
        assert satisfies(plain_value(value), hints[key]) or callable(value), f"took {key}={value!r}"
    assert all(type(seed) is int and 0 <= seed < 2**32 for seed in made.seeds)
    assert all(0 < point.get("lr", made.training.lr) < math.inf for _, point in made.replicas)


@generated
@given(st.sampled_from(["stream", "strategies", "out", "quiet", "resume", "keep"]), anything)
def test_other_arguments_of_compare(key, value):
    usual = {"stream": STREAM, "strategies": ["naive"]}
    wrong_lr = {"lr": -1.0}  # so that nothing is trained
    assert outcome(compare, **(usual | {key: value} | wrong_lr)) is None


toml_value = st.sampled_from(
    [
        *("1", "-1", "1.0", "true", '"10"', '"task"', "inf", "nan", "1979-05-27", "1979-05-27T07:32:00Z"),
        *("07:32:00", "[]", "[1, 2]", "[0.7, 1.2]", '[1, "a", true]', "[[1], [2]]", "{ lr = [0.1, 1] }"),
        *("{ a = 1 }", '["naive"]', '"naive"', '"split-digits"', "9" * 5000, "[" * 2000, "''", "=", "{}"),
        *('"ewc(1)(2)"', "0x10", "[{ a = 1 }]", '"mlp(hidden=[8])"', '"cpu:5"', '"cpu"', "[true]"),
        *("[1.0, 2.0]", '"\\u0000"', "{ lr = 0.5 }", "{ lr = [true] }", '"ewc"', '"adam(beta2=2)"'),
    ]
)
KEYS = sorted(set(inspect.signature(compare).parameters) - {"quiet", "resume"})


@generated
@given(st.dictionaries(st.sampled_from([*KEYS, "resume", "seed", "[table]", "a.b"]), toml_value, max_size=3))
def test_toml(tmp_path_factory, values):
    file = tmp_path_factory.mktemp("toml") / "run.toml"
    lines = {"stream": '"split-digits"', "strategies": '["naive"]'} | values
    file.write_text("\n".join(f"{key} = {value}" for key, value in lines.items()))
    arguments = outcome(read_file, file)
    if arguments is None:
        return
    stream = outcome(get_stream, arguments.pop("stream"))
    for key in ("strategies", "out", "keep"):
        value = arguments.pop(key, None)
        outcome(compare, STREAM, **({"strategies": ["naive"]} | {key: value}), lr=-1.0)
    if stream is not None:
        made = outcome(make_settings, stream, **(SETTINGS | arguments))
        assert made is None or type(made.training.epochs) is int


@generated
@given(
    st.text(max_size=12) | st.text("0123456789,[] -", max_size=8),
    st.lists(st.text("lr=0.1,we_dcaynif ", max_size=12) | st.just("ewc.strength=1,10")),
)
def test_the_command_lines_own_words(seeds, tune):
    read = outcome(read_seeds, seeds)
    assert read is None or isinstance(read, int | list)
    outcome(read_tune, tune)
