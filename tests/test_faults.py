"""The faults that outside use found on 28 November, one test each.

Each fails on the code of that day, and needs nothing else of the tests, so that it can be run there. Details,
and all the other inputs of each kind, are tested where the code that they concern is.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import perdure
from perdure import PerdureError, compare
from perdure.scenarios import from_arrays, get, sources, split
from perdure.strategies import Naive, Phase, Replay, Strategy

SMALL: dict[str, Any] = {"seeds": 2, "epochs": 1, "quiet": True, "model": "mlp(hidden=[8])"}
TWO = "split-digits | take(2)"


def either(*names: str) -> Any:
    """Return the module by the name that it had, or by the one that it has now."""
    try:
        return importlib.import_module(names[0])
    except ImportError:
        if not names[1:]:
            raise
        return either(*names[1:])


def one_line(call: Any) -> str:
    """Return the one line in which a call is refused, or nothing; any other exception fails the test."""
    try:
        call()
    except PerdureError as error:
        assert "\n" not in str(error)
        return str(error)
    except Exception as error:
        pytest.fail(f"raw {type(error).__name__}: {str(error)[:150]}")
    return ""


def refused(call: Any) -> str:
    """Return the one line in which a call must be refused."""
    message = one_line(call)
    assert message, "accepted"
    return message


def apart(first: Any, second: Any, name: str = "naive") -> float:
    """Return how far two runs are apart that kept their replicas."""
    one, two = (results.trained[name].params(0) for results in (first, second))
    return max(float((one[k] - two[k]).abs().max()) for k in one)


def notes(results: Any) -> list[str]:
    """Return what a run says, but of the number of seeds."""
    return [line for line in results.warnings if "seeds:" not in line]


def arrays(n: int = 40, width: int = 4, tasks: int = 2) -> list[Any]:
    """Return samples and labels 0 and 1 of some tasks."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(tasks, n, width))
    return [(one, (one[:, 0] > 0).astype(int)) for one in x]


@dataclass(frozen=True)
class Two(Strategy):
    name = kind = "two"

    def init(self, net, params, stream):
        return {"zero": torch.zeros(3), "one": torch.ones(3)}

    def after_step(self, net, params, state, step):
        return params, {"one": state["one"], "zero": state["zero"]}


def test_row_01_names_in_another_order():
    results = compare(TWO, [Two()], **SMALL | {"epochs": 3}, keep=True)
    state = results.trained["two"].state("two")
    assert (state["zero"].tolist(), state["one"].tolist()) == ([0.0] * 3, [1.0] * 3)


