"""Streams of torch datasets: samples that are fetched when they are needed."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from perdure import PerdureError
from perdure.scenarios import ImageFiles, blur, check_stream, from_datasets, limit, noise_labels, sources
from perdure.scenarios.contract.fetched import Fetched

X, Y = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2


class Counted(Dataset[Any]):
    """Says its labels beforehand, and counts how often its items are read."""

    def __init__(self, x=X, targets=Y, said=None):
        self.x, self.y, self.read = x, targets, 0
        self.targets = targets if said is None else said

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        self.read += 1
        return self.x[i], int(self.y[i])


def test_labels_are_read_without_the_samples():
    train, test = Counted(), Counted()
    stream = from_datasets([(train, test)], workers=0)
    assert max(train.read, test.read) < 20
    assert sorted(stream[0].train.y.tolist() + stream[0].val.y.tolist()) == [0] * 10 + [1] * 10
    part = stream[0].train
    assert torch.equal(part.inputs(), X[part.x])
    assert torch.equal(torch.cat(list(part.read(7))), X[part.x])
    check_stream(stream)


@pytest.mark.parametrize("said", [torch.zeros(20), [[0]] * 20, "letters", None], ids=str)
def test_labels_that_a_dataset_says_and_does_not_give_are_not_believed(said):
    stream = from_datasets([(Counted(said=said), Counted())], workers=0)
    assert sorted(stream[0].train.y.tolist() + stream[0].val.y.tolist()) == [0] * 10 + [1] * 10


def test_datasets_made_of_others_say_their_labels_too():
    whole = Counted()
    halves = ConcatDataset([Subset(whole, range(10)), Subset(whole, range(10, 20))])
    stream = from_datasets([halves], workers=0)
    assert whole.read < 20
    assert len(stream[0].train) + len(stream[0].val) + len(stream[0].test) == 20
    check_stream(stream)


def test_labels_that_count_alike_become_outputs_of_each_task():
    stream = from_datasets([(Counted(), Counted())] * 2, "task", workers=0)
    assert [t.outputs for t in stream] == [(0, 1), (2, 3)]
    assert stream[1].test.y.min() == 2


def test_images_of_pillow_and_bytes_are_scaled_where_they_are_read():
    images = [(Image.fromarray(np.full((4, 5, 3), 51 * (i % 6), np.uint8)), i % 2) for i in range(12)]
    stream = from_datasets([(images, images)], workers=0)
    assert stream.input_shape == (3, 4, 5)
    part = stream[0].test
    assert torch.allclose(part.inputs()[:, 0, 0, 0], torch.arange(12) % 6 * 0.2)


def test_only_training_samples_are_augmented():
    def noisy(x, draws):
        return x + draws[:3]

    task = from_datasets([(Counted(), Counted())], augment=noisy, draws=3, workers=0)[0]
    assert isinstance(task.train, Fetched)
    assert task.train.augment is noisy
    assert task.val.augment is None
    assert task.test.augment is None
    draws = torch.rand(len(task.train), 3)
    assert torch.equal(task.train.loaded(draws).x, X[task.train.x] + draws)


def test_operators_that_choose_samples_read_none():
    data = Counted()
    stream = from_datasets([(data, data)], workers=0)
    before = data.read
    few = noise_labels(limit(stream, 6), 0.5)
    assert len(few[0].train) == 6
    assert data.read == before


def test_two_parts_do_not_share_items_of_one_dataset():
    data = Counted()
    with pytest.raises(PerdureError, match=r"test part must be disjoint from .* items are in both"):
        check_stream(from_datasets([(data, data)], workers=0))


def test_the_fingerprint_is_that_of_labels_and_of_a_few_samples():
    def of(**changes):
        return from_datasets([(Counted(**changes), Counted())], workers=0).fingerprint()

    assert of() == of()
    assert of() != of(x=X + 1)
    assert of() != of(targets=1 - Y)


class Broken(Counted):
    """Its item 7 cannot be read."""

    def __getitem__(self, i):
        if i == 7:
            raise OSError("the disk is gone")
        return super().__getitem__(i)


class Restless(Counted):
    """Gives another sample each time."""

    def __getitem__(self, i):
        return torch.randn(3), int(self.y[i])


LETTERS = Counted(targets=np.array(list("ab" * 10)))
WRONG = {
    r"task 'task 1', training part: expected a dataset with a length and an index; found int": 3,
    r"expected at least one sample; found none": [],
    r"item 0 must be a pair \(x, y\); found Tensor": X,
    r"must be the same each time it is read.*give them as `augment`": Restless(),
    r"item 19 must be a pair \(x, y\); found NoneType": [(X[0], 0)] * 19 + [None],
    r"item 1 must be \[3\] float32 like the first one; found \[2\] float32": [(X[0], 0), (X[0, :2], 1)],
    r"item 1 must be finite; found NaN": [(X[0], 0), (X[0] / 0, 1)],
    r"labels must be": TensorDataset(X, torch.ones(20, 2, dtype=torch.int64)),
    r"an input must be \[features\]": [(1.0, 0)] * 4,
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_no_dataset_of_samples_is_one_line(message):
    with pytest.raises(PerdureError, match=message) as found:
        from_datasets([(WRONG[message], Counted())], workers=0)
    assert "\n" not in str(found.value)


def test_an_item_that_breaks_names_itself():
    stream = from_datasets([(Broken(), Counted())], workers=0)
    part = stream[0].train if 7 in stream[0].train.x else stream[0].val
    with pytest.raises(PerdureError, match="training part: item 7 cannot be read: the disk is gone"):
        part.inputs()


def test_what_needs_all_samples_at_once_is_refused():
    stream = from_datasets([(Counted(), Counted())] * 2, workers=0)
    with pytest.raises(PerdureError, match="blur needs all samples in memory"):
        blur(stream)


def test_numbers_are_held_against_their_ranges():
    for wrong in ({"workers": -1}, {"draws": 0}, {"val": 1.0}, {"augment": 3}):
        with pytest.raises(PerdureError, match=f"{next(iter(wrong))}"):
            from_datasets([(Counted(), Counted())], **wrong)


@pytest.fixture
def folder(tmp_path):
    """Five small images of each of two classes."""
    draws = np.random.default_rng(0)
    for i in range(10):
        file = tmp_path / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (4, 4, 3), np.uint8)).save(file)
    return tmp_path


def test_image_files_are_what_the_source_of_images_reads(folder):
    files, whole = ImageFiles.below(folder, 4, channels=3), sources.images(folder, 4, channels=3, test=folder)
    order = [whole.x.tolist().index(files[i][0].tolist()) for i in range(10)]
    assert sorted(order) == list(range(10))
    assert files.targets.tolist() == [int(whole.y[i]) for i in order]
    stream = from_datasets([files], workers=0)
    assert stream.input_shape == (3, 4, 4)
    part = stream[0].train
    assert torch.equal(part.inputs(), torch.stack([files[i][0] for i in part.x.tolist()]).float() / 255)


def test_image_files_are_told_apart_by_names_and_sizes(folder):
    def of():
        return ImageFiles.below(folder, 4).digest()

    before = of()
    assert of() == before
    (folder / "a" / "0.png").write_bytes(b"short")
    assert of() != before


def test_a_file_that_is_no_image_names_itself(folder):
    (folder / "a" / "4.png").write_bytes(b"nothing")
    part = from_datasets([(ImageFiles.below(folder, 4),) * 2], workers=0)[0].test
    with pytest.raises(PerdureError, match=r"test part: item 2 cannot be read: cannot read the image .*4"):
        part.inputs()


def test_image_files_need_a_class_each(folder):
    with pytest.raises(PerdureError, match="2 files need as many targets; found 1"):
        ImageFiles(["a.png", "b.png"], [0])
    with pytest.raises(PerdureError, match="`channels` must be 1"):
        ImageFiles(["a.png"], [0], channels=2)
    with pytest.raises(PerdureError, match="of the classes of the training part in the test"):
        ImageFiles.below(folder, part="test")
