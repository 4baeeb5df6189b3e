import numpy as np
import pytest
import torch

from perdure.scenarios import Source, check_stream, permuted, rotated, split
from perdure.scenarios.contract.transforms import Permute, Rotate


def test_split_covers_every_class_and_every_sample_once(source, sample_ids):
    stream = split(source, classes_per_task=2)
    assert sorted(c for task in stream for c in task.outputs) == [0, 1, 2, 3]
    train = sorted(i for task in stream for part in (task.train, task.val) for i in sample_ids(part))
    assert train == list(range(40))
    assert sorted(i for task in stream for i in sample_ids(task.test)) == list(range(40, 56))


def test_split_keeps_the_label_of_each_sample(source):
    # Sample i of the source has class i % 4.
    for task in split(source, classes_per_task=1):
        for part in (task.train, task.val, task.test):
            assert (part.x[:, 0].long() % 4).tolist() == part.y.tolist()


@pytest.mark.parametrize(
    ("setting", "outputs", "classes"),
    [
        ("class", 4, [(0, 1), (2, 3)]),
        ("joint", 4, [(0, 1), (2, 3)]),
        ("task", 4, [(0, 1), (2, 3)]),
        ("domain", 2, [(0, 1), (0, 1)]),
    ],
)
def test_split_by_setting(source, setting, outputs, classes):
    stream = split(source, 2, setting)
    assert stream.setting == setting
    assert stream.outputs == outputs
    assert [task.outputs for task in stream] == classes
    for task in stream:
        assert sorted(set(task.train.y.tolist())) == list(task.outputs)
    check_stream(stream)


def test_only_the_task_setting_masks(source):
    assert split(source, 2, "task").masks().tolist() == [
        [True, True, False, False],
        [False, False, True, True],
    ]
    assert split(source, 2, "class").masks().all()


def test_validation_is_a_stratified_share(make_source):
    stream = split(make_source(classes=2, each=50), 2, val=0.2)
    assert torch.bincount(stream[0].val.y).tolist() == [10, 10]
    assert torch.bincount(stream[0].train.y).tolist() == [40, 40]


def test_shuffled_classes_depend_on_the_seed(make_source):
    source = make_source(classes=10)
    orders = {
        tuple(c for t in split(source, shuffle_classes=True, seed=s) for c in t.outputs) for s in range(5)
    }
    assert len(orders) > 1
    assert all(sorted(order) == list(range(10)) for order in orders)


def test_split_by_groups_names_and_orders(make_source):
    plain = make_source()
    grouped = Source.build(
        "g", plain.x, plain.y, plain.x_test, plain.y_test, groups=[[3, 1], [0]], group_names=["odd", "zero"]
    )
    stream = split(grouped, setting="domain")
    assert stream.names == ["odd", "zero"]
    assert stream.outputs == 2
    # Class 3 comes first in its group: it is label 0.
    first = stream[0].test
    assert first.y[first.x[:, 0].long() % 4 == 3].unique().tolist() == [0]
    assert split(grouped, classes_per_task=4).names == ["0-3"]
    check_stream(stream)


@pytest.mark.parametrize(
    ("setting", "outputs", "second"), [("domain", 4, range(4)), ("class", 8, range(4, 8))]
)
def test_split_by_domain(make_source, setting, outputs, second):
    plain = make_source(each=20)
    domain, domain_test = plain.x[:, 0].long() // 4 % 2, plain.x_test[:, 0].long() // 4 % 2
    source = Source.build(
        "d", plain.x, plain.y, plain.x_test, plain.y_test,
        domain=domain, domain_test=domain_test, domain_names=["even", "odd"],
    )  # fmt: skip
    stream = split(source, setting=setting)
    assert stream.names == ["even", "odd"]
    assert stream.outputs == outputs
    assert stream[1].outputs == tuple(second)
    for number, task in enumerate(stream):
        assert {int(v) // 4 % 2 for v in task.train.x[:, 0]} == {number}
    check_stream(stream)


def test_permuted_tasks_undo_to_the_first(source):
    stream = permuted(source, tasks=3)
    plain = stream[0].train.inputs()
    assert torch.equal(plain, stream[0].train.x)
    for task in stream.tasks[1:]:
        assert sorted(task.train.transform.order.tolist()) == [0, 1, 2]
        assert torch.equal(task.train.transform.inverse()(task.train.inputs()), plain)


def test_permuted_shares_one_array_and_keeps_the_shape():
    stream = permuted("digits", tasks=3)
    assert stream[2].train.x.data_ptr() == stream[0].train.x.data_ptr()
    assert stream[2].train.inputs().shape[1:] == (1, 8, 8)
    assert not torch.equal(stream[2].train.inputs(), stream[1].train.inputs())
    orders = [task.train.transform.order for task in stream.tasks[1:]]
    assert not torch.equal(*orders)


def test_permute_hand_checked():
    assert Permute(torch.tensor([2, 0, 1]))(torch.tensor([[5.0, 6.0, 7.0]])).tolist() == [[7, 5, 6]]


@pytest.mark.parametrize(
    ("setting", "outputs", "last"), [("domain", 4, 3), ("class", 12, 11), ("task", 12, 11)]
)
def test_permuted_labels(source, setting, outputs, last):
    stream = permuted(source, 3, setting)
    assert stream.outputs == outputs
    assert stream[2].outputs[-1] == last
    assert int(stream[2].test.y.max()) == last
    check_stream(stream)


def test_rotating_four_times_by_90_is_identity():
    x = torch.arange(2 * 3 * 25.0).reshape(2, 3, 5, 5)
    turned = x
    for _ in range(4):
        turned = Rotate(90.0)(turned)
    assert torch.equal(turned, x)
    assert torch.equal(Rotate(180.0)(x), x.flip(-1, -2))


def test_rotation_is_counter_clockwise():
    assert Rotate(90.0)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).tolist() == [[[[2, 4], [1, 3]]]]


