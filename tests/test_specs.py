"""The language of specs."""

import math

import pytest

from perdure import PerdureError
from perdure.cli.catalogue import everything
from perdure.core.registry import Registry
from perdure.core.specs import parse, repair, split_outside, write
from perdure.models import MODELS
from perdure.optim.optimizer import OPTIMIZERS
from perdure.optim.scaled import Scaled
from perdure.optim.schedules import SCHEDULES
from perdure.scenarios import get as get_stream
from perdure.strategies import STRATEGIES, External, get


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("task", "task"), ("'task'", "task"), ("o-lora", "o-lora"), ("data/x.csv", "data/x.csv"),
        ("../x.csv", "../x.csv"), ("/tmp/x", "/tmp/x"), ("true", True), ("False", False), ("TRUE", True),
        ("none", None), ("None", None), ("inf", math.inf), ("-inf", -math.inf), ("-Infinity", -math.inf),
        ("-3", -3), ("+3", 3), ("1e-3", 0.001), (".5", 0.5), ("-.5e+2", -50.0), ("1_000", 1000),
        ("0x10", 16), ("()", ()), ("(1)", 1), ("(1,)", (1,)), ("(1, 2)", (1, 2)), ("[a, none]", ["a", None]),
        ("[1, [2, (3,)]]", [1, [2, (3,)]]), ("{head: 100, 'b': x}", {"head": 100, "b": "x"}),
        ("sgd(momentum=0.9)", "sgd(momentum=0.9)"), ("replay(2) + ewc", "replay(2) + ewc"),
        (r"'\d+'", "\\d+"), ("'a\\'b'", "a'b"), ("trueish", "trueish"),
    ],
)  # fmt: skip
def test_values(text, value):
    for spec in (f"x({text})", f"x(key={text})", f" x ( key = {text} , ) "):
        name, args, kwargs = parse(spec)
        assert name == "x"
        found = [*args, *kwargs.values()]
        assert found == [value]
        assert type(found[0]) is type(value)


def test_bare_words_as_everybody_types_them():
    assert get_stream("split-digits(setting=task)").setting == "task"
    assert get("derpp(shared=true, policy=class)").shared is True
    assert get("ibcl(distance=inf)").distance is None
    assert get_stream("split-digits | concat(split-digits(setting=class) | take(1))").names[-1] == "0/1 (2)"


def test_a_spec_within_a_spec_reaches_a_maker_that_takes_names():
    rule = OPTIMIZERS.get("scaled(sgd(momentum=0.9), {head: 100})")
    assert rule == Scaled("sgd(momentum=0.9)", {"head": 100})


BAD = [
    "ewc(1)(2)",
    "ewc(1).f(3)",
    "ewc(strength=1, strength=2)",
    "ewc(**{'strength': 5})",
    "ewc(*[1])",
    "x[::-1]",
    "ewc(",
    "ewc)",
    "ewc(]",
    "ewc(1 2)",
    "ewc(1,,2)",
    "ewc(,)",
    "ewc(007)",
    "ewc(1+1)",
    "ewc(1j)",
    "ewc(b'x')",
    "ewc({1, 2})",
    "ewc({a: 1, a: 2})",
    "ewc({[1]: 2})",
    "ewc(strength=1, 5)",
    "ewc('a' 'b')",
    "ewc(\0)",
    "ewc('\0')",
    "ewc(" + "9" * 5000 + ")",
    "ewc(" + "[" * 100_000,
    "ewc(" + "a(" * 500 + ")" * 501,
    "ewc(" + "-" * 5000 + "1)",
    "ewc(...)",
    "ewc(x.y())(",
    "ewc(lambda: 1)",
    "",
    "+",
    "ewc + ",
    "'",
    "(",
]


