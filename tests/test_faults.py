"""The faults that outside use found on 28 November, one test each.

Each fails on the code of that day, and needs nothing else of the tests, so that it can be run there. Details,
and all the other inputs of each kind, are tested where the code that they concern is.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import perdure
from perdure import PerdureError, compare
from perdure.scenarios import from_arrays, get, sources, split
from perdure.strategies import Naive, Phase, Replay, Strategy

pytestmark = pytest.mark.slow

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
        message = ""
    except PerdureError as error:
        message = str(error)
    except Exception as error:
        pytest.fail(f"raw {type(error).__name__}: {str(error)[:150]}")
    assert "\n" not in message
    return message


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
        compare(
            TWO, ["naive"], **SMALL | {"model": lambda a=act: Skip(a)}, lr=0.05, dtype="float64", keep=True
        )
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
    stream = from_arrays(
        [(x, (x[:, 0] > 0.5).astype(int)), (x + np.array([2.0, 0.0]), (x[:, 0] > 0.5).astype(int))]
    )
    strategy = Add() + Replay(16) if order == "before" else Replay(16) + Add()
    results = compare(stream, [strategy], **SMALL | {"model": "mlp(hidden=[4])"}, keep=True)
    (trained,) = results.trained.values()
    (memory,) = (v for v in trained.state("replay").values() if v.ndim == 2 and v.is_floating_point())
    assert memory[:, 1].unique().tolist() == [0.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: get("split-digits(shuffle_classes='no')"),
        lambda: get("split-digits(shuffle_classes=2.5)"),
        lambda: get("split-digits(online='False')"),
        lambda: compare(TWO, ["naive"], **SMALL | {"seeds": [0.7, 1.2]}),
        lambda: compare(TWO, ["naive"], **SMALL, resume=True),
        lambda: compare(TWO, ["naive"], **SMALL, pretrained=True),
    ],
    ids=["word", "number", "online", "seeds", "resume", "pretrained"],
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
    first, second, other = arrays(53, tasks=3)
    stream = from_arrays([(first, other), (second, other)], val=0.1)
    last = next(size for size in range(8, 50) if any(len(task.train) % size == 1 for task in stream))
    assert not one_line(lambda: compare(stream, ["naive"], **SMALL | {"model": Normed}, batch_size=last))


@pytest.fixture(scope="module")
def trained():
    return compare(TWO, ["naive"], **SMALL, keep=True).trained["naive"]


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(20, 6), nn.Linear(6, 4)

    def forward(self, x):
        return self.out(self.table(x).mean(1))


def tokens() -> Any:
    """Return a stream of two tasks of two classes each, whose samples are five token ids."""
    scenarios = importlib.import_module("perdure.scenarios")
    ids = torch.randint(1, 20, (2, 60, 5), generator=torch.Generator().manual_seed(0))
    tasks = []
    for t, x in enumerate(ids):
        y = torch.arange(60) % 2 + 2 * t
        parts = [scenarios.Part(x[rows], y[rows]) for rows in (slice(40), slice(40, 50), slice(50, 60))]
        tasks.append(scenarios.Task(f"task {t}", *parts, (2 * t, 2 * t + 1)))
    return scenarios.Stream("tokens", tuple(tasks), "class", 4)


def front(_):
    results = compare(tokens(), ["ibcl"], **SMALL | {"model": Tokens}, keep=True)
    (run,) = results.trained.values()
    known = importlib.import_module("perdure.strategies").Knowledge.of(run)
    return known.front(tokens(), [[0.5, 0.5]]).points


@pytest.mark.parametrize(
    ("ask", "shape"),
    [
        (lambda trained: trained.predict(np.zeros((3, 1, 8, 8))), (2, 3, 10)),
        (front, (1, 2)),
        (lambda trained: trained.predict(torch.zeros(3, 1, 8, 4)), None),
        (lambda trained: trained.predict(torch.zeros(3, 1, 8, 8), task=99), None),
        (lambda trained: trained.evaluate(get(TWO), part="valid"), None),
        (lambda trained: trained.evaluate(get("split-digits(setting='domain')")), None),
    ],
    ids=["numpy", "token ids", "shape", "task", "part", "width"],
)
def test_row_16_what_is_asked_of_a_trained_net(ask, shape, trained):
    found: list[Any] = []
    message = one_line(lambda: found.append(ask(trained).shape))
    assert found == ([] if shape is None else [shape]), message


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"stream": 5}, False),
        ({"strategies": [3]}, False),
        ({"optimizer": torch.optim.Adam}, False),
        ({"strategies": "naive"}, True),
    ],
    ids=["stream", "strategies", "optimizer", "name"],
)
def test_row_17_arguments_that_are_something_else(changes, fits):
    message = one_line(lambda: compare(**{"stream": TWO, "strategies": ["naive"], **SMALL, **changes}))
    assert (message == "") == fits, message


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


def draws_in_200_megabytes():
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    return float(done.stdout) / 200


@dataclass(frozen=True)
class Remembers(Strategy):
    """Notes at the start of each phase how many bytes there are of training samples in double precision."""

    name = kind = "remembers"

    def phases(self, stream):
        return [Phase((t,), name=f"learn {t}") for t in range(len(stream))]

    def begin_task(self, net, params, state, task):
        gc.collect()
        tensors = [v for v in gc.get_objects() if type(v) is torch.Tensor and v.dtype == torch.float64]
        samples = [v.untyped_storage() for v in tensors if v.shape[1:] == (30, 31)]
        # Those without a place stand for others in a record.
        ALIVE[task.index] = sum({v.data_ptr(): v.nbytes() for v in samples if v.data_ptr()}.values())
        return params, state


ALIVE: dict[int, int] = {}


def samples_in_those_of_one_phase():
    x = np.random.default_rng(0).random((4, 40, 30, 31), dtype=np.float32)
    stream = from_arrays([(one, np.arange(40) % 2) for one in x])
    compare(stream, [Remembers()], **SMALL, dtype="float64")
    return ALIVE[3] / ALIVE[0]


@pytest.mark.parametrize("held", [draws_in_200_megabytes, samples_in_those_of_one_phase])
def test_row_19_memory(held):
    assert held() <= 1


def drawn(monkeypatch, draw: Any) -> Any:
    """Return the figure that a call saves, without saving it."""
    figure = importlib.import_module("matplotlib.figure")
    saved: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(figure.Figure, "savefig", lambda self, *_, **__: saved.append(self))
        with contextlib.suppress(FileNotFoundError), tempfile.TemporaryDirectory() as folder:
            draw(f"{folder}/figure.png")
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
    return either("perdure.experiment").make_engine(
        stream, strategy, settings(stream, **small, **all_of_them)
    )


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


def command(monkeypatch: Any, capsys: Any, *arguments: Any) -> tuple[int, str, str]:
    """Run the command line in this process: status, output, errors."""
    room = importlib.import_module("perdure.cli")
    main = getattr(room, "main", None) or importlib.import_module("perdure.cli.app").main
    monkeypatch.setattr(sys, "argv", ["perdure", *map(str, arguments)])
    status = 0
    try:
        main()
    except SystemExit as end:
        status = int(end.code or 0)
    except Exception as error:
        pytest.fail(f"raw {type(error).__name__}: {str(error)[:150]}")
    return status, *capsys.readouterr()


QUICK = ["--epochs", 1, "--model", "mlp(hidden=[8])", "--quiet"]


def test_row_26_what_ran_is_what_is_recorded(monkeypatch, capsys, tmp_path):
    call = ["compare", TWO, "naive", *QUICK, "--seeds", 2, "--out", tmp_path / "run"]
    assert command(monkeypatch, capsys, *call, "--tune", "lr=0.05")[0] == 0
    assert perdure.load(tmp_path / "run").config["lr"] == 0.05
    status, _, err = command(monkeypatch, capsys, *call, "--tune", "lr=0.5", "--resume")
    assert (status, "another lr" in err) == (2, True)


@pytest.mark.parametrize("damage", ["bit", "tensor"])
def test_row_27_a_checkpoint_that_changed(damage, tmp_path):
    files = importlib.import_module("safetensors.torch")
    stopped(tmp_path, [Shrinks()])
    (file,) = (tmp_path / "checkpoint").glob("*.safetensors")
    content = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    head, tensors = json.loads(content[8:start]), files.load(bytes(content))
    largest = max(tensors, key=lambda name: tensors[name].nbytes)
    if damage == "bit":
        content[start + head[largest]["data_offsets"][0] + 3] ^= 64
        file.write_bytes(content)
    else:
        tensors[largest] = torch.full_like(tensors[largest], float("nan"))
        files.save_file(tensors, file, metadata=head["__metadata__"])
    refused(lambda: compare(TWO, [Shrinks()], **SMALL, out=tmp_path, resume=True))


@pytest.mark.parametrize(
    "line",
    [
        'seeds = "10"',
        'strategies = ["ewc(1)(2)"]',
        'strategies = ["ewc(1).f(3)"]',
        'strategies = ["ewc(strength=1, strength=2)"]',
        "strategies = [\"ewc(**{'strength': 5})\"]",
    ],
)
def test_row_28_files_that_say_something_else(line, monkeypatch, capsys, tmp_path):
    usual = [f'stream = "{TWO}"', 'strategies = ["naive"]', "seeds = 2", "epochs = 1"]
    lines = [line, *(one for one in usual if one.split()[0] != line.split()[0]), 'model = "mlp(hidden=[8])"']
    (tmp_path / "run.toml").write_text("\n".join(lines))
    status, out, err = command(monkeypatch, capsys, "run", tmp_path / "run.toml", "--quiet")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_row_29_a_folder_that_is_another_file_system(monkeypatch, tmp_path):
    out = tmp_path / "volume"
    out.mkdir()

    def moved(move):
        def across(source, target, **options):
            if (out in Path(source).parents) != (out in Path(target).parents):
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return move(source, target, **options)

        return across

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, moved(getattr(os, name)))
    assert not one_line(lambda: compare(TWO, ["naive"], **SMALL, out=out))
    assert perdure.load(out).strategies == ["naive"]


def test_row_30_a_finished_run_stays_until_the_new_one_is_whole(tmp_path):
    done = compare(TWO, ["naive"], **SMALL, out=tmp_path)
    stopped(tmp_path, ["naive", Shrinks()], resume=True)
    kept: list[Any] = []
    assert not one_line(lambda: kept.append(perdure.load(tmp_path)))
    assert kept[0].scores["naive"].tolist() == done.scores["naive"].tolist()
    both = compare(TWO, [Shrinks()], **SMALL, out=tmp_path, resume=True)
    assert both.strategies == ["naive", "shrinks"]


def full_disk(folder, monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this: writing more fails as it does where the disk is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        return one_line(lambda: compare(TWO, ["naive"], **SMALL, out=folder / "run"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def second_run(folder, monkeypatch):
    experiment, said = importlib.import_module("perdure.experiment"), []
    original = experiment.run

    def run(*arguments):
        if not said:
            said.append("")
            said[0] = one_line(lambda: compare(TWO, ["naive"], **SMALL, out=folder))
        return original(*arguments)

    monkeypatch.setattr(experiment, "run", run)
    assert not one_line(lambda: compare(TWO, ["naive"], **SMALL, out=folder))
    return said[0]


@pytest.mark.parametrize(("run", "words"), [(full_disk, "File too large"), (second_run, "at work")])
def test_row_31_a_full_disk_and_a_second_run_are_one_line(run, words, monkeypatch, tmp_path):
    assert words in run(tmp_path, monkeypatch)


# Gets a signal at the end of the second task.
SIGNALLED = """
import os, signal, sys, time
from perdure.strategies import Naive
# A shell that put the tests into the background had it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    from perdure.cli import main
except ImportError:
    from perdure.cli.app import main
