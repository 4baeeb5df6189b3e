from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from perdure.scenarios import (
    blur,
    check_stream,
    concat,
    from_arrays,
    imbalance,
    limit,
    noise_labels,
    permuted,
    repeat,
    rotated,
    split,
    take,
)


def rows(stream, which="train"):
    parts = [getattr(task, which) for task in stream]
    return Counter((x.numpy().tobytes(), int(y)) for p in parts for x, y in zip(p.inputs(), p.y, strict=True))


@pytest.mark.parametrize("make", [split, permuted, rotated])
@pytest.mark.parametrize("width", [0.1, 0.5])
def test_blur_conserves_samples(make, width):
    stream = make("digits", tasks=3)
    soft = blur(stream, width)
    assert rows(soft) == rows(stream)
    assert [len(task.train) for task in soft] == [len(task.train) for task in stream]
    assert rows(soft, "val") == rows(stream, "val")
    check_stream(soft)


def test_blur_says_where_samples_come_from(make_source):
    source = make_source(classes=4, each=200)
    soft = blur(split(source, 1), 0.4)
    for index, task in enumerate(soft):
        assert torch.equal(task.train.task, task.train.y)
        assert set(task.train.task.tolist()) <= {index - 1, index, index + 1}


def test_blur_ramps(make_source):
    source = make_source(classes=2, each=5000)
    soft = blur(split(source, 1), 0.5)
    left = (soft[0].train.task == 1).double()
    n = len(left)
    w = n // 2
    assert left[: n - w].sum() == 0
    # The expected share of the other task grows linearly from 0 to 1/2 at the boundary.
    expected = 0.5 * (torch.arange(w, dtype=torch.float64) + 0.5) / w
    for quarter in range(4):
        some = slice(n - w + quarter * w // 4, n - w + (quarter + 1) * w // 4)
        mean = expected[some.start - (n - w) : some.stop - (n - w)].mean()
        assert float(left[some].mean()) == pytest.approx(float(mean), abs=4 * (0.25 / (w / 4)) ** 0.5)
    assert left.sum() == (soft[1].train.task == 0).sum()


def test_repeat_brings_the_same_samples_again():
    stream = split("digits", tasks=2)
    again = repeat(stream, 3)
    assert again.names == ["0/1", "2/3", "0/1 (again)", "2/3 (again)", "0/1 (again 2)", "2/3 (again 2)"]
    assert again[2].train.x is stream[0].train.x
    assert again[4].test.x is stream[0].test.x
    assert again.outputs == stream.outputs
    check_stream(again)
    soft = repeat(blur(stream))
    assert set(soft[3].train.task.tolist()) == {2, 3}
    check_stream(soft)


def test_imbalance_counts(make_source):
    stream = imbalance(split(make_source(classes=3, each=1000), 3, val=0.1), 0.01)
    assert torch.bincount(stream[0].train.y).tolist() == [900, 90, 9]
    assert torch.bincount(stream[0].val.y).tolist() == [100, 100, 100]
    check_stream(stream)


def test_imbalance_keeps_one_and_leaves_single_classes_alone(make_source):
    assert torch.bincount(imbalance(split(make_source(), 4), 1e-6)[0].train.y).tolist() == [9, 1, 1, 1]
    assert [len(task.train) for task in imbalance(split(make_source(), 1), 0.1)] == [9] * 4


@pytest.mark.parametrize("setting", ["class", "domain", "task"])
def test_noise_stays_within_the_task_and_the_rate(setting, make_source):
    clean = split(make_source(classes=6, each=1000), 3, setting)
    noisy = noise_labels(clean, 0.3)
    check_stream(noisy)
    for before, after in zip(clean, noisy, strict=True):
        changed = before.train.y != after.train.y
        n = len(changed)
        assert float(changed.double().mean()) == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / n) ** 0.5)
        # Symmetric: both wrong labels of each class are equally likely.
        for c in before.outputs:
            wrong = after.train.y[changed & (before.train.y == c)]
            counts = [int((wrong == other).sum()) for other in before.outputs if other != c]
            assert abs(counts[0] - counts[1]) < 5 * sum(counts) ** 0.5
        assert torch.equal(before.test.y, after.test.y)
        assert torch.equal(before.val.y, after.val.y)


def test_noise_extremes_and_soft_boundaries():
    stream = split("digits", tasks=3)
    assert noise_labels(stream, 0).fingerprint() == stream.with_tasks(stream.tasks).fingerprint()
    assert not (noise_labels(stream, 1.0)[0].train.y == stream[0].train.y).any()
    # A sample from another task gets a label of that task.
    check_stream(noise_labels(blur(stream, 0.5), 1.0))


def test_take():
    stream = split("digits")
    assert take(stream, 2).names == ["0/1", "2/3"]
    assert take(stream, [4, 0]).names == ["8/9", "0/1"]
    assert take(stream, 2).outputs == 10
    check_stream(take(stream, [4, 0]))


def test_take_leaves_out_samples_of_tasks_that_are_gone():
    soft = blur(split("digits"), 0.5)
    some = take(soft, [2, 1])
    check_stream(some)
    assert set(some[0].train.task.tolist()) == {0, 1}
    assert len(some[0].train) < len(soft[2].train)
    assert not (some[1].train.y < 2).any()