@pytest.mark.parametrize("shape", [(6, 6), (7, 7)])
@pytest.mark.parametrize("angle", [90.0, 180.0, 270.0])
def test_interpolation_meets_the_exact_turns(shape, angle):
    x = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Rotate(angle + 1e-9)(x), Rotate(angle)(x), atol=1e-5, rtol=0)


def test_rotation_keeps_the_shape_of_what_is_not_square():
    # A bar along the longer side comes to lie along the shorter one, with the same thickness.
    x = torch.zeros(1, 1, 5, 9)
    x[..., 2, :] = 1.0
    turned = Rotate(90.0)(x)
    assert turned.shape == x.shape
    torch.testing.assert_close(turned.sum((0, 1, 2)), torch.eye(9)[4] * 5, atol=1e-5, rtol=0)


def test_rotation_keeps_the_mass_of_a_blob_and_its_centre():
    x = torch.zeros(1, 1, 21, 21)
    x[..., 9:12, 15:18] = 1.0  # right of the centre
    turned = Rotate(30.0)(x)
    assert float(turned.sum()) == pytest.approx(9.0, rel=0.02)
    rows, columns = torch.meshgrid(torch.arange(21.0) - 10, torch.arange(21.0) - 10, indexing="ij")
    # Counter-clockwise on a screen is up: 6 right becomes 6 cos 30 right and 6 sin 30 up.
    assert float((turned * columns).sum() / turned.sum()) == pytest.approx(6 * np.cos(np.pi / 6), abs=0.05)
    assert float((turned * rows).sum() / turned.sum()) == pytest.approx(-3.0, abs=0.05)


def test_rotated_angles():
    assert rotated("digits").names == ["0°", "36°", "72°", "108°", "144°"]
    stream = rotated("digits", angles=[0, 90])
    x = stream[0].test.inputs()
    assert torch.equal(stream[1].test.inputs(), torch.rot90(x, 1, (-2, -1)))
    check_stream(stream)


@pytest.mark.parametrize("make", [split, permuted, rotated])
def test_same_call_same_fingerprint(make):
    assert make("digits").fingerprint() == make("digits").fingerprint()
    assert make("digits").fingerprint() != make("digits", seed=1).fingerprint()
    assert make("digits", online=True).online


def test_generators_leave_the_global_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    np_before = np.random.get_state()[1].copy()  # noqa: NPY002
    permuted("digits", tasks=2, seed=5)
    assert torch.equal(before, torch.get_rng_state())
    assert (np_before == np.random.get_state()[1]).all()  # noqa: NPY002


def test_frozen_fingerprints():
    # These may change only with the data or the meaning of a stream, and then the changelog says so.
    assert split("digits").fingerprint() == "c21e24703a4b9885"
    assert permuted("digits", tasks=2).fingerprint() == "c92d2f3bff68034c"
    assert rotated("digits", tasks=3).fingerprint() == "d15a7b4939a2afd0"


