import numpy as np
import pandas as pd
import pytest
import torch

from perdure.scenarios import Classification, Regression, check_stream, from_arrays, permuted, split

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(40, 3)), np.arange(40) % 2
NAMES = np.array(["cat", "ant"])[Y]
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
    assert [task.outputs for task in stream] == [(0, 1), (2, 3)]
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


@pytest.mark.parametrize("label", [10**9, 2**62])
def test_labels_far_beyond_the_outputs_are_refused_before_any_list_of_them(label, refuses):
    with refuses("labels must be in 0..7", str(label)):
        from_arrays([(np.zeros((12, 3)), np.arange(12) % 2 * label)], "domain", outputs=8)


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
        (lambda: from_arrays([(X, X[:, 0])], "class"), ["regression", "'class'"]),
        (lambda: from_arrays([(X, X[:, 0])], outputs=2), ["`outputs` must be 1", "found 2"]),
        (lambda: from_arrays([(X, spoiled(np.nan)[:, 1])]), ["targets must be finite"]),
        (lambda: from_arrays([(X, X.astype(str)[:, 0])]), ["names of classes must recur", "40"]),
        (lambda: from_arrays([(X, ["a", None] * 20)]), ["must have a label", "20 of 40", "sample 1 "]),
        (lambda: from_arrays([(X, NAMES), (X, Y)]), ["task 2", "names elsewhere", "numbers here"]),
        (lambda: from_arrays([(X, NAMES)], objective="regression"), ["labels that are numbers", "names"]),
        (lambda: from_arrays([(X, np.array([1, "a"] * 20, dtype=object))]), ["all numbers or all names"]),
        (lambda: from_arrays([(X, X[:, 0])], objective="classification"), ["must be whole numbers"]),
        (lambda: from_arrays([(X, Y)], objective="clasification"), ["unknown objective", "classification"]),
        (lambda: from_arrays([(X, Y)], objective="regression(f1)"), ["Regression", "r2", "'f1'"]),
        (lambda: from_arrays([(X, Y)], objective=5), ["objective must be", "5"]),
        (lambda: from_arrays([(X, Y)], objective=["regression"] * 2), ["each of the 1 tasks", "2"]),
        (lambda: from_arrays([(X, X)], objective=["regression"] * 2), ["each of the 3 labels", "2"]),
        (lambda: from_arrays([(X, X), (X, Y)]), ["as many labels", "3", "found 1"]),
        (lambda: from_arrays([(X, spoiled(np.inf))]), ["target 1 must be finite", "sample 3"]),
        (lambda: from_arrays([(X, X * [1, 1, np.nan])]), ["target 2 must have a label", "missing"]),
        (lambda: from_arrays([(X, X)], "class"), ["`setting` must be task, domain or joint"]),
        (lambda: from_arrays([(X, Y)], outputs=0), ["`outputs`"]),
        (lambda: from_arrays([(X, Y * 10**12)]), ["40 samples", "1000000000000"]),
        (lambda: from_arrays([((X[:2], Y[:2]), (XT, YT))]), ["2 samples of a class"]),
        (lambda: from_arrays([(X, Y)], seed="x"), ["seed must be"]),
    ],
)
def test_bad_input(call, words, refuses):
    with refuses(*words):
        call()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [40, 400])
def test_what_is_not_finite_is_named_by_the_users_own_row(value, n, refuses):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 3)), np.arange(n) % 2
    x[3, 1] = value
    for make in (
        lambda: from_arrays([(x, y)]),
        lambda: from_arrays([((x, y), (XT, YT))]),
        lambda: from_arrays([((XT, YT), (x, y))]),
        lambda: split((x, y)),
        lambda: permuted((XT, YT, x, y)),
    ):
        with refuses("sample 3, column 1 ", "1 values in 1 of"):
            make()
    with refuses("targets must be finite", "sample 3 "):
        from_arrays([(np.ones((n, 2)), x[:, 1])])
    with refuses("sample 3, at [0, 1]"):
        split((x.reshape(n, 1, 3), y))


