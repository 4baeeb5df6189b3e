import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from perdure import compare
from perdure.scenarios import (
    Classification,
    Objective,
    Part,
    Regression,
    Stream,
    Task,
    check_stream,
    from_arrays,
    get,
    split,
)
from perdure.scenarios.contract.several import Targets


def change(stream, index=0, **parts):
    tasks = list(stream)
    tasks[index] = replace(tasks[index], **parts)
    return stream.with_tasks(tasks)


def spoil(part, **values):
    return replace(part, **values)


def nan_in(part):
    x = part.x.clone()
    x[1, 0] = float("nan")
    return spoil(part, x=x)


class Forgetful(Stream):
    def fingerprint(self):
        return str(id(object())) + str(torch.rand(1).item())


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        (lambda s: "split-digits", ["Stream", "str"]),
        (lambda s: change(s, name="2/3"), ["names", "'2/3'"]),
        (lambda s: change(s, 1, test=spoil(s[1].test, x=s[1].test.x[:, :2])), ["'2/3', test", "[3]", "[2]"]),
        (
            lambda s: change(s, train=spoil(s[0].train, x=s[0].train.x.int())),
            ["floating point", "int32"],
        ),
        (lambda s: change(s, 1, val=spoil(s[1].val, x=s[1].val.x.double())), ["float32", "float64"]),
        (lambda s: change(s, val=s[0].val.take(torch.arange(0))), ["validation part", "none"]),
        (lambda s: change(s, test=nan_in(s[0].test)), ["test part", "NaN", "sample 1"]),
        (lambda s: change(s, train=spoil(s[0].train, y=s[0].train.y.int())), ["int64", "int32"]),
        (lambda s: change(s, train=spoil(s[0].train, y=s[0].train.y + 4)), ["labels", "0..3"]),
        (lambda s: change(s, train=spoil(s[0].train, y=s[0].train.y + 1)), ["`outputs`", "such as 2"]),
        (lambda s: change(s, train=spoil(s[0].train, y=s[0].train.y[1:])), ["[n, ...]"]),
        (lambda s: change(s, outputs=(0, 4)), ["`outputs`", "0..3", "4"]),
        (lambda s: change(s, outputs=(0, 0)), ["different"]),
        (lambda s: change(s, outputs=()), ["`outputs`"]),
        (lambda s: change(s, test=s[0].train), ["test part must be disjoint from the training part"]),
        (lambda s: change(s, val=s[0].train.take(torch.arange(3))), ["validation", "3 of 3"]),
        (lambda s: change(s, test=s[0].val), ["disjoint from the validation"]),
        (
            lambda s: change(s, train=spoil(s[0].train, task=s[0].train.y.float())),
            ["`task`", "int64", "float32"],
        ),
        (lambda s: change(s, train=spoil(s[0].train, task=s[0].train.y + 2)), ["`task` must be in 0..1"]),
        (lambda s: change(s, train=spoil(s[0].train, task=s[0].train.y * 0 + 1)), ["`outputs`"]),
        (lambda s: Forgetful(s.name, s.tasks, s.setting, s.outputs), ["the same each time"]),
        (
            lambda s: change(s, train=spoil(s[0].train, transform=lambda x: x + torch.rand(1))),
            ["the same each time"],
        ),
    ],
)
def test_defects(defect, words, source, refuses):
    stream = split(source, 2)
    check_stream(stream)
    with refuses(*words):
        check_stream(defect(stream))


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (lambda self: torch.ones(2, 4, dtype=torch.bool), ["task setting", "[0, 1]"]),
        (lambda self: torch.ones(4, dtype=torch.bool), ["[2, 4] bool"]),
    ],
)
def test_masks(masks, words, source, refuses, monkeypatch):
    stream = split(source, 2, "task")
    monkeypatch.setattr(Stream, "masks", masks)
    with refuses(*words):
        check_stream(stream)


def test_regression_targets(refuses):
    x = np.random.default_rng(0).normal(size=(30, 2))
    stream = from_arrays([(x, x[:, 0])])
    with refuses("targets must be floating point"):
        check_stream(change(stream, train=spoil(stream[0].train, y=stream[0].train.y.long())))
    with refuses("targets must be finite"):
        check_stream(change(stream, train=spoil(stream[0].train, y=stream[0].train.y / 0)))