def test_arrays_are_a_source():
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 4
    check_stream(split((x, y)))
    check_stream(permuted((x, y, x + 1, y)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: split("digits", classes_per_task=3),
            ["`classes_per_task` must divide 10, the number of classes; found 3."],
        ),
        (lambda: split("digits", classes_per_task=0), ["classes_per_task", "at least 1", "found 0"]),
        (lambda: split("digits", classes_per_task=2.5), ["classes_per_task", "2.5"]),
        (lambda: split("digits", setting="clas"), ["setting must be", "class", "'clas'"]),
        (lambda: split("digits", tasks=6), ["`tasks`", "at most 5", "found 6"]),
        (lambda: split("digits", by="groups"), ["groups", "digits"]),
        (lambda: split("digits", by="colour"), ["`by`", "classes, groups, domain", "colour"]),
        (lambda: split("digits", val=0), ["`val`", "(0, 1)", "found 0"]),
        (lambda: split("digits", val=float("nan")), ["val", "nan"]),
        (lambda: split("digits", seed=-1), ["`seed`", "-1"]),
        (lambda: split("digts"), ["unknown source 'digts'", "digits"]),
        (lambda: split(5), ["source", "found 5"]),
        (lambda: permuted("digits", tasks=0), ["`tasks`", "found 0"]),
        (lambda: permuted("digits", setting=None), ["setting must be", "None"]),
        (lambda: rotated("digits", angles=[]), ["`angles`"]),
        (lambda: rotated("digits", angles=[0, 0]), ["`angles`", "different"]),
        (lambda: rotated("digits", angles=[0, float("inf")]), ["angles", "inf"]),
        (lambda: rotated("digits", angles=[0, 10], tasks=3), ["`tasks`", "2", "3"]),
        (lambda: rotated((np.eye(20), np.arange(20) % 2)), ["images", "[16, 20]"]),
    ],
)
def test_bad_arguments(call, words, refuses):
    with refuses(*words):
        call()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ((np.full((10, 2), np.nan), np.arange(10) % 2), ["inputs must be finite", "NaN"]),
        ((np.full((10, 2), 1e300), np.arange(10) % 2), ["finite", "infinite"]),
        ((np.ones((10, 2)), -np.ones(10, dtype=int)), ["labels must be in 0..", "-1"]),
        ((np.ones((10, 2)), np.arange(10) % 2 * 10**12), ["10 samples", "1000000000000"]),
        ((np.ones((10, 2)), np.arange(10) % 2 + 0.5), ["labels", "whole numbers"]),
        ((np.ones((10, 2)), np.arange(9)), ["10 inputs", "found 9"]),
        ((np.ones(10), np.arange(10)), ["inputs", "[10]"]),
        ((np.ones((10, 2)), np.ones((10, 1), dtype=int)), ["labels", "[10, 1]"]),
        ((np.ones((0, 2)), np.ones(0, dtype=int)), ["none"]),
        ((np.ones((10, 0)), np.arange(10) % 2), ["at least one value"]),
        ((np.array([["a"]] * 10), np.arange(10) % 2), ["numbers"]),
        (([[1], [2, 3]], [0, 1]), ["numbers"]),
        ((np.ones((10, 2)) * 1j, np.arange(10) % 2), ["numbers"]),
        ((np.ones((10, 2)), np.arange(10) % 2, np.ones((4, 3)), np.arange(4) % 2), ["shape [2]", "[3]"]),
        ((np.ones((2, 2)), np.arange(2)), ["none"]),
    ],
)
def test_bad_arrays(arrays, words, refuses):
    with refuses(*words):
        split(arrays)


def test_a_class_of_one_sample_trains(refuses):
    # It can be neither tested nor validated on, so a task of its own is refused, and within a task it trains.
    x, y = np.arange(21.0)[:, None], np.array([0] * 20 + [1])
    assert split((x, y))[0].train.y.tolist().count(1) == 1
    with refuses("task '1'", "no"):
        split((x, y), classes_per_task=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": [[0, 1], [1]]}, ["groups", "at most once"]),
        ({"groups": [[0, 9]]}, ["groups"]),
        ({"groups": [[0], [1]], "group_names": ["a"]}, ["name for each of the 2 groups"]),
        ({"groups": [[0], [1]], "group_names": ["a", "a"]}, ["group names must differ"]),
        ({"class_names": ["a"]}, ["labels must be in 0..0"]),
        ({"class_names": ["a", "a"]}, ["class names must differ"]),
        ({"domain": [0, 1]}, ["as many domains"]),
    ],
)
def test_bad_sources(changes, words, refuses):
    with refuses(*words):
        x, y = np.eye(20), np.arange(20) % 2
        test = {"domain_test": [0] * 20} if "domain" in changes else {}
        Source.build("bad", x, y, x, y, **changes, **test)