def stop(self, net, params, state, task):
    if task.index:
        os.kill(os.getpid(), number)
        time.sleep(1)
    return params, state
Naive.end_task, number = stop, int(sys.argv.pop(1))
main()
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_row_32_signals(number, status, tmp_path):
    call = [int(number), "compare", TWO, "naive", *QUICK, "--seeds", 2, "--out", tmp_path / "run"]
    done = subprocess.run([sys.executable, "-c", SIGNALLED, *map(str, call)], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
    assert "--resume" in done.stderr
    assert list((tmp_path / "run" / "checkpoint").glob("*.safetensors"))


@pytest.mark.parametrize(
    "changes",
    [
        {"strategies": ["ewc(strength='a')"]},
        {"strategies": ["ewc(strength=1e999)"]},
        {"strategies": ["ewc(" + "-" * 5000 + "1)"]},
        {"strategies": ["avalanche(name='EWC')"]},
        {"optimizer": "sgd(momentum='a')"},
        {"optimizer": "sgd(momentum=-1)"},
        {"optimizer": "adam(beta2=2)"},
        {"schedule": 5},
        {"model": "cnn(hidden=0)"},
        {"model": "resnet(blocks=-1)"},
        {"device": "cpu:5"},
        {"lr": True},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_row_33_a_dozen_of_the_generated_inputs(changes):
    refused(lambda: compare(**{"stream": TWO, "strategies": ["naive"], **SMALL, **changes}))


@pytest.mark.filterwarnings("ignore")
def test_row_34_code_that_comes_with_a_model_is_never_run(monkeypatch, tmp_path):
    pytest.importorskip("transformers")
    encoder = importlib.import_module("perdure.models").encoder
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    maps = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForTextEncoding"), "code.Made")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": maps}))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    refused(lambda: encoder(str(tmp_path))((6,), 2))
    assert not (tmp_path / "ran").exists()