def test_natural_repetitions_are_no_overlap(refuses):
    # A table with four different rows: every test row occurs in training, as in every honest split of it.
    x = np.array([[i % 2, i // 2 % 2] for i in range(80)], dtype=float)
    y = np.arange(80) % 2
    check_stream(split((x, y)))
    # Training rows that all differ explain nothing.
    x = np.arange(80.0)[:, None]
    with refuses("disjoint", "of 80"):
        check_stream(split((np.vstack([x, -x - 1]), np.tile(y, 2), x, y), val=0.05), duplicates=0.1)


def test_a_few_shared_samples_are_let_pass_and_can_be_refused(source, refuses):
    stream = split(source, 4)
    train, test = stream[0].train, stream[0].test
    leaky = Part(torch.cat([test.x, train.x[:1]]), torch.cat([test.y, train.y[:1]]))
    leaky = change(stream, test=leaky)
    check_stream(leaky)
    with refuses("1 of 17"):
        check_stream(leaky, duplicates=0.0)


def test_an_objective_of_ones_own_may_label_as_it_likes(source):
    from perdure.scenarios import Objective

    stream = split(source, 2)
    tasks = [
        Task(t.name, *(spoil(p, y=p.y.double()) for p in (t.train, t.val, t.test)), t.outputs, Objective())
        for t in stream
    ]
    check_stream(stream.with_tasks(tasks))


def test_stream_refuses_nothing_to_learn(refuses):
    with refuses("at least one task"):
        Stream("empty", (), "class", 2)
    with refuses("`setting`", "online"):
        Stream("odd", (), "online", 2)


ONES = torch.ones(3, 3)


def with_objective(stream, index, objective):
    return change(stream, index, objective=objective)


@dataclasses.dataclass(frozen=True)
class Weighed(Regression):
    weight: float = 1.0


class Settled(Objective):
    """An objective with what a dataclass does not know of."""

    def __init__(self, weight):
        object.__setattr__(self, "weight", weight)


def test_each_task_has_an_objective_of_its_own(source, refuses):
    def part(real):
        return [(torch.randn(30, 3), torch.randn(30) if real else torch.arange(30) % 2) for _ in range(3)]

    def task(name, objective, outputs, real):
        return Task(name, *(Part(x, y) for x, y in part(real)), outputs, objective)

    classes, real = task("a", Classification(), (0, 1), False), task("b", Regression(), (2,), True)
    for tasks in ((classes, real), (real, classes)):
        check_stream(Stream("mixed", tasks, "task", 3))
    for one in (Weighed(2.0), Settled(1.0), Settled(torch.ones(2))):
        check_stream(Stream("mixed", (classes, real, task("c", one, (2,), True)), "task", 3))
    with refuses("reads 1 outputs", "(0, 1)"):
        check_stream(Stream("mixed", (classes, task("b", Regression(), (0, 1), True)), "task", 3))
    with refuses("as many labels for each sample as the first, 1; found 2"):
        check_stream(
            Stream(
                "mixed", (classes, task("b", Targets((Regression(),) * 2, (1, 1)), (2, 3), True)), "task", 4
            )
        )
    with refuses("bjective"):
        check_stream(with_objective(split(source, 2), 1, 5))


def test_kinds_of_labels(source, refuses):
    stream = split(source, 2)
    real = stream.with_tasks(
        [replace(t, **{p: spoil(getattr(t, p), y=getattr(t, p).y.double()) for p in ("train", "val", "test")},
                 objective=Objective()) for t in stream]
    )  # fmt: skip
    check_stream(real)
    with refuses("'0/1', validation part", "float64", "float32"):
        check_stream(change(real, val=spoil(real[0].val, y=real[0].val.y.float())))
    with refuses("'2/3', test part", "labels must be int64", "float32"):
        check_stream(change(stream, 1, test=spoil(stream[1].test, y=stream[1].test.y.float())))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": None}, ["training part", "Part of tensors"]),
        ({"val": Part(np.ones((3, 3)), np.ones(3))}, ["validation part", "Part of tensors"]),
        ({"outputs": 3}, ["`outputs`", "3"]),
        ({"outputs": ("a", "b")}, ["`outputs`"]),
        ({"train": Part(ONES[0], ONES[0])}, ["[n, ...]"]),
        ({"train": Part(ONES, ONES[0], transform=lambda x: x @ 5)}, ["cannot read the inputs"]),
        ({"train": Part(ONES, ONES[0], transform=lambda x: None)}, ["must give a tensor"]),
    ],
)  # fmt: skip
def test_tasks_of_something_else(changes, words, source, refuses):
    with refuses(*words):
        check_stream(change(split(source, 2), **changes))


def test_streams_of_something_else(source, refuses):
    stream = split(source, 2)
    with refuses("tuple of tasks"):
        Stream("odd", (1, 2), "class", 2)
    with refuses("`outputs`"):
        Stream("odd", stream.tasks, "class", 0)
    with refuses("`online`", "'no'"):
        Stream("odd", stream.tasks, "class", 4, "no")
    with refuses("`setting`"):
        Stream("odd", stream.tasks, np.zeros(2), 4)
    with refuses("two classes"):
        check_stream(split((np.eye(20), np.zeros(20, dtype=int)), 1))


def test_outputs_that_no_task_reads_do_no_harm():
    x = np.random.default_rng(0).normal(size=(30, 2))
    stream = from_arrays([(x, x[:, 0])])
    wide = stream.with_tasks(stream.tasks, outputs=3)
    check_stream(wide)
    assert np.isfinite(compare(wide, "naive", seeds=1, epochs=1, quiet=True).scores["naive"]).all()
    # The tasks that are taken leave the outputs of the others.
    some = get("multitab-bench(samples=100, test_samples=100) | take([3, 1])")
    check_stream(some)
    assert compare(some, "naive", seeds=1, epochs=1, quiet=True).scores["naive"].shape == (1, 2, 2)
