"""Training on samples that are fetched: the same as in memory, ahead of time, augmented by seed and step."""

import multiprocessing
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from perdure import PerdureError, compare
from perdure.engine import fetching
from perdure.experiment import make_engine
from perdure.scenarios import ImageFiles, from_datasets
from perdure.strategies import Strategy, get
from perdure.strategies.contract.external import External
from perdure.training import make_settings

pytestmark = pytest.mark.usefixtures("without_report")

RUN = {"seeds": 2, "epochs": 2, "batch_size": 4, "model": "mlp(hidden=[4])", "dtype": "float64"}
CALL = {**RUN, "quiet": True, "keep": True}
# What `make_settings` takes besides.
OTHERS = {
    "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant", "device": "cpu",
    "precision": None, "pretrained": False, "eval_every": None,
}  # fmt: skip
EVERY = ["naive", "replay(capacity=10)", "ewc(strength=10)"]
# These take samples of a task at its end.
TAKING = ["replay(capacity=10, policy=class)", "gdumb(capacity=10)", "icarl(capacity=10)", "gem", "agem"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty images of 4 x 4 pixels, of two classes, for two tasks."""
    place, draws = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(60):
        file = place / f"task{i % 2}" / "ab"[i // 2 % 2] / f"{i:02}.png"
        file.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(draws.integers(0, 256, (4, 4, 3), np.uint8)).save(file)
    return place


def of_files(folder, **changes):
    tasks = [ImageFiles.below(folder / f"task{t}", 4, channels=3) for t in range(2)]
    return from_datasets(tasks, **{"workers": 0, **changes})


def in_memory(stream):
    """The same stream with all its samples in memory."""
    return stream.with_tasks([task.map_parts(lambda part: part.loaded()) for task in stream])


def turned(x, draws):
    """Turn an image over, at random, and change its brightness."""
    return (x.flip(-1) if draws[0] < 0.5 else x) // (1 + int(draws[1] * 3))


def difference(a, b):
    """The largest difference of weights and scores between two runs."""
    found = [abs(a.scores[name] - b.scores[name]).max() for name in a.scores]
    for name in a.scores:
        one, other = (run.trained[name].replica.params for run in (a, b))
        found += [float((one[k] - other[k]).abs().max()) for k in one]
    return max(found)


@pytest.mark.parametrize("workers", [0, 1])
def test_fetched_equals_in_memory(folder, workers):
    stream = of_files(folder, workers=workers)
    assert difference(compare(in_memory(stream), EVERY, **CALL), compare(stream, EVERY, **CALL)) < 1e-12
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("strategy", TAKING)
def test_samples_that_are_taken_at_the_end_of_a_task_are_the_same(folder, strategy):
    stream = of_files(folder)
    assert difference(compare(in_memory(stream), strategy, **CALL), compare(stream, strategy, **CALL)) < 1e-12


def test_what_transforms_change_is_the_same(folder):
    """Pixels that change places are kept as bytes; other transforms make numbers of them on the host."""
    base = of_files(folder)
    for moves in (True, False):

        def transform(x, moves=moves):
            return x.flip(-1) if moves else 1 - x

        transform.moves = moves
        changed = [task.map_parts(lambda part: replace(part, transform=transform)) for task in base]
        stream = base.with_tasks(changed)
        assert (
            difference(compare(in_memory(stream), "naive", **CALL), compare(stream, "naive", **CALL)) < 1e-12
        )


def test_a_resumed_run_is_augmented_as_the_whole(folder, tmp_path, monkeypatch):
    stream = of_files(folder, augment=turned, draws=2)
    whole = compare(stream, EVERY[:2], **CALL)
    assert difference(whole, compare(of_files(folder), EVERY[:2], **CALL)) > 0.01
    after = fetching.FetchedData.of.__func__

    def stops(cls, place, stream, tasks, *rest):
        if tasks == (1,):
            raise KeyboardInterrupt
        return after(cls, place, stream, tasks, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(fetching.FetchedData, "of", classmethod(stops))
        with pytest.raises(KeyboardInterrupt):
            compare(stream, EVERY[:2], **CALL, out=tmp_path / "run")
    resumed = compare(stream, EVERY[:2], **CALL, out=tmp_path / "run", resume=True)
    assert difference(resumed, whole) == 0


def test_processes_do_not_change_what_is_drawn(folder):
    runs = [compare(of_files(folder, augment=turned, workers=w), "naive", **CALL) for w in (0, 2)]
    assert difference(*runs) == 0


def test_a_replica_is_augmented_the_same_alone_as_among_others(folder):
    stream = of_files(folder, augment=turned)
    alone = compare(stream, "naive", **{**CALL, "seeds": [1]}).trained["naive"].replica.params
    among = compare(stream, "naive", **{**CALL, "seeds": [0, 1, 2]}).trained["naive"].replica.params
    assert all(torch.allclose(alone[k][0], among[k][1], rtol=0, atol=1e-12) for k in alone)


def fetched(stream, seeds, grid=None):
    """The data of the first phase of a run, and what its first batch asks for."""
    settings = make_settings(stream, **{**RUN, **OTHERS, "seeds": seeds, "tune": grid})
    strategy = get("naive")
    engine = make_engine(stream, strategy, settings)
    phase = strategy.phases(stream)[0]
    data = engine.load(phase)
    return data, list(engine.sampler.batches(phase, data, 0))


def test_two_replicas_are_augmented_apart_and_those_of_one_seed_alike(folder):
    stream = of_files(folder, augment=turned)
    data, batches = fetched(stream, [0, 1], {"lr": [0.1, 0.2]})
    (arrays, index, _, _), *_ = data.feed(batches[:1], 0)
    x = arrays["x"][index]
    seeds = data.seeds.tolist()
    assert len(seeds) == 4
    for a in range(4):
        for b in range(a):
            assert torch.equal(x[a], x[b]) == (seeds[a] == seeds[b])
    request, _ = data._request(batches[0][0], 0)
    assert len(request[0]) == 2 * 4  # two seeds, four samples each: others are copies
    draws = request[1]
    assert draws.shape == (8, 8)
    assert len(np.unique(draws)) == 64
    assert 0 <= draws.min() <= draws.max() < 1
    assert not np.array_equal(data._request(batches[0][0], 1)[0][1], draws)


def test_without_augmentation_a_sample_is_fetched_once_for_all_replicas(folder):
    data, _ = fetched(of_files(folder), [0, 1, 2])
    index = torch.tensor([[3, 5], [5, 3], [3, 8]])
    request, inverse = data._request(index, 0)
    assert request[0].tolist() == [3, 5, 8]
    assert request[1] is None
    assert torch.equal(torch.from_numpy(request[0])[inverse], index.flatten())


def test_batches_are_made_one_or_two_ahead_and_no_more(folder):
    data, batches = fetched(of_files(folder, workers=1), [0])
    taken = []

    def noted():
        for batch in batches:
            taken.append(batch)
            yield batch

    feed = data.feed(noted())
    next(feed)
    assert len(taken) <= 4
    assert multiprocessing.active_children()
    feed.close()
    assert not multiprocessing.active_children()


class Broken(Dataset[Any]):
    """Says what its labels are; item 7 cannot be read."""

    targets: ClassVar[list[int]] = [0, 1] * 15

    def __len__(self):
        return 30

    def __getitem__(self, i):
        if i == 7:
            raise OSError("the disk is gone")
        return torch.full((3,), float(i)), i % 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataset_that_breaks_is_one_line_that_names_the_sample(workers):
    whole = Broken()
    test = [(torch.full((3,), 40.0 + i), i % 2) for i in range(4)]
    stream = from_datasets([(whole, test)], workers=workers, val=0.05)
    with pytest.raises(PerdureError, match="training part: item 7 cannot be read: the disk is gone") as found:
        compare(stream, "naive", **CALL)
    assert "\n" not in str(found.value)
    del found
    assert not multiprocessing.active_children()


@dataclass(frozen=True)
class Reader(Strategy):
    """Computes with all samples of a task at once."""

    name: ClassVar[str] = "reader"

    def end_task(self, net, params, state, task):
        net(params, task.x, task.task)
        return params, state


def test_a_strategy_that_computes_with_all_samples_is_one_line(folder):
    with pytest.raises(PerdureError, match="they are fetched one by one; found one that computes with all"):
        compare(of_files(folder), Reader(), **CALL)


def test_parts_in_memory_and_fetched_ones_go_together(folder):
    stream = of_files(folder)
    mixed = stream.with_tasks([in_memory(stream)[0], stream[1]])
    both = ["naive", "joint"]
    assert difference(compare(mixed, both, **CALL), compare(in_memory(stream), both, **CALL)) < 1e-12


@dataclass(frozen=True)
class Apart(External):
    """A learner of its own."""

    name: ClassVar[str] = "apart"


def test_learners_of_their_own_are_refused_before_any_work(folder):
    with pytest.raises(PerdureError, match="apart needs all samples in memory"):
        compare(of_files(folder), Apart(), **{**CALL, "dtype": "float32"})


def test_trained_replicas_score_streams_that_are_fetched(folder):
    results = compare(of_files(folder), "naive", **CALL)
    scores = results.trained["naive"].evaluate(of_files(folder), batch=4)
    assert np.allclose(scores, results.scores["naive"][:, -1])


def test_a_task_of_numbers_may_follow_one_of_bytes(folder):
    """Bytes become numbers within the recorded step: what is recorded for them is not for numbers."""

    def numbers(part):
        return replace(part, x=part.inputs(), scale=None)

    kept = in_memory(of_files(folder))
    mixed = kept.with_tasks([kept[0], kept[1].map_parts(numbers)])
    plain = kept.with_tasks([task.map_parts(numbers) for task in kept])
    both = EVERY[::2]
    assert difference(compare(mixed, both, **CALL), compare(plain, both, **CALL)) < 1e-12