@pytest.mark.parametrize("spec", BAD, ids=lambda spec: spec[:20])
def test_what_is_no_spec_is_one_line(spec):
    for read in (get, get_stream, OPTIMIZERS.get, SCHEDULES.get, MODELS.get):
        with pytest.raises(PerdureError) as caught:
            read(spec)
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("spec", [5, None, ["ewc"], b"ewc", object()])
def test_what_is_no_text_is_one_line(spec):
    for read in (get, get_stream, OPTIMIZERS.get, SCHEDULES.get, MODELS.get):
        with pytest.raises(PerdureError, match="expected the name of a"):
            read(spec)


@pytest.mark.parametrize(
    "spec",
    ["ewc(strength: 20)", "ewc(strength==20)", "ewc(strength:=20)", "ewc(strength=20", "ewc(strength=20))",
     "ewc[strength=20]", "ewc{strength=20}", "ewc strength=20", "ewc: strength=20", "ewc(strenght=20)",
     "EWC(strength=20)", "Ewc(strength=20)"],
)  # fmt: skip
def test_an_error_shows_the_corrected_line(spec):
    with pytest.raises(PerdureError, match=r"did you mean ewc\(strength=20\)\?"):
        get(spec)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ewc(lambda=20)", "it takes strength, fisher, samples"),
        ("ewc(class=1, strength=2)", "it takes strength, fisher, samples"),
        ("EWC(lambda=20)", "did you mean ewc(lambda=20)"),
        ("ONLINE_EWC", "did you mean online-ewc"),
        ("Replay", "did you mean replay"),
    ],
)
def test_what_is_unknown_names_what_there_is(spec, said):
    with pytest.raises(PerdureError) as caught:
        get(spec)
    assert said in str(caught.value)
    assert "expected name(" not in str(caught.value)


def test_other_guesses():
    assert repair("ewc(fisher=“batch”; strength=3)") == "ewc(fisher=batch, strength=3)"
    assert repair("ewc(fisher=batch strength=3)") == "ewc(fisher=batch, strength=3)"
    assert repair("ewc(1)(2)") is None
    with pytest.raises(PerdureError, match=r"did you mean split-digits\(setting=task\)\?"):
        get_stream("split-digits(settings=task)")
    with pytest.raises(PerdureError, match="did you mean online-ewc"):
        get("online_ewc")


def test_marks_inside_brackets_and_quotes_do_not_cut():
    assert split_outside("a(b + c) + d('+)') + e", "+") == ["a(b + c)", "d('+)')", "e"]


def test_what_is_written_is_read():
    spec = write("x", [1, "a b", None], {"k": [math.inf, "true", "word"]})
    assert parse(spec) == ("x", [1, "a b", None], {"k": [math.inf, "true", "word"]})


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_a_strategys_name_builds_it_again(name):
    made = STRATEGIES.make(name)
    assert get(str(made)) == made
    if not isinstance(made, External):
        assert get(str(made + get("naive"))) == made + get("naive")


def listed():
    return [
        pytest.param(kind, line, id=line[:40])
        for kind, rows in everything().items()
        for line, _ in rows
        if kind not in ("metrics", "environments")
    ]


@pytest.mark.parametrize(("kind", "line"), listed())
def test_every_line_of_the_listing_can_be_used(kind, line):
    # What has to be filled in says so: `take(tasks=...)`.
    filled = line.replace("path=...", "path=x").replace("=...", "=1")
    name, args, kwargs = parse(filled)
    assert not args
    if "=..." in line or kind in ("sources", "streams"):
        return
    if kind == "operators":
        assert len(get_stream(f"split-digits | take(2) | {line}")) >= 2
        return
    table = {"strategies": STRATEGIES, "models": MODELS, "optimizers": OPTIMIZERS, "schedules": SCHEDULES}[
        kind
    ]
    assert table.make(name, **kwargs) is not None or name


def test_avalanche_takes_the_name_as_it_is_listed():
    assert str(get("avalanche(strategy='Naive')")) == "avalanche"
    made = get("avalanche(strategy=Naive)")
    assert made == get("avalanche")


def test_a_parameter_may_be_called_name():
    table = Registry("thing")

    @table.register("x")
    def build(name: str = "y", kind: str = "z") -> str:
        return name + kind

    assert table.get("x(name=a, kind=b)") == "ab"