def links_are_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "report.html").symlink_to(tmp_path / "mine.txt")
    scores(tasks=2).report(tmp_path / "report.html")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def names_are_plain_text(tmp_path):
    results = scores(["naive", "$x^{$"], tasks=2)
    assert not one_line(lambda: results.report(tmp_path / "report.html"))


def run_json_is_json(tmp_path):
    results = scores(tasks=2, extras={"naive": {"loss": float("nan")}})
    results.save(tmp_path)
    text = (tmp_path / "run.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"bare {name} in run.json"))


@pytest.mark.parametrize("check", [links_are_kept, names_are_plain_text, run_json_is_json])
def test_row_35_reports_and_folders(check, tmp_path):
    check(tmp_path)


def test_row_36_a_run_that_learns_nothing_says_so():
    results = compare(TWO, ["naive", "replay(20)"], **SMALL, lr=1e6)
    for name in ("naive", "replay"):
        assert any(line.startswith(name) and "loss" in line for line in notes(results)), notes(results)


@pytest.mark.parametrize("seeds", [np.int64(2), "7,"], ids=["numpy", "typed"])
def test_row_37_seeds(seeds, monkeypatch, capsys, tmp_path):
    if seeds == "7,":
        call = ["compare", TWO, "naive", *QUICK, "--seeds", seeds, "--out", tmp_path]
        status, _, said = command(monkeypatch, capsys, *call)
    else:
        said = one_line(lambda: compare(TWO, ["naive"], **SMALL | {"seeds": seeds}, out=tmp_path))
        status = len(said)
    assert status == 0, said
    assert perdure.load(tmp_path).seeds in ([0, 1], [7])


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_row_38_no_tensor_is_made_of_a_number_at_every_step(schedule, monkeypatch):
    made, original = [0], torch.tensor

    def counted(*arguments, **options):
        made[0] += 1
        return original(*arguments, **options)

    monkeypatch.setattr(torch, "tensor", counted)
    found = []
    for epochs in (1, 6):
        made[0] = 0
        steps = compare(TWO, ["ewc"], **SMALL | {"epochs": epochs}, schedule=schedule).costs["ewc"]["steps"]
        found.append((steps, made[0]))
    (few, before), (many, after) = found
    assert after - before < (many - few) / 2, found


def test_row_39_icarl_on_token_ids():
    assert not one_line(lambda: compare(tokens(), ["icarl(8)"], **SMALL | {"model": Tokens}))


def constant(**means: Any) -> Any:
    """Return results of two tasks whose scores are all the same, one number for each seed."""
    arrays = {
        name: np.broadcast_to(np.array(each)[:, None, None], (len(each), 1 if name == "joint" else 2, 2))
        for name, each in means.items()
    }
    return perdure.Results(arrays)


def test_row_40_gap_closed_is_a_ratio_of_means():
    results = constant(naive=[0.5] * 10, joint=[0.9] * 9 + [0.45], ewc=[0.7] * 10)
    table = results.table(["gap_closed"]).set_index("strategy")
    assert table["mean"]["ewc"] == pytest.approx(0.2 / (0.855 - 0.5))
    level = constant(naive=[0.5, 0.6, 0.5, 0.6, 0.5], joint=[0.6, 0.5, 0.5, 0.6, 0.6], ewc=[0.7] * 5)
    refused(lambda: level.table(["gap_closed"]))


def test_row_41_one_baseline_and_a_note_where_nothing_can_be_significant():
    results = scores([f"method {i}" for i in range(12)], tasks=2, seeds=6)
    assert len(results.compare()) == 11
    assert any("Holm" in line for line in notes(results))


def test_row_42_all_operations_and_samples_count():
    results = compare(TWO, ["naive", "replay(20)", "cumulative"], **SMALL)
    costs = {results.config["kinds"][name]: cost for name, cost in results.costs.items()}
    assert costs["replay"]["samples_seen"] > 1.5 * costs["naive"]["samples_seen"]
    naive, cumulative = (results.metric("compute_efficiency", n)[0] for n in ("naive", "cumulative"))
    assert naive > cumulative


def a_bound_that_lies_below_is_noted(_):
    results = constant(naive=[0.2] * 6, ewc=[0.3] * 6, cumulative=[0.64] * 6, joint=[0.186] * 6)
    assert any("joint lies below" in line and "longer" in line for line in notes(results)), notes(results)


def cumulative_is_a_bound(tmp_path):
    config = {"kinds": {name: name for name in ("naive", "ewc", "cumulative")}}
    results = constant(naive=[0.2] * 6, ewc=[0.3] * 6, cumulative=[0.64] * 6)
    results.config |= config
    results.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    bold = re.findall(r"<(?:strong|b)\b[^>]*>([^<]*)<", page)
    assert not any("0.640" in text for text in bold), bold


@pytest.mark.parametrize("check", [a_bound_that_lies_below_is_noted, cumulative_is_a_bound])
def test_row_43_bounds(check, tmp_path):
    check(tmp_path)


def what_is_not_defined_is_left_out(_):
    made: list[Any] = []
    assert not one_line(lambda: made.append(constant(joint=[0.5] * 5).table(["forgetting"])))
    assert len(made[0]) == 0


def a_rate_at_the_edge_is_noted(_):
    results = compare(TWO, ["naive"], **SMALL, tune={"lr": [1e-6, 1e-5, 0.05]})
    assert any("try larger" in line for line in notes(results)), notes(results)


def a_grid_given_twice_is_refused(run):
    call = ["compare", TWO, "naive", *QUICK, "--seeds", 2, "--tune", "lr=0.1,0.2", "--tune", "lr=0.3,0.4"]
    assert run(*call)[0] == 2


def the_users_own_row_is_named(_):
    ((x, y), second) = arrays(400)
    x[3, 1] = np.nan
    assert "sample 3," in refused(lambda: from_arrays([(x, y), second]))


@pytest.mark.parametrize(
    "check",
    [
        what_is_not_defined_is_left_out,
        a_rate_at_the_edge_is_noted,
        a_grid_given_twice_is_refused,
        the_users_own_row_is_named,
    ],
)
def test_row_44_tables_grids_and_rows(check, monkeypatch, capsys):
    check(partial(command, monkeypatch, capsys))


def overlaps(figure: Any, texts: Any) -> int:
    """Count the pairs of texts of a figure that lie over each other."""
    figure.canvas.draw()
    boxes = [text.get_window_extent().padded(-1) for text in texts if text.get_text().strip()]
    return sum(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])