@pytest.mark.parametrize(
    ("setting", "outputs", "classes"),
    [("class", 20, (10, 11)), ("task", 20, (10, 11)), ("joint", 20, (10, 11)), ("domain", 2, (0, 1))],
)
def test_concat(setting, outputs, classes):
    first, second = split("digits", setting=setting), blur(split("digits", setting=setting, seed=1))
    both = concat(first, second)
    assert len(both) == 10
    assert both.outputs == outputs
    assert both[5].outputs == classes
    assert both.names[5] == "0/1 (2)"
    assert set(both[5].train.task.tolist()) == {5, 6}
    check_stream(both)


def test_concat_of_regressions_shares_the_output():
    x = np.random.default_rng(0).normal(size=(30, 2))
    stream = from_arrays([(x, x[:, 0])], "joint")
    assert concat(stream, stream).outputs == 1


def test_limit_keeps_the_shares(make_source):
    stream = limit(split(make_source(classes=2, each=100), 2), 40)
    assert torch.bincount(stream[0].train.y).tolist() == [20, 20]
    assert len(stream[0].test) == 8
    assert len(limit(stream, 1000)[0].train) == 40
    x = np.random.default_rng(0).normal(size=(30, 2))
    assert len(limit(from_arrays([(x, x[:, 0])]), 5)[0].train) == 5
    check_stream(stream)


@pytest.mark.parametrize(
    "operator", [blur, imbalance, noise_labels, lambda s, seed=0: limit(s, 50, seed=seed)]
)
def test_operators_depend_on_their_seed_alone_and_change_nothing(operator):
    stream = split("digits")
    before = stream.fingerprint()
    prints = [operator(stream, seed=seed).fingerprint() for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    assert stream.fingerprint() == before
    assert before != prints[0]


def regression():
    x = np.random.default_rng(0).normal(size=(30, 2))
    return from_arrays([(x, x[:, 0])])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: blur(s, 0), ["`width`", "(0, 0.5]", "found 0"]),
        (lambda s: blur(s, 0.6), ["`width`", "found 0.6"]),
        (lambda s: blur(s, "a"), ["width", "'a'"]),
        (lambda s: repeat(s, 0), ["`times`", "found 0"]),
        (lambda s: repeat(s, 1.5), ["times", "whole number"]),
        (lambda s: repeat(split("digits", online=True)), ["online"]),
        (lambda s: imbalance(s, 0), ["`factor`", "(0, 1]"]),
        (lambda s: imbalance(regression()), ["`imbalance` needs classes"]),
        (lambda s: noise_labels(s, 1.1), ["`rate`", "[0, 1]"]),
        (lambda s: noise_labels(regression()), ["`noise_labels` needs classes"]),
        (lambda s: noise_labels(split("digits", 1)), ["two classes", "'0'"]),
        (lambda s: take(s, 6), ["at most 5", "found 6"]),
        (lambda s: take(s, 0), ["`tasks`"]),
        (lambda s: take(s, 10**12), ["`tasks`", "at most"]),
        (lambda s: take(s, [0, 0]), ["different"]),
        (lambda s: take(s, [5]), ["0..4"]),
        (lambda s: take(s, [-1]), ["-1"]),
        (lambda s: take(s, []), ["found []"]),
        (lambda s: take(s, "ab"), ["'ab'"]),
        (lambda s: limit(s, 0), ["`samples`"]),
        (lambda s: concat(s, split("digits", setting="domain")), ["same setting", "class", "domain"]),
        (lambda s: concat(s, split((np.eye(20), np.arange(20) % 2))), ["same input shape", "[20]"]),
        (lambda s: concat(s, split("digits", online=True)), ["same online"]),
        (
            lambda s: concat(split((np.ones((20, 2)), np.arange(20) % 2), setting="domain"), regression()),
            ["same kind of task"],
        ),
        (lambda s: blur(s, seed=-3), ["`seed`", "-3"]),
    ],
)
def test_bad_arguments(call, words, refuses):
    with refuses(*words):
        call(split("digits"))


def test_operators_keep_what_else_a_task_says():
    stream = split("digits", tasks=2)
    stream = stream.with_tasks([replace(task, info={"note": 1}) for task in stream])
    for changed in (
        blur(stream),
        repeat(stream),
        concat(stream, stream),
        noise_labels(stream),
        limit(stream, 9),
    ):
        assert all(task.info == {"note": 1} for task in changed)


NEEDING_STREAMS = [
    blur,
    repeat,
    imbalance,
    noise_labels,
    lambda s: take(s, 1),
    lambda s: limit(s, 5),
    lambda s: concat(s, split("digits")),
    lambda s: concat(split("digits"), s),
]


@pytest.mark.parametrize("operator", NEEDING_STREAMS)
@pytest.mark.parametrize("stream", [None, "split-digits", 5, []])
def test_what_is_no_stream(operator, stream, refuses):
    with refuses("must be a Stream", repr(stream)):
        operator(stream)


def test_more_tasks_than_anybody_means(refuses):
    with refuses("`times`", "at most"):
        repeat(split("digits"), 10**9)
