"""`compare`: names, configuration, determinism, bad input."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import perdure
from perdure import PerdureError, compare
from perdure.scenarios import from_arrays, get, split
from perdure.strategies import EWC, Naive, Strategy
from perdure.training import read_strategies

pytestmark = pytest.mark.usefixtures("without_report")

QUICK = {"seeds": 2, "epochs": 1, "quiet": True}
SMALL = {**QUICK, "model": "mlp(hidden=[4])"}
TWO = "split-digits | take(2)"


def test_scores_are_float_arrays_of_replica_stage_task():
    results = compare("split-digits", [Naive(), EWC(20.0), "joint"], **QUICK)
    assert results.scores["naive"].shape == (2, 5, 5)
    assert results.scores["ewc"].shape == (2, 5, 5)
    assert results.scores["joint"].shape == (2, 1, 5)
    assert results.scores["ewc"].dtype == np.float64
    assert list(results.table().columns) == ["strategy", "metric", "mean", "low", "high", "seeds"]


def test_strategies_of_one_kind_are_told_apart_by_their_parameters():
    results = compare("split-digits", [EWC(1.0), EWC(2.0), Naive() + EWC(3.0)], **QUICK)
    assert results.strategies == ["ewc(strength=1.0)", "ewc(strength=2.0)", "naive + ewc(strength=3.0)"]


NAMES = [
    (["replay(100)", "ewc(1)", "ewc(20)"], ["replay(100)", "ewc(1)", "ewc(20)"]),
    (["ewc", " ewc( 1 ) ", "ewc(2)\n + naive"], ["ewc", "ewc( 1 )", "ewc(2) + naive"]),
    ([EWC(1.0), EWC(20.0), "naive"], ["ewc(strength=1.0)", "ewc(strength=20.0)", "naive"]),
    ([EWC(), "ewc(1)"], ["ewc(strength=20.0)", "ewc(1)"]),
    ([EWC(), Naive() + EWC()], ["ewc", "naive + ewc"]),
    ([Naive() + EWC(1.0), Naive() + EWC()], ["naive + ewc(strength=1.0)", "naive + ewc(strength=20.0)"]),
    ({"weak": EWC(1.0), " strong ": "ewc(20)"}, ["weak", "strong"]),
    (EWC(1.0), ["ewc(strength=1.0)"]),
]


@pytest.mark.parametrize(("given", "names"), NAMES)
def test_names_are_what_was_typed_or_labelled_and_show_what_differs(given, names):
    assert list(read_strategies(given)) == names


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([EWC(), EWC()], "found 'ewc' twice"),
        (["ewc(1)", "ewc(strength=1)"], r"found 'ewc\(1\)' and 'ewc\(strength=1\)', which are the same"),
        ({"a": "ewc", "b": EWC()}, "found 'a' and 'b', which are the same"),
        ({"a": "ewc", "a ": "naive"}, "found 'a' twice"),
        ({" ": "ewc"}, "expected a label for every strategy, such as 'weak'; found ' '"),
        ({"a\nb": "ewc"}, "without control characters"),
        ({1: "ewc"}, "strategies must be"),
        ({"a": 1}, "strategies must be"),
        ({}, "at least one strategy; found none"),
    ],
)
def test_names_that_cannot_be(given, message, tmp_path):
    with pytest.raises(PerdureError, match=message) as caught:
        compare("split-digits", given, out=tmp_path / "run", **QUICK)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_key_the_scores_and_the_configuration(tmp_path):
    results = compare(TWO, {"weak": "ewc(1)", "strong": EWC()}, out=tmp_path, **SMALL)
    assert results.config["strategies"] == {"weak": "ewc(strength=1)", "strong": "ewc"}
    assert results.config["kinds"] == {"weak": "ewc", "strong": "ewc"}
    typed = compare(TWO, ["ewc(1)", "ewc"], **SMALL)
    assert np.array_equal(typed.scores["ewc(1)"], perdure.load(tmp_path).scores["weak"])
    with pytest.raises(KeyError, match=r"unknown strategy 'ewc\(strength=1\)': did you mean ewc\(1\)"):
        typed.scores["ewc(strength=1)"]


def test_a_run_that_is_added_to_has_the_names_of_now(tmp_path):
    first = compare(TWO, ["ewc(1)", "naive"], out=tmp_path, **SMALL)
    before = (tmp_path / "scores.safetensors").read_bytes()
    shown = compare(TWO, {"weak": "ewc(1)"}, out=tmp_path, resume=True, **SMALL)
    assert shown.strategies == ["weak", "naive"]
    assert np.array_equal(shown.scores["weak"], first.scores["ewc(1)"])
    assert shown.config["kinds"] == {"weak": "ewc", "naive": "naive"}
    assert (tmp_path / "scores.safetensors").read_bytes() == before
    both = compare(TWO, {"naive": "ewc(2)", "b": "naive"}, out=tmp_path, resume=True, **SMALL)
    assert both.config["strategies"] == {
        "ewc(1)": "ewc(strength=1)", "b": "naive", "naive": "ewc(strength=2)"
    }  # fmt: skip
    assert np.array_equal(both.scores["b"], first.scores["naive"])
    assert perdure.load(tmp_path).strategies == ["ewc(1)", "b", "naive"]
    with pytest.raises(PerdureError, match="expected another label than 'ewc"):
        compare(TWO, {"ewc(strength=1)": "si", "ewc(1)": "mas"}, out=tmp_path, resume=True, **SMALL)


def test_the_same_call_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        compare("split-digits", ["naive", "ewc"], out=tmp_path / name, **QUICK)
    assert (tmp_path / "a" / "scores.safetensors").read_bytes() == (
        tmp_path / "b" / "scores.safetensors"
    ).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "run.json",
        "scores.csv",
        "scores.safetensors",
    ]
    back = perdure.load(tmp_path / "a")
    assert back.config["kinds"] == {"naive": "naive", "ewc": "ewc"}


def test_a_list_of_seeds_picks_replicas():
    many = compare("split-digits", ["naive"], seeds=4, epochs=1, dtype="float64", quiet=True)
    some = compare("split-digits", ["naive"], seeds=[3, 1], epochs=1, dtype="float64", quiet=True)
    assert np.array_equal(some.scores["naive"], many.scores["naive"][[3, 1]])


def test_global_random_state_is_neither_used_nor_changed():
    torch.manual_seed(1)
    first = compare("split-digits", ["naive"], **QUICK)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    second = compare("split-digits", ["naive"], **QUICK)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(state, before)
    assert np.array_equal(first.scores["naive"], second.scores["naive"])


def test_the_default_number_of_epochs_gives_small_tasks_enough_steps():
    results = compare("split-digits", ["naive"], seeds=1, quiet=True)
    assert results.costs["naive"]["steps"] >= 50 * 5
    assert results.config["epochs"] == 7  # 259 training samples a task in the mean: 9 steps a pass


def test_a_module_is_redrawn_for_each_seed_unless_it_is_pretrained():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    fresh = compare("split-digits", ["naive"], model=module, **QUICK)
    assert not np.array_equal(fresh.untrained["naive"][0], fresh.untrained["naive"][1])
    kept = compare("split-digits", ["naive"], model=module, pretrained=True, **QUICK)
    assert np.array_equal(kept.untrained["naive"][0], kept.untrained["naive"][1])


BAD = [
    ({"stream": "split-digit"}, "did you mean split-digits"),
    ({"strategies": ["naiv"]}, "did you mean naive"),
    ({"strategies": []}, "at least one strategy"),
    ({"strategies": ["ewc(strenght=1)"]}, "it takes"),
    ({"strategies": ["ewc(strength=-1)"]}, "strength must be at least 0; found -1"),
    ({"strategies": ["ewc(strength=1"]}, r"expected name\(value, key=value\)"),
    ({"model": "mpl"}, "did you mean mlp"),
    ({"model": "mlp(hidden=[0])"}, "positive widths"),
    ({"model": torch.nn.Linear(3, 3)}, "does not take inputs of shape"),
    (
        {"model": lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 9))},
        "must give 10 outputs",
    ),
    ({"seeds": 0}, "seeds must be a whole number of at least 1; found 0"),
    ({"seeds": [1, 1]}, "different numbers"),
    ({"epochs": 0}, "epochs must be"),
    ({"batch_size": 0}, "batch_size must be"),
    ({"lr": 0}, "lr must be positive; found 0"),
    ({"lr": float("nan")}, "lr must be"),
    ({"weight_decay": -0.1}, "weight_decay must be"),
    ({"optimizer": "sdg"}, "did you mean sgd"),
    ({"schedule": "cosin"}, "did you mean cosine"),
    ({"dtype": "float16"}, "dtype must be"),
    ({"device": "cuda:99"}, "CUDA devices found"),
    ({"device": "gpu:99"}, "CUDA devices found"),
    ({"device": "tpu"}, "device must be auto, cpu, cuda"),
    ({"eval_every": 0}, "eval_every must be"),
    (
        {"tune": {"momentum": [1]}},
        "tune can choose lr, weight_decay or a number of a strategy, such as ewc.strength; found 'momentum'",
    ),
    ({"tune": {"lr": []}}, "found none"),
    ({"tune": {"lr": [0.1, 0.2, 0.1]}}, "different values for 'lr'"),
    ({"tune": {"lr": [-0.1]}}, "tune's lr must be"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input_is_one_line_before_any_work(change, message, tmp_path):
    arguments = {
        "stream": "split-digits",
        "strategies": ["naive"],
        "out": tmp_path / "run",
        **QUICK,
        **change,
    }
    stream, strategies = arguments.pop("stream"), arguments.pop("strategies")
    with pytest.raises(PerdureError, match=message) as caught:
        compare(stream, strategies, **arguments)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_bad_data_is_one_line():
    x, y = torch.randn(20, 3), torch.randint(0, 2, (20,))
    with pytest.raises(PerdureError, match="finite"):
        from_arrays([((x.clone().fill_(float("nan")), y), (x, y))], setting="domain")
    with pytest.raises(PerdureError, match="label"):
        from_arrays([((x, y - 1), (x, y))], setting="domain")
    with pytest.raises(
        PerdureError, match="`classes_per_task` must divide 10, the number of classes; found 3"
    ):
        split("digits", classes_per_task=3)


def test_an_output_folder_that_is_no_run_is_refused_before_any_work(tmp_path):
    (tmp_path / "thesis.tex").write_text("do not lose me")
    with pytest.raises(PerdureError, match="expected a new or empty folder"):
        compare("split-digits", ["naive"], out=tmp_path, **QUICK)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_forgetting_is_seen_in_the_class_setting_and_not_when_learning_jointly():
    results = compare("split-digits", ["naive", "joint"], seeds=3, quiet=True)
    assert results.metric("forgetting", "naive").mean() > 0.8
    assert results.metric("average_accuracy", "joint").mean() > 0.8
    joint = compare(get("split-digits(setting='joint')"), ["naive"], seeds=3, quiet=True)
    assert joint.scores["naive"].shape == (3, 1, 5)
    assert joint.scores["naive"].mean() > 0.8


# ---- what fails in a run ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fails(Strategy):
    """Raises in the second task, unless it has been mended."""

    name = "fails"
    mended: ClassVar[list[bool]] = [False]

    def end_task(self, net, params, state, task):
        if task.index == 1 and not self.mended[0]:
            raise self.error()
        return params, state

    def error(self):
        return RuntimeError("out of luck\nand more lines")


@dataclass(frozen=True)
class Refuses(Fails):
    name = "refuses"

    def error(self):
        return PerdureError("expected luck; found none")


def test_what_one_strategy_raises_is_reported_and_the_others_results_are_kept(tmp_path):
    alone = compare(TWO, ["naive", "joint"], **SMALL)
    results = compare(TWO, ["naive", Fails(), Refuses(), "joint"], out=tmp_path, **SMALL)
    assert results.strategies == ["naive", "joint"]
    reasons = {"fails": "RuntimeError: out of luck", "refuses": "expected luck; found none"}
    assert results.config["failed"] == reasons
    assert results.warnings[:2] == [f"{n}: no results, it failed: {reason}" for n, reason in reasons.items()]
    for name in alone.strategies:
        assert np.array_equal(results.scores[name], alone.scores[name])
    assert perdure.load(tmp_path).warnings == results.warnings


def test_a_strategy_that_failed_is_tried_again_where_it_had_got_to(tmp_path, monkeypatch):
    compare(TWO, ["naive", Fails(), Refuses()], out=tmp_path, **SMALL)
    monkeypatch.setattr(Fails, "mended", [True])
    again = compare(TWO, ["naive", Fails()], out=tmp_path, resume=True, **SMALL)
    assert again.strategies == ["naive", "fails"]
    assert again.config["failed"] == {"refuses": "expected luck; found none"}
    assert not any(line.startswith("fails:") for line in again.warnings)
    assert any(line.startswith("refuses: no results") for line in again.warnings)
    assert np.array_equal(again.scores["fails"], compare(TWO, [Fails()], **SMALL).scores["fails"])


def test_a_run_of_which_nothing_is_left_is_one_line(tmp_path):
    with pytest.raises(PerdureError) as caught:
        compare(TWO, [Fails(), Refuses()], out=tmp_path, **SMALL)
    assert str(caught.value) == (
        "expected a strategy that finishes; found none: fails: RuntimeError: out of luck; "
        "refuses: expected luck; found none"
    )
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(PerdureError, match="is not: continue it first"):
        perdure.load(tmp_path)


def test_an_interruption_is_no_failure(monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Fails, "error", stop)
    with pytest.raises(KeyboardInterrupt):
        compare(TWO, [Fails(), "naive"], **SMALL)


# ---- one value to choose from ---------------------------------------------------------------------------


def test_one_value_to_choose_from_is_a_value():
    one = compare(TWO, ["naive"], tune={"lr": [0.05], "weight_decay": [0.01]}, **SMALL)
    same = compare(TWO, ["naive"], lr=0.05, weight_decay=0.01, **SMALL)
    assert np.array_equal(one.scores["naive"], same.scores["naive"])
    assert one.config == same.config
    assert one.config["lr"] == 0.05


def test_what_was_chosen_among_is_no_setting():
    some = compare(TWO, ["naive"], tune={"lr": [0.05, 0.1], "weight_decay": [0.01]}, **SMALL)
    assert (some.config["lr"], some.config["weight_decay"]) == (None, 0.01)
    assert some.config["tune"] == [{"lr": 0.05}, {"lr": 0.1}]
    assert set(some.extras["naive"]["chosen"]) == {"lr"}


@pytest.mark.parametrize(
    "name", ["naive", "ewc", "replay(20)", "gdumb(20)", "lwf", "si", "joint", "single", "probe"]
)
def test_a_run_that_learns_nothing_says_so(name):
    results = compare("split-digits | take(2)", [name], seeds=2, epochs=1, lr=1e6, quiet=True)
    assert any("training loss above" in line or "diverged" in line for line in results.warnings)
    good = compare("split-digits | take(2)", [name], seeds=2, epochs=1, quiet=True)
    assert not any("training loss above" in line or "diverged" in line for line in good.warnings)


def test_what_learns_nothing_is_told_of_the_values_that_were_chosen():
    stream = "split-digits(setting='domain') | take(2)"
    results = compare(stream, ["naive"], seeds=2, epochs=2, quiet=True, tune={"lr": [0.1, 1e6]})
    assert results.extras["naive"]["chosen"]["lr"] == 0.1
    assert not any("training loss above" in line or "replicas diverged" in line for line in results.warnings)
    alone = compare(stream, ["naive"], seeds=2, epochs=1, model="mlp(hidden=[])", lr=1e6, quiet=True)
    assert any("2 of 2 replicas ended with a training loss above" in line for line in alone.warnings)
