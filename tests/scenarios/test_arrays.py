import numpy as np
import pytest
import torch

from perdure.scenarios import Classification, Regression, check_stream, from_arrays

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(40, 3)), np.arange(40) % 2
XT, YT = rng.normal(size=(10, 3)), np.arange(10) % 2


def test_own_test_parts_are_used_as_they_are():
    stream = from_arrays([((X, Y), (XT, YT)), ((X + 1, Y), (XT + 1, YT))])
    assert stream.names == ["task 1", "task 2"]
    assert torch.equal(stream[0].test.x, torch.tensor(XT, dtype=torch.float32))
    assert [len(stream[0].train), len(stream[0].val), len(stream[0].test)] == [36, 4, 10]
    assert stream.outputs == 2
    assert stream[0].objective == Classification()
    check_stream(stream)


def test_a_test_part_is_made_when_there_is_none():
    stream = from_arrays([(X, Y), (torch.tensor(X) * 2, torch.tensor(Y))], names=["a", "b"], name="mine")
    assert [len(stream[0].train), len(stream[0].val), len(stream[0].test)] == [28, 4, 8]
    assert stream.name == "mine"
    check_stream(stream)


@pytest.mark.parametrize("setting", ["class", "task", "joint"])
def test_labels_are_global_classes(setting):
    stream = from_arrays([(X, Y), (X + 1, Y + 2)], setting)
    assert [task.classes for task in stream] == [(0, 1), (2, 3)]
    assert stream.outputs == 4
    check_stream(stream)


def test_real_targets_are_a_regression():
    stream = from_arrays([((X, X[:, 0]), (XT, XT[:, 0])), (X, X[:, 1])])
    assert stream[0].objective == Regression()
    assert stream.outputs == 1
    assert stream[0].train.y.dtype == torch.float32
    check_stream(stream)


def test_outputs_may_be_wider():
    assert from_arrays([(X, Y)], outputs=5).outputs == 5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float16, bool])
def test_any_numbers(dtype):
    stream = from_arrays([((X > 0).astype(dtype), Y.astype(np.uint8)) for _ in range(2)])
    assert stream[0].train.x.dtype == torch.float32
    assert stream[0].train.y.dtype == torch.int64


def test_the_users_arrays_are_copied():
    x = X.astype(np.float32)
    stream = from_arrays([((x, Y), (x + 1, Y))])
    before = stream.fingerprint()
    x[:] = 0
    assert stream.fingerprint() == before


def test_seed_and_online():
    assert from_arrays([(X, Y)]).fingerprint() == from_arrays([(X, Y)]).fingerprint()
    for pair in ((X, Y), ((X, Y), (XT, YT))):
        assert from_arrays([pair]).fingerprint() != from_arrays([pair], seed=1).fingerprint()
    assert from_arrays([(X, Y)], online=True).online


def spoiled(value):
    x = X.copy()
    x[3, 1] = value
    return x


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: from_arrays([]), ["at least one"]),
        (lambda: from_arrays(X), ["list"]),
        (lambda: from_arrays([X]), ["task 'task 1'", "(x, y)"]),
        (lambda: from_arrays([((X, Y), XT)]), ["test part", "(x, y)"]),
        (lambda: from_arrays([(X, Y)], names=["a", "b"]), ["`names`", "1"]),
        (lambda: from_arrays([(X, Y), (X, Y)], names=["a", "a"]), ["different names"]),
        (lambda: from_arrays([(X, Y)], "domains"), ["setting must be"]),
        (lambda: from_arrays([(X, Y)], val=1.0), ["`val`"]),
        (lambda: from_arrays([(X, Y), (spoiled(np.nan), Y)]), ["task 'task 2'", "NaN", "1 values in 1 of"]),
        (lambda: from_arrays([((spoiled(np.inf), Y), (XT, YT))]), ["training part", "sample 3"]),
        (lambda: from_arrays([((X, Y), (XT, YT + 1))], outputs=2), ["test part", "0..1", "such as 2"]),
        (lambda: from_arrays([(X, Y - 1)]), ["labels must be in", "-1"]),
        (lambda: from_arrays([(X, Y[:5])]), ["40 inputs", "5"]),
        (lambda: from_arrays([(X[:0], Y[:0])]), ["at least one sample"]),
        (lambda: from_arrays([((X, Y), (XT[:0], YT[:0]))]), ["test part", "none"]),
        (lambda: from_arrays([(X, Y), (X[:, :2], Y)]), ["shape [3]", "[2]"]),
        (lambda: from_arrays([(X, Y), (X, X[:, 0])]), ["both"]),
        (lambda: from_arrays([(X, X[:, 0])], "class"), ["regression", "'class'"]),
        (lambda: from_arrays([(X, X[:, 0])], outputs=2), ["one output"]),
        (lambda: from_arrays([(X, spoiled(np.nan)[:, 1])]), ["targets must be finite"]),
        (lambda: from_arrays([(X, np.array(["a"] * 40))]), ["numbers"]),
        (lambda: from_arrays([(X, Y)], outputs=0), ["`outputs`"]),
        (lambda: from_arrays([(X, Y * 10**12)]), ["40 samples", "1000000000000"]),
        (lambda: from_arrays([((X[:2], Y[:2]), (XT, YT))]), ["2 samples of a class"]),
        (lambda: from_arrays([(X, Y)], seed="x"), ["seed must be"]),
    ],
)
def test_bad_input(call, words, refuses):
    with refuses(*words):
        call()