def names_of_tasks_lie_beside_each_other(monkeypatch):
    names = ["/".join(f"quite a long class {11 * t + c}" for c in range(11)) for t in range(5)]
    figure = drawn(monkeypatch, scores(tasks=5, config={"tasks": names}).plot_forgetting)
    assert overlaps(figure, [axes.title for axes in figure.axes]) == 0


def strategies_end_together(monkeypatch):
    curve = importlib.import_module("perdure.analysis.results").Curve
    points = np.random.default_rng(0).random((2, 4, 2))
    steps = {"naive": [5, 10, 15, 20], "cumulative": [5, 10, 30, 50]}
    curves = {name: curve(np.array(each), np.array([0, 0, 1, 1]), points) for name, each in steps.items()}
    figure = drawn(monkeypatch, scores(steps, tasks=2, curves=curves).plot_curves)
    ends = {max(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) >= 4}
    assert len(ends) == 1, ends


@pytest.mark.parametrize("check", [names_of_tasks_lie_beside_each_other, strategies_end_together])
def test_row_45_figures(check, monkeypatch):
    check(monkeypatch)


def test_row_46_the_report_of_twelve_strategies(tmp_path):
    scores([f"method {i}" for i in range(12)], tasks=2, seeds=6).report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    figure, table = (re.search(what, page) for what in (r"<(svg|img)\b", r"<table\b"))
    assert figure
    assert table
    assert figure.start() < table.start()
    assert page.count("<tr") < 120
    assert "<nav" in page
