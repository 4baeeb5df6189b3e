"""What `compare` takes beside the stream and the strategies."""

import datetime
import inspect

import numpy as np
import pytest
import torch

from perdure import PerdureError, Training, compare
from perdure.cli.reading import read_file, read_seeds, read_tune
from perdure.optim.sgd import SGD
from perdure.scenarios import get
from perdure.strategies import EWC, Naive
from perdure.training import get_device, get_seeds, make_settings, names, read_strategies

QUICK = {"seeds": 1, "epochs": 1, "quiet": True}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stream", 5),
        ("stream", ["split-digits"]),
        ("strategies", [3]),
        ("strategies", 3),
        ("strategies", []),
        ("strategies", ["naive", None]),
        ("strategies", [EWC]),
        ("strategies", EWC),
        ("model", 5),
        ("seeds", "10"),
        ("seeds", 1.0),
        ("seeds", True),
        ("seeds", [0.7, 1.2]),
        ("seeds", [True]),
        ("seeds", []),
        ("seeds", [1, 1]),
        ("seeds", [-1]),
        ("seeds", [2**32]),
        ("seeds", 0),
        ("seeds", 10**12),
        ("seeds", "ab"),
        ("epochs", 1.0),
        ("epochs", True),
        ("epochs", 0),
        ("batch_size", "32"),
        ("batch_size", 0),
        ("optimizer", torch.optim.Adam),
        ("optimizer", 3),
        ("optimizer", "sgd(momentum=-1)"),
        ("lr", "0.1"),
        ("lr", True),
        ("lr", 0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("weight_decay", -1),
        ("weight_decay", "0"),
        ("schedule", 3),
        ("schedule", "cosine(floor=2)"),
        ("device", 5),
        ("device", "cpu:5"),
        ("device", "mps"),
        ("device", "cuda:99"),
        ("device", None),
        ("dtype", torch.float32),
        ("dtype", "int8"),
        ("precision", "float16"),
        ("precision", 16),
        ("pretrained", "no"),
        ("pretrained", True),
        ("eval_every", 0),
        ("eval_every", 1.5),
        ("tune", ["lr"]),
        ("tune", {"lr": 0.1}),
        ("tune", {"lr": ["a"]}),
        ("tune", {"lr": []}),
        ("tune", {"lr": [True]}),
        ("tune", {"momentum": [1]}),
        ("tune", "lr=0.1"),
        ("tune", {"ewc.": [1]}),
        ("tune", {"ewc.strength": [True]}),
        ("tune_on", 1),
        ("tune_on", 1.5),
        ("clip", 0),
        ("clip", "1"),
        ("clip", float("nan")),
        ("training", {"lr": 0.1}),
        ("momentum", 0.9),
        ("quiet", "no"),
        ("resume", "no"),
        ("resume", True),
        ("keep", 1),
        ("out", 5),
        ("lr", datetime.date(2026, 1, 1)),
        ("lr", np.zeros(3)),
    ],
)
def test_a_bad_argument_is_refused_before_any_work(key, value, tmp_path):
    usual = {"stream": "split-digits", "strategies": ["naive"], **QUICK, "out": tmp_path / "run"}
    if key == "resume":
        del usual["out"]
    with pytest.raises(PerdureError) as caught:
        compare(**{**usual, key: value})
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_a_foreign_optimizer_is_told_its_name():
    with pytest.raises(PerdureError, match="found the class Adam: write 'adam'"):
        compare("split-digits", "naive", optimizer=torch.optim.Adam)


def test_a_single_strategy_is_a_list_of_one():
    assert read_strategies("naive") == read_strategies(Naive()) == {"naive": Naive()}
    assert [str(s) for s in read_strategies("replay + ewc").values()] == ["replay + ewc"]
    results = compare("split-digits | take(2)", "naive", **QUICK)
    assert results.strategies == ["naive"]


def test_a_training_and_keywords_are_the_same():
    training = Training(
        epochs=1, batch_size=64, optimizer="sgd(momentum=0.9)", lr=0.05, clip=0.5, device="cpu"
    )
    usual = {"seeds": 1, "quiet": True, "model": "mlp(hidden=[4])"}
    stream = "split-digits | take(2)"
    given = compare(stream, "naive", training=training, **usual)
    fields = {key: getattr(training, key) for key in names()}
    flat = compare(stream, "naive", **fields, **usual)
    mixed = compare(stream, "naive", training=Training(1, 64, lr=0.05, clip=0.5), device="cpu",
                    optimizer=SGD(momentum=0.9), **usual)  # fmt: skip
    for results in (flat, mixed):
        assert results.config == given.config
        assert np.array_equal(results.scores["naive"], given.scores["naive"])
    assert given.config["clip"] == 0.5