class Skip(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.inner, self.out, self.act = nn.Linear(64, 16), nn.Linear(16, 10), act

    def forward(self, x):
        h = self.inner(x.flatten(1))
        skip = h.clone()
        return self.out(self.act(h) + skip)


@pytest.mark.parametrize("name", ["relu", "silu", "clamp_"])
def test_row_02_in_place_layers_of_a_users_model(name):
    plain, inplace = {
        "relu": (nn.ReLU(), nn.ReLU(inplace=True)),
        "silu": (nn.SiLU(), nn.SiLU(inplace=True)),
        "clamp_": (lambda h: h.clamp(-0.1, 0.1), lambda h: h.clamp_(-0.1, 0.1)),
    }[name]
    runs = [
        compare(TWO, ["naive"], **SMALL | {"model": lambda a=act: Skip(a)}, lr=0.05, dtype="float64", keep=True)
        for act in (plain, inplace)
    ]
    assert apart(*runs) < 1e-9
    assert runs[0].scores["naive"].tolist() == runs[1].scores["naive"].tolist()


@dataclass(frozen=True)
class Windows(Strategy):
    copied: bool = False
    name = kind = "windows"

    def view(self, params):
        last = params[list(params)[-1]]
        return (last.flip(0).flip(0) if self.copied else last).unfold(0, 2, 1)

    def init(self, net, params, stream):
        return {"path": torch.zeros_like(self.view(params))}

    def gradient(self, net, params, state, grads, batch):
        last = list(params)[-1]
        return {**grads, last: grads[last] + 0.0 * self.view(params).sum()}

    def after_step(self, net, params, state, step):
        return params, {"path": state["path"] + self.view(step.previous)}


def test_row_03_views_that_no_list_knows():
    paths = []
    for copied in (False, True):
        results = compare(TWO, [Windows(copied)], **SMALL, dtype="float64", keep=True)
        (trained,) = results.trained.values()
        paths.append(trained.state("windows")["path"])
    view, copy = paths
    assert float((view - copy).abs().max()) < 1e-9


class Rows(nn.Module):
    """Digits as eight rows of eight pixels, through a layer that draws."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.out = layer, nn.Linear(8, 10)

    def forward(self, x):
        h = self.layer(x.flatten(1).unflatten(1, (8, 8)))
        return self.out((h[0] if isinstance(h, tuple) else h).mean(1))


class Draws(nn.Module):
    def forward(self, h):
        return torch.dropout(h, 0.5, self.training)


@pytest.mark.parametrize("name", ["alpha", "function", "lstm", "transformer"])
@pytest.mark.filterwarnings("ignore")
def test_row_04_layers_that_draw(name):
    layers = {
        "alpha": lambda: nn.AlphaDropout(0.2),
        "function": Draws,
        "lstm": lambda: nn.LSTM(8, 8, 2, dropout=0.2, batch_first=True),
        "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    }
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        runs.append(compare(TWO, ["naive"], **SMALL | {"model": lambda: Rows(layers[name]())}, keep=True))
    assert apart(*runs) == 0


@dataclass(frozen=True)
class Longer(Strategy):
    name = kind = "longer"

    def arrange(self, stream, phases):
        return [replace(phase, epochs=3) for phase in phases]


@dataclass(frozen=True)
class Laid(Longer):
    name = kind = "laid"

    def phases(self, stream):
        return [Phase((t,), epochs=1) for t in range(len(stream))]


def test_row_05_a_hook_does_not_depend_on_company():
    each = [Naive(), Longer(), Longer() + Naive(), Laid(), Laid() + Naive()]
    costs = compare(TWO, each, **SMALL).costs
    steps = {name: cost["steps"] / costs["naive"]["steps"] for name, cost in costs.items()}
    assert list(steps.values()) == [1, 3, 3, 3, 3], steps


def draw_images(folder, classes, value, n=12):
    """Write images of one colour each, a folder for each class."""
    from PIL import Image

    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            pixels = np.full((4, 4), value(place))
            pixels[0, 0] -= i
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


def test_row_06_images_of_16_bits(tmp_path):
    draw_images(tmp_path, ["cat", "dog"], lambda place: np.uint16((place + 1) * 2**14))
    made: list[Any] = []
    if not one_line(lambda: made.append(split(sources.images(tmp_path, size=4), classes_per_task=2))):
        x = made[0][0].train.inputs()
        assert sorted({round(float(v), 2) for v in x.flatten(1).amax(1)}) == [0.25, 0.5]


def test_row_07_a_folder_of_train_and_val(tmp_path):
    for part in ("train", "val"):
        draw_images(tmp_path / part, ["cat", "dog", "fox", "hen"], lambda place: np.uint8(50 * place + 50))
    stream = split(sources.images(tmp_path, size=4), classes_per_task=2)
    assert (stream.outputs, len(stream)) == (4, 2), stream.names


def test_row_08_the_same_labels_in_every_task():
    stream = from_arrays(arrays(), "task")
    assert stream.outputs == 4
    assert stream.masks().int().tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]


class Raw(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.linear = nn.Parameter(torch.randn(64, 64) / 8), nn.Linear(64, 10)
        nn.init.constant_(self.linear.bias, 3.0)

    def forward(self, x):
        return self.linear(x.flatten(1) @ self.weight)


def test_row_09_a_module_with_weights_of_its_own():
    results = compare(TWO, ["naive"], **SMALL | {"model": Raw()}, lr=1e-12, keep=True)
    one, two = (results.trained["naive"].params(k) for k in (0, 1))
    drawn = not torch.equal(one["weight"], two["weight"])
    kept = float(one["linear.bias"].mean()) > 2.9
    said = " ".join(notes(results))
    assert drawn or "weight" in said
    assert kept or "linear.bias" in said


@dataclass(frozen=True)
class Add(Strategy):
    name = kind = "add"

    def batch(self, net, params, state, batch):
        x = torch.cat([batch.x[:, :1], batch.x[:, 1:] + 5.0], 1)
        return batch.with_rows(x=x) if hasattr(batch, "with_rows") else replace(batch, x=x)


@pytest.mark.parametrize("order", ["before", "after"])
def test_row_10_memories_hold_what_came_from_the_stream(order):
    x = np.stack([np.arange(40) / 40, np.zeros(40)], 1)
    stream = from_arrays([(x, (x[:, 0] > 0.5).astype(int)), (x + [[2.0, 0.0]], (x[:, 0] > 0.5).astype(int))])
    strategy = Add() + Replay(16) if order == "before" else Replay(16) + Add()
    results = compare(stream, [strategy], **SMALL | {"model": "mlp(hidden=[4])"}, keep=True)
    (trained,) = results.trained.values()
    (memory,) = (v for v in trained.state("replay").values() if v.ndim == 2 and v.is_floating_point())
    assert memory[:, 1].unique().tolist() == [0.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: split("digits", shuffle_classes="no"),
        lambda: split("digits", shuffle_classes=2.5),
        lambda: split("digits", online="False"),
        lambda: compare(TWO, ["naive"], **SMALL | {"seeds": [0.7, 1.2]}),
        lambda: compare(TWO, ["naive"], **SMALL, resume=True),
        lambda: compare(TWO, ["naive"], **SMALL, pretrained=True),
    ],
)
def test_row_11_flags_and_seeds_of_another_kind(call):
    refused(call)


def test_row_12_replicas_that_diverged():
    results = compare(TWO, ["naive"], **SMALL, lr=1e30)
    found = results.table(["average_accuracy"])["mean"].tolist()
    assert np.isnan(found).all(), found
    assert any("diverged" in line for line in notes(results))


def test_row_13_dialects_follow_the_librarys_code():
    matrix = np.array([[0.9, 0.1, 0.0], [0.7, 0.8, 0.2], [0.4, 0.5, 0.6]])
    results = perdure.Results({"naive": np.stack([matrix, matrix])})
    # Continuum sums (R[i, j] - R[j, j]) over j < i - 1 and divides by the number of pairs j < i.
    found = results.metric("backward_transfer", "naive", dialect="continuum")
    assert np.allclose(found, (0.4 - 0.9) / 3), found
    refused(lambda: results.metric("learning_accuracy", "naive", dialect="continuum"))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.layer(x.unsqueeze(-1))[0][:, -1])


@dataclass(frozen=True)
class Fails(Strategy):
    name = kind = "fails"

    def end_task(self, net, params, state, task):
        raise ValueError("no luck")


@pytest.mark.parametrize("other", ["ewc", "fails"])
@pytest.mark.filterwarnings("ignore")
def test_row_14_what_one_strategy_raises_loses_no_other(other):
    made: list[Any] = []
    each = ["naive", Fails() if other == "fails" else other]
    stream = from_arrays(arrays(20))
    assert not one_line(lambda: made.append(compare(stream, each, **SMALL | {"model": Recurrent})))
    assert made[0].strategies == (["naive"] if other == "fails" else ["naive", other])


class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))


def test_row_15_batch_norm_and_a_last_batch_of_one():
    first, second = arrays(53)
    stream = from_arrays([(first, first), (second, second)], val=0.1)
    sizes = [len(task.train) for task in stream]
    last = next(size for size in range(8, 50) if sizes[1] % size == 1)
    one_line(lambda: compare(stream, ["naive"], **SMALL | {"model": Normed}, batch_size=last))


@pytest.fixture(scope="module")
def trained():
    return compare(TWO, ["naive"], **SMALL, keep=True).trained["naive"]


def test_row_16_inputs_of_numpy_and_token_ids(trained):
    strategies = importlib.import_module("perdure.strategies")
    outputs: list[Any] = []
    assert not one_line(lambda: outputs.append(trained.predict(np.zeros((3, 1, 8, 8)))))
    assert outputs[0].shape == (2, 3, 10)
    results = compare(tokens(), ["ibcl"], **SMALL | {"model": Tokens}, keep=True)
    (run,) = results.trained.values()
    front: list[Any] = []
    assert not one_line(lambda: front.append(strategies.Knowledge.of(run).front(tokens(), [[0.5, 0.5]])))
    assert front[0].scores.isfinite().all()


@pytest.mark.parametrize(
    "ask",
    [
        lambda trained: trained.predict(torch.zeros(3, 1, 8, 4)),
        lambda trained: trained.predict(torch.zeros(3, 1, 8, 8), task=99),
        lambda trained: trained.evaluate(get(TWO), part="valid"),
        lambda trained: trained.evaluate(get("split-digits(setting='domain')")),
    ],
)
def test_row_16_what_does_not_fit_a_trained_net(ask, trained):
    refused(lambda: ask(trained))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(20, 6), nn.Linear(6, 4)

    def forward(self, x):
        return self.out(self.table(x).mean(1))


def tokens() -> Any:
    """Return a stream of two tasks of two classes each, whose samples are five token ids."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 20, (2, 40, 5))
    return from_arrays([(x, np.arange(40) % 2 + 2 * t) for t, x in enumerate(ids)], "class")


@pytest.mark.parametrize(
    "changes",
    [{"stream": 5}, {"strategies": [3]}, {"strategies": 3}, {"optimizer": torch.optim.Adam}],
)
def test_row_17_arguments_that_are_something_else(changes):
    refused(lambda: compare(**{"stream": TWO, "strategies": ["naive"], **SMALL, **changes}))


def test_row_17_a_single_name_is_a_list_of_one():
    made: list[Any] = []
    assert not one_line(lambda: made.append(compare(TWO, "naive", **SMALL)))
    assert made[0].strategies == ["naive"]


def test_row_18_a_second_run_into_a_folder(tmp_path):
    compare(TWO, ["naive"], **SMALL, out=tmp_path)
    message = refused(lambda: compare(TWO, ["joint"], **SMALL, out=tmp_path))
    assert "--resume" in message
    assert "--overwrite" in message
    assert perdure.load(tmp_path).strategies == ["naive"]


# Peak memory of a run of one task with a wide net, in megabytes, above what it is before.
PEAK = """
import resource, sys
from perdure import compare
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def run(dropout, width):
    compare("split-digits | take(1)", ["naive"], model=f"mlp(hidden=[{width}, {width}], dropout={dropout})",
            seeds=4, epochs=1, batch_size=128, quiet=True)
run(0.5, 8)
run(0.0, 512)
before = peak()
run(0.5, 512)
print(peak() - before)
"""


def test_row_19_memory_of_draws():
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 200


@dataclass(frozen=True)
class Remembers(Strategy):
    """Notes at the start of each phase how many bytes there are of training samples in double precision."""

    name = kind = "remembers"

    def phases(self, stream):
        return [Phase((t,), name=f"learn {t}") for t in range(len(stream))]

    def begin_task(self, net, params, state, task):
        gc.collect()
        samples = [v for v in gc.get_objects() if type(v) is torch.Tensor and v.shape[1:] == (30, 31)]
        ALIVE[task.index] = sum(v.nbytes for v in samples if v.dtype == torch.float64)
        return params, state


ALIVE: dict[int, int] = {}


def test_row_19_nothing_of_a_finished_phase_is_alive():
    x = np.random.default_rng(0).random((4, 40, 30, 31), dtype=np.float32)
    stream = from_arrays([(one, np.arange(40) % 2) for one in x])
    compare(stream, [Remembers()], **SMALL, dtype="float64")
    assert 0 < ALIVE[3] <= ALIVE[0], ALIVE


def drawn(monkeypatch, draw: Any) -> Any:
    """Return the figure that a call saves, without saving it."""
    figure = importlib.import_module("matplotlib.figure")
    saved: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(figure.Figure, "savefig", lambda self, *_, **__: saved.append(self))
        with contextlib.suppress(FileNotFoundError):
            draw("figure.png")
    return saved[0]


def scores(names: Any = ("naive",), tasks: int = 3, seeds: int = 2, **changes: Any) -> Any:
    """Return results with scores at random."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.random((seeds, 1 if name == "joint" else tasks, tasks)) for name in names}
    return perdure.Results(arrays, **changes)


def test_row_20_figures_of_many_tasks(monkeypatch):
    figure = drawn(monkeypatch, scores(tasks=60).plot_forgetting)
    assert len(figure.axes) < 10


def test_row_21_bare_words():
    made: list[Any] = []
    spec = "split-digits(setting=task, shuffle_classes=true)"
    assert not one_line(lambda: made.append(get(spec)))
    assert made[0].setting == "task"
    assert "did you mean split-digits(setting=task)?" in refused(lambda: get("split-digits(setting='task'"))


@dataclass(frozen=True)
class OneHot(Strategy):
    name = kind = "one-hot"

    def losses(self, net, params, state, batch, losses):
        return losses + 0 * nn.functional.one_hot(batch.y).sum()


@pytest.mark.filterwarnings("ignore")
def test_row_22_what_cannot_be_mapped_is_named():
    said = " ".join(notes(compare(TWO, [OneHot()], **SMALL)))
    assert "nn.functional.one_hot(batch.y)" in said
    assert "torch.arange" in said


def make_engine(stream: Any, strategy: Any) -> Any:
    """Return the engine of a small run."""
    settings = either("perdure.settings", "perdure.training").make_settings
    all_of_them = {
        "batch_size": 32, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant",
        "device": "cpu", "dtype": "float32", "precision": None, "pretrained": False, "eval_every": None,
        "tune": None,
    }  # fmt: skip
    small = {key: value for key, value in SMALL.items() if key != "quiet"}
    return either("perdure.experiment").make_engine(stream, strategy, settings(stream, **small, **all_of_them))


def weights(replica: Any) -> Any:
    """Return a copy of a replica's parameters."""
    params = replica["params"] if isinstance(replica, dict) else replica.params
    return {k: v.clone() for k, v in params.items()}


def test_row_23_an_engine_starts_afresh():
    engine = make_engine(get(TWO), Naive())
    replica = engine.start()
    first, phase = weights(replica), Naive().phases(engine.stream)[0]
    for _ in engine.train(replica, phase, engine.load(phase)):
        pass
    again = weights(engine.start())
    assert all(torch.equal(first[k], again[k]) for k in first)


def test_row_24_objectives_that_differ():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    scenarios = importlib.import_module("perdure.scenarios")

    def task(y, outputs, objective):
        parts = [scenarios.Part(x[rows], y[rows]) for rows in (slice(40), slice(40, 50), slice(50, 60))]
        return scenarios.Task("task", *parts, outputs, objective)

    classes = task((x[:, 0] > 0).long(), (0, 1), scenarios.Classification())
    numbers = task(x[:, 0] * 2, (2,), scenarios.Regression())
    made = scenarios.Stream("mixed", (classes, replace(numbers, name="numbers")), "task", 3)
    if not one_line(lambda: perdure.check_stream(made)):
        assert not one_line(lambda: compare(made, ["naive", "joint"], **SMALL))


@dataclass(frozen=True)
class Shrinks(Strategy):
    """Scales the weights by a rate after each task; stops the process, so to speak, in the second."""

    rate: float = 1.0
    name = kind = "shrinks"

    def begin_task(self, net, params, state, task):
        if task.index and STOPS:
            raise KeyboardInterrupt
        return params, state

    def end_task(self, net, params, state, task):
        return {k: v * self.rate for k, v in params.items()}, state


STOPS: list[bool] = []


def stopped(folder: Any, strategies: Any, **changes: Any) -> None:
    """Run until the second task, and no further."""
    STOPS.append(True)
    try:
        with pytest.raises(KeyboardInterrupt):
            compare(TWO, strategies, **SMALL, out=folder, **changes)
    finally:
        STOPS.clear()


def test_row_25_checkpoints_belong_to_a_strategy(tmp_path):
    pair = [Shrinks(0.9), Shrinks(-0.9)]
    whole = compare(TWO, pair, **SMALL)
    stopped(tmp_path, pair)
    swapped = compare(TWO, pair[::-1], **SMALL, out=tmp_path, resume=True)
    for name in whole.strategies:
        assert swapped.scores[name].tolist() == whole.scores[name].tolist()
