"""Images that are kept as bytes give the numbers that they always gave, and take a quarter of the memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from perdure import compare
from perdure.scenarios import (
    Part,
    Source,
    Stream,
    blur,
    check_stream,
    concat,
    imbalance,
    limit,
    noise_labels,
    permuted,
    repeat,
    rotated,
    split,
    take,
)
from perdure.scenarios.contract.transforms import Bytes, Permute

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (120, 1, 6, 6)).astype(np.uint8)
LABELS = np.arange(120) % 4


def sources(invert=False):
    """The same images kept as bytes, and as the numbers that they were before."""
    numbers = IMAGES.astype(np.float32) / np.float32(255)
    kept = Source.build("images", IMAGES, LABELS, scale=Bytes(invert=invert))
    return kept, Source.build("images", 1 - numbers if invert else numbers, LABELS)


@pytest.mark.parametrize("invert", [False, True])
def test_bytes_mean_what_dividing_gave(invert):
    every = torch.arange(256, dtype=torch.uint8)
    expected = np.arange(256, dtype=np.float32) / np.float32(255)
    assert Bytes(invert=invert)(every).numpy().tolist() == (1 - expected if invert else expected).tolist()
    assert torch.equal(Bytes()(every), every.to(torch.float32).div_(255))


MAKERS = {
    "split": split,
    "task": lambda s: split(s, 2, "task"),
    "permuted": lambda s: permuted(s, 3),
    "rotated": lambda s: rotated(s, 3),
    "turned": lambda s: rotated(s, angles=[0, 90]),
    "blur": lambda s: blur(split(s), 0.5),
    "blur permuted": lambda s: blur(permuted(s, 2), 0.5),
    "blur rotated": lambda s: blur(rotated(s, 2), 0.5),
    "operators": lambda s: take(repeat(noise_labels(imbalance(limit(split(s), 40), 0.5), 0.1)), [0, 3]),
    "concat": lambda s: concat(split(s), split(s, seed=1)),
}


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_streams_have_the_fingerprint_they_had(name, invert):
    kept, plain = (MAKERS[name](source) for source in sources(invert))
    check_stream(kept)
    assert kept.fingerprint() == plain.fingerprint()


def test_what_can_wait_stays_bytes():
    kept, _ = sources()
    for stream in (split(kept), permuted(kept), blur(permuted(kept, 2)), limit(split(kept), 9)):
        for task in stream:
            assert task.train.in_bytes().dtype == torch.uint8
            assert task.train.x.dtype == torch.uint8
    assert rotated(kept, 3)[1].train.in_bytes() is None


@pytest.mark.parametrize(
    ("strategy", "dtype"), [("naive", "float64"), ("replay(20)", "float32"), ("icarl(20)", "float32")]
)
def test_results_are_the_same_to_the_last_digit(strategy, dtype):
    scores = []
    for source in sources(invert=True):
        stream = permuted(source, 2) if strategy == "naive" else split(source)
        scores.append(
            compare(stream, [strategy], model="mlp(hidden=[8])", seeds=2, epochs=2, dtype=dtype, quiet=True)
        )
    (name,) = scores[0].strategies
    np.testing.assert_array_equal(scores[0].scores[name], scores[1].scores[name])
    assert scores[0].config["fingerprint"] == scores[1].config["fingerprint"]
    assert scores[0].costs[name]["state_bytes"] == scores[1].costs[name]["state_bytes"]


def test_samples_stay_bytes_on_the_device():
    from perdure.engine.data import Place
    from perdure.engine.fetching import scored

    kept, plain = sources()
    place = Place(torch.device("cpu"), torch.float64, Bytes())
    data = place.train(permuted(kept, 2), [0, 1])
    assert data.rows["x"].dtype == torch.uint8
    numbers = place.numbers(data.rows["x"])
    assert numbers.dtype == torch.float64
    assert torch.equal(
        numbers, Place(torch.device("cpu"), torch.float64).train(permuted(plain, 2), [0, 1]).rows["x"]
    )
    stream = split(kept)
    chunks = scored(place, stream, [task.test for task in stream], 16).chunks
    assert {rows["x"].dtype for rows, _ in chunks} == {torch.uint8}


def test_parts_of_several_scales_become_numbers():
    kept, _ = sources()
    inverse = replace(kept, scale=Bytes(invert=True))
    stream = concat(split(kept), split(inverse))
    check_stream(stream)
    results = compare(stream, ["naive", "joint"], model="mlp(hidden=[4])", seeds=2, epochs=1, quiet=True)
    assert np.isfinite(results.scores["naive"]).all()


def test_bytes_need_a_scale_and_a_scale_needs_bytes(refuses):
    kept, plain = sources()
    with refuses("bytes must be uint8"):
        Source.build("images", plain.x, plain.y, scale=Bytes())
    bare = split(kept)
    tasks = [replace(task, train=replace(task.train, scale=None)) for task in bare]
    with refuses("floating point, or token ids", "uint8"):
        check_stream(bare.with_tasks(tasks))
    tasks = [replace(task, train=replace(task.train, x=task.train.inputs())) for task in bare]
    with refuses("must be bytes (uint8)", "float32"):
        check_stream(bare.with_tasks(tasks))


def test_other_inputs_are_as_the_model_sees_them():
    kept, _ = sources()
    turned = permuted(kept, tasks=2)
    wide = [task.map_parts(lambda part: part.with_inputs(part.inputs().flatten(1)[:, :2])) for task in turned]
    for task, before in zip(turned.with_tasks(wide), turned, strict=True):
        assert torch.equal(task.train.inputs(), before.train.inputs().flatten(1)[:, :2])
        assert torch.equal(task.train.y, before.train.y)
    check_stream(turned.with_tasks(wide))


def test_overlaps_are_found_though_one_part_is_bytes_and_the_other_numbers(refuses):
    kept, _ = sources()
    stream = split(kept)
    train = stream[0].train
    tasks = [replace(stream[0], test=Part(train.inputs(), train.y)), *list(stream)[1:]]
    with refuses("disjoint"):
        check_stream(Stream("leak", tuple(tasks), "class", 4))


def test_pieces_of_a_part_are_the_whole():
    part = Part(
        torch.arange(40.0).reshape(10, 4), torch.zeros(10), transform=Permute(torch.tensor([3, 1, 0, 2]))
    )
    assert torch.equal(torch.cat(list(part.read(3))), part.inputs())
    assert len(list(part.take(torch.arange(0)).read(3))) == 1