SAME = [
    X[::-1][::-1],
    np.asfortranarray(X),
    X.astype(">f8"),
    X.astype(np.longdouble),
    torch.tensor(X),
    torch.tensor(X, requires_grad=True),
    np.ma.masked_array(X, mask=False),
    pd.DataFrame(X, index=range(5, 45)),
]


@pytest.mark.parametrize("x", SAME, ids=range(len(SAME)))
def test_the_same_numbers_in_another_form(x):
    labels = [
        Y,
        Y[::-1][::-1],
        Y.astype(">i4"),
        Y.astype(np.uint64),
        Y.tolist(),
        pd.Series(Y, index=range(5, 45)),
        Y > 0,
    ]
    for y in labels:
        assert from_arrays([(x, y)]).fingerprint() == from_arrays([(X, Y)]).fingerprint()


ODD = [
    np.ma.masked_array(X, mask=X > 1),
    X.astype(complex),
    X.astype(str),
    X.astype(object),
    np.array(["2020-01-01"] * 120, dtype="M8[D]").reshape(40, 3),
    pd.DataFrame({"a": ["x"] * 40, "b": 1}),
    torch.tensor(X).to_sparse(),
    torch.tensor(X).to(torch.complex64),
    torch.empty(40, 3, device="meta"),
    np.full((40, 3), 2**63 + 5, dtype=np.uint64),
    [[10**30] * 3] * 40,
    [torch.ones(2), torch.ones(3)] * 20,
    {"a": X},
    None,
    "x",
    X[0],
    X[0, 0],
    X[:, :0],
]


# Names are labels, and so are tables of names and numbers.
LABELS = [x for x in ODD if not isinstance(x, pd.DataFrame) and getattr(x, "dtype", None) != np.dtype(object)]


@pytest.mark.parametrize("x", ODD, ids=range(len(ODD)))
def test_what_is_no_array_of_numbers(x, refuses):
    with refuses("task 'task 1'"):
        from_arrays([(x, Y)])
    with refuses("source 'arrays'"):
        split((x, Y))


@pytest.mark.parametrize("y", LABELS, ids=range(len(LABELS)))
def test_what_is_no_array_of_labels(y, refuses):
    with refuses("task 'task 1'"):
        from_arrays([(X, y)])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: from_arrays([(X, Y)], online="no"), ["online must be", "'no'"]),
        (lambda: split((X, Y), shuffle_classes="False"), ["shuffle_classes must be", "'False'"]),
        (lambda: split((X, Y), shuffle_classes=2.5), ["shuffle_classes must be", "2.5"]),
        (lambda: permuted((X, Y), online=1), ["online must be", "1"]),
        (lambda: from_arrays([(X, Y)], names=5), ["names must be", "5"]),
        (lambda: from_arrays([(X, Y)], names="a"), ["names must be", "'a'"]),
        (lambda: from_arrays([(X, Y)], names=[None]), ["names must be", "None"]),
        (lambda: from_arrays([(X, Y)], outputs=10**30), ["outputs must be"]),
        (lambda: permuted((X, Y), tasks=10**9), ["`tasks`", "at most"]),
        (lambda: split((X, Y, None, Y)), ["test labels", "neither"]),
        (lambda: split((X, Y, X, None)), ["test labels", "neither"]),
        (lambda: split((X, Y), by=np.zeros(2)), ["by must be"]),
        (lambda: split((X * 1e300, Y)), ["finite as float32", "infinite"]),
    ],
)
def test_odd_arguments(call, words, refuses):
    with refuses(*words):
        call()


def test_shares_and_counts_of_numpy():
    stream = from_arrays([(X, Y)], val=np.float32(0.25), seed=np.int64(1))
    assert len(stream[0].val) == len(from_arrays([(X, Y)], val=0.25)[0].val)