def test_what_is_given_twice_or_does_not_exist_is_refused():
    with pytest.raises(PerdureError, match="expected lr in training or as a keyword; found both"):
        compare("split-digits", "naive", training=Training(lr=0.05), lr=0.05)
    with pytest.raises(PerdureError, match="unknown setting 'learning_rate'"):
        compare("split-digits", "naive", learning_rate=0.1)
    with pytest.raises(PerdureError, match="unknown setting 'batchsize': did you mean batch_size"):
        compare("split-digits", "naive", batchsize=3)
    with pytest.raises(PerdureError, match="training: lr must be a number"):
        Training(lr="x")


def test_all_settings_are_seen_among_the_keywords():
    for function in (compare, make_settings):
        shown = inspect.signature(function).parameters
        assert {*names(), "training", "tune", "tune_on"} <= set(shown)
        assert shown["lr"].default == Training().lr


def test_a_training_finds_out_its_epochs_on_a_stream():
    assert (
        Training().on(get("split-digits")).epochs == make_settings(get("split-digits")).training.epochs == 7
    )
    assert Training(3).on(get("split-digits")) == Training(3)


def test_seeds_of_numpy_and_ranges():
    results = compare("split-digits | take(2)", "naive", **{**QUICK, "seeds": np.array([7, 3])})
    assert results.config["seeds"] == [7, 3]
    assert all(type(seed) is int for seed in results.config["seeds"])
    assert get_seeds(3) == (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("10", 10), ("0,3,7", [0, 3, 7]), ("7,", [7]), ("[7]", [7]), ("[1, 2]", [1, 2]), (" 4 ", 4)],
)
def test_one_particular_seed_on_the_command_line(text, seeds):
    assert read_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", ",", "7,,", "[]", "[7", "7]", "a", "1.5", "1;2"])
def test_what_are_no_seeds(text):
    with pytest.raises(PerdureError, match="seeds must be a count or a list"):
        read_seeds(text)


def test_numbers_of_strategies_on_the_command_line():
    read = read_tune(["lr=0.01, 0.1", "ewc.strength=1,10,1e2", "replay.capacity=50,200"])
    assert read == {"lr": [0.01, 0.1], "ewc.strength": [1, 10, 100.0], "replay.capacity": [50, 200]}
    assert [type(value) for value in read["replay.capacity"]] == [int, int]


@pytest.mark.parametrize("line", ["ewc.strength = [1, 10]", '"ewc.strength" = [1, 10]'])
def test_numbers_of_strategies_in_toml(line, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(f"stream = 'split-digits'\nstrategies = ['ewc']\nclip = 1.0\n[tune]\nlr = [0.1]\n{line}")
    read = read_file(file)
    assert (read["tune"], read["clip"]) == ({"lr": [0.1], "ewc.strength": [1, 10]}, 1.0)


@pytest.mark.parametrize("name", ["cpu:5", "cpu:0", "cuda:-1", "gpu", "", "meta", "cuda:", "cpu\n"])
def test_devices_that_are_none(name):
    with pytest.raises(PerdureError, match="device"):
        get_device(name)


@pytest.mark.parametrize(
    "line",
    ['seeds = "10"', "lr = true", "epochs = 1.0", "lr = 1979-05-27", "lr = 07:32:00", "seeds = [1, 'a']",
     "seeds = [0.7]", "model = { name = 'mlp' }", "tune = { lr = 0.1 }", "tune = [0.1]", "batch_size = [32]",
     "pretrained = 'no'", "[optimizer]\nname = 'adam'", "device = 'cpu:5'", "keep = 'yes'", "out = 5",
     "strategies = 3", "strategies = [['naive']]", "stream = 1.5", "lr = nan", "lr = inf", "resume = true",
     "seeds = " + "9" * 5000, "seeds = " + "[" * 3000],
)  # fmt: skip
def test_a_bad_value_in_toml_is_refused(line, tmp_path):
    file = tmp_path / "run.toml"
    rest = {"stream": "'split-digits'", "strategies": "['naive']"}
    usual = [f"{key} = {value}" for key, value in rest.items() if not line.startswith(key)]
    file.write_text("\n".join([*usual, line]))
    with pytest.raises(PerdureError) as caught:
        compare(**read_file(file), quiet=True)
    assert len(str(caught.value).splitlines()) == 1
