import numpy as np
import pytest

from perdure.core.checks import fits
from perdure.scenarios import SOURCES, STREAMS, Source, Stream, check_stream, get, names, split
from perdure.scenarios.generators.divided import WAYS
from perdure.scenarios.operators import OPERATORS
from perdure.scenarios.registry import GENERATORS, MADE, WITHOUT_IMAGES, _parameters

BUILT_IN = ["split", "permuted", "rotated", "split-digits", "permuted-digits", "rotated-digits"]
NEED_FILES = {
    "adult": "test_tables.py", "table": "test_tables.py",
    "images": "test_images.py", "omniglot": "test_images.py",
    "clinc150": "test_clinc.py",
    "mnist": "test_pixels.py", "mnist-5k": "test_pixels.py", "fashion-mnist": "test_pixels.py",
    "cifar10": "test_pixels.py", "cifar100": "test_pixels.py",
}  # fmt: skip


@pytest.mark.parametrize("setting", ["class", "task", "domain", "joint"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_contract(name, setting):
    stream = get(f"{name}(setting={setting!r}, tasks=3)")
    assert stream.setting == setting
    assert len(stream) == 3
    check_stream(stream)


@pytest.mark.parametrize("operator", ["blur", "repeat", "imbalance", "noise_labels", "take(2)", "limit(30)"])
@pytest.mark.parametrize("name", ["split-digits", "permuted-digits(setting='class')"])
def test_contract_after_operators(name, operator):
    check_stream(get(f"{name} | {operator}"))


def test_every_source_is_tested():
    assert sorted(SOURCES) == sorted({"digits", *NEED_FILES})


def test_names_are_generators_with_sources():
    expected = {f"{g}-{s}" for g in GENERATORS for s in SOURCES} - {f"rotated-{s}" for s in WITHOUT_IMAGES}
    assert set(names()) == expected | set(GENERATORS) | set(MADE)
    assert names() == sorted(names())
    assert all(name in STREAMS for name in names())


def test_sources_and_generators_take_different_parameters():
    # Otherwise a spec could not tell which of the two a parameter is for.
    for source in SOURCES:
        for generator in GENERATORS.values():
            both = set(_parameters(SOURCES.maker(source))) & set(_parameters(generator))
    # Both take `by`, but no value that fits a table is one of the ways to divide.
    assert both <= {"by"}
    assert not both or not any(fits(SOURCES.maker(source), "by", way) for way in WAYS)


def test_parameters_reach_their_functions():
    stream = get("split-digits(classes_per_task=5, setting='task', seed=3)")
    assert stream.fingerprint() == split("digits", 5, "task", seed=3).fingerprint()
    assert get("split(source='digits', tasks=2)").names == ["0/1", "2/3"]


def test_operators_by_name():
    stream = get(
        "split-digits(setting='domain') | blur(width=0.3) | take(3)"
        " | concat('split-digits(setting=\"domain\")')"
    )
    assert len(stream) == 8
    assert stream[0].train.task is not None
    assert sorted(OPERATORS) == ["blur", "concat", "imbalance", "limit", "noise_labels", "repeat", "take"]


def test_a_bar_inside_quotes_does_not_cut(tmp_path):
    path = tmp_path / "a|b.csv"
    path.write_text("a;y\n" + "".join(f"{i};{i % 2}\n" for i in range(40)))
    assert len(get(f"split-table(path={str(path)!r}, separator=';') | limit(10)")[0].train) == 10


def test_users_register_their_own():
    @SOURCES.register("mine")
    def mine(shift: float = 0.0) -> Source:
        return Source.build("mine", np.eye(40) + shift, np.arange(40) % 4)

    @STREAMS.register("my-stream")
    def my_stream() -> Stream:
        return split(mine())

    try:
        assert float(get("split-mine(shift=2.0, tasks=1)")[0].train.x.min()) == 2.0
        assert get("split('mine')").names == ["0/1", "2/3"]
        assert get("split('mine(shift=1.0)')")[0].train.x.min() == 1.0
        check_stream(get("my-stream"))
        assert {"my-stream", "split-mine", "permuted-mine"} <= set(names())
    finally:
        del SOURCES._makers["mine"], STREAMS._makers["my-stream"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("splt-digits", ["unknown stream 'splt-digits'", "split-digits"]),
        ("split-digts", ["unknown stream", "split-digits"]),
        ("digits", ["unknown stream 'digits'"]),
        ("", ["unknown stream"]),
        ("split-digits(foo=1)", ["foo", "it takes", "classes_per_task", "setting"]),
        ("split-mnist-5k(path='x')", ["path", "it takes"]),
        ("split-digits(3)", ["it takes"]),
        ("split-digits(", ["name(value, key=value)"]),
        ("split-digits(seed=1+1)", ["plain numbers"]),
        ("split-digits | blurr", ["unknown operator 'blurr'", "blur"]),
        ("split-digits | blur(wide=1)", ["wide", "it takes", "width"]),
        ("split-digits |", ["unknown operator"]),
        ("split-digits | take", ["tasks"]),
        ("split-digits | concat('nope')", ["unknown stream 'nope'"]),
        ("split-table", ["path"]),
        ("split-table(path='/nowhere.csv')", ["no table at /nowhere.csv"]),
        (None, ["NoneType"]),
    ],
)
def test_bad_specs(spec, words, refuses):
    with refuses(*words):
        get(spec)
