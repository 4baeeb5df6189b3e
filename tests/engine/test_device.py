"""What a GPU would refuse or wait for, found without one: runs on torch's device without memory, "meta".

Nothing is computed there, and a value that the host asks for raises; :class:`Strict` sees to it that
tensors of two devices do too, as on a GPU.
"""

import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from perdure.core import random
from perdure.core.errors import PerdureError
from perdure.core.light import Light
from perdure.engine.engine import Engine
from perdure.engine.scoring import add_by_task
from perdure.optim.schedules import SCHEDULES
from perdure.scenarios.contract.world import World
from perdure.strategies import STRATEGIES, get
from perdure.strategies.contract.composition import lay_out
from perdure.strategies.contract.external import External
from perdure.testing import tiny_stream, tiny_team, tiny_team_stream
from perdure.training import Training

ABSENT = torch.device("meta")
ONLY_ELSEWHERE = {
    "avalanche": "runs Avalanche's own loop",
    "l2p": "needs a transformer",
    "r-mtgb": "grows trees on the CPU",
}
SPECS = {"watch-conflicts": "weighted + watch-conflicts",
    "gem": "gem(samples_per_task=2)", "agem": "agem(samples_per_task=2, sample=4)", "replay": "replay(6)",
    "der": "der(6)", "derpp": "derpp(6)", "gdumb": "gdumb(6, epochs=2)", "fpf": "fpf(6, steps=3)",
    "kfpf": "kfpf(6, k=2, steps=3)",
    "icarl": "icarl(6)", "clr": "clr(pretrain=0)", "weighted": "weighted(preference=[0.5, 0.5])",
    "weighted-replay": "weighted-replay(preference=[0.5, 0.5], capacity=6)",
}  # fmt: skip


def convolutional(shape, outputs):
    return nn.Sequential(
        nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(inplace=True),
        nn.Dropout(0.2), nn.Flatten(), nn.Linear(15, outputs),
    )  # fmt: skip


def perceptron(shape, outputs):
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(6, outputs))


def deep(shape, outputs):
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, outputs))


# What asks for a model of another kind than the others.
MODELS = {"clr": convolutional, **dict.fromkeys(("adatt", "home", "learning-to-branch", "ple"), deep)}
# What lets agents of a team talk.
TALKING = ("commnet", "dial", "mcs", "tarmac")
MODELS |= dict.fromkeys(TALKING, tiny_team)
STREAMS = dict.fromkeys(TALKING, tiny_team_stream)


# What may bring tensors from one device to another.
COPIES = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default, torch.ops.aten.copy.default}


class Strict(Light):
    """Refuses operations of tensors of two devices, and those whose result the host has to wait for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # A single number of the host's is handed to a kernel by value.
        places = {v.device.type for v in tensors((args, *(kwargs or {}).items())) if v.ndim}
        if len(places) > 1 and func not in COPIES:
            raise RuntimeError(f"{func} of tensors of more than one device: {sorted(places)}")
        if ABSENT.type in places and asks_for_values(func, args):
            raise RuntimeError(f"the host would wait for the values that {func} tells")
        return func(*args, **(kwargs or {}))


def tensors(value):
    """Yield the tensors of nested arguments."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for entry in value:
            yield from tensors(entry)


def asks_for_values(func, args):
    """Tell whether a result, or its shape, cannot be known without values; of indexing, only by masks."""
    if func is torch.ops.aten.index.Tensor:
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return carries_tag(func)


@cache
def carries_tag(func):
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & {*func.tags})


def away(tree):
    """Return tensors like those of a tree on the device that is not there."""

    def one(v):
        return torch.empty_strided(v.shape, v.stride(), dtype=v.dtype, device=ABSENT)

    return pytree.tree_map_only(torch.Tensor, one, tree)


def run(strategy, model=perceptron, optimizer="sgd(momentum=0.9)", schedule="cosine", stream=None):
    """Start, train, measure, score and cross all boundaries of a small stream on an absent device."""
    stream = tiny_stream("task", (9, 5)) if stream is None else stream
    training = Training(1, 5, optimizer, schedule=schedule, device="cpu")
    engine = Engine(stream, strategy, training, model, [0, 1])
    # Preferences are checked on the host at the start, once.
    checks_values = "weighted" in str(strategy)
    started = engine.start() if checks_values else None
    with Strict(), warnings.catch_warnings():
        warnings.simplefilter("error")
        # What was laid out on the host (weights, masks) is taken away; from here on all is as on a GPU.
        engine.device, engine.place = ABSENT, replace(engine.place, device=ABSENT)
        engine._untrained, engine.hyper = away(engine._untrained), away(engine.hyper)
        engine.program = replace(engine.program, masks=away(engine.program.masks))
        engine.sampler = replace(engine.sampler, seeds=engine.hyper["seed"])
        replica = away(started) if checks_values else engine.start()
        for phase in lay_out(strategy, stream):
            data = engine.load(phase)
            replica = engine.boundary(replica, phase, data, "begin_task")
            for replica in engine.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
                pass
            replica = engine.boundary(replica, phase, data, "end_task")
            # Whether all episodes are over the host has to ask.
            if not any(isinstance(task.test, World) for task in stream):
                engine.evaluate(replica)
    return engine


def crossings(engine):
    """Operations in records that bring something from the host, or that read a constant which lies there."""
    found = []
    for record in engine.records.made.values():
        for node in record.graph.nodes:
            value = getattr(record.constants, node.target) if node.op == "get_attr" else None
            # A single number is handed to a kernel by value.
            if value is not None and value.device != ABSENT and value.ndim:
                found.append(f"constant {value}")
            elif node.kwargs.get("device") not in (None, ABSENT):
                found.append(f"{node.target} to the host")
    return found


@pytest.fixture(autouse=True)
def _without_autocast(monkeypatch):
    # It does not know a device of this name.
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())


@pytest.fixture(autouse=True)
def quick_words(monkeypatch):
    """Words of the right shape and device, of few operations: without values they are the same."""
    words = random.philox
    monkeypatch.setattr(random, "philox", lambda counter, key: (sum(counter) + sum(key),) * 4)
    return words


def test_draws_stay_on_their_device(quick_words, monkeypatch):
    there = torch.zeros(2, dtype=torch.long, device=ABSENT)
    quick = random.draw_bits(there, there[0], 1, 6)
    monkeypatch.setattr(random, "philox", quick_words)
    with Strict():
        whole = random.draw_bits(there, there[0], 1, 6)
        with pytest.raises(RuntimeError, match="more than one device"):
            random.draw_bits(there, torch.zeros(2, dtype=torch.long), 1, 6)
    assert (whole.shape, whole.dtype, whole.device) == (quick.shape, quick.dtype, quick.device)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_stays_on_its_device_and_waits_for_nothing(name):
    if name in ONLY_ELSEWHERE:
        pytest.skip(ONLY_ELSEWHERE[name])
    strategy = get(SPECS.get(name, name))
    assert not isinstance(strategy, External)
    stream = STREAMS[name](1) if name in STREAMS else None
    engine = run(strategy, MODELS.get(name, perceptron), stream=stream)
    assert engine.mapper.mapped
    assert not crossings(engine)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_optimisers_and_schedules_do_too(optimizer, schedule):
    assert not crossings(run(get("naive"), optimizer=optimizer, schedule=schedule))


def test_convolutions_and_norms_do_too():
    assert not crossings(run(get("ewc"), convolutional))


def test_the_absent_device_is_told_apart_and_nothing_waits_for_it():
    there, here = torch.zeros(3, device=ABSENT), torch.zeros(3)
    with Strict():
        assert (there + 2 * torch.zeros(())).device == ABSENT
        for refused in (
            lambda: there + here,
            lambda: torch.stack([there, here]),
            lambda: here[there.long()],
            lambda: there[there > 0],
            lambda: there.nonzero(),
            lambda: there.sum().item(),
            lambda: bool(there.sum() > 0),
            lambda: torch.equal(there, there),
            lambda: there.cpu(),
            lambda: there.tolist(),
        ):
            with pytest.raises((RuntimeError, NotImplementedError)):
                refused()


def test_a_model_that_makes_tensors_on_the_host_is_noticed():
    class Elsewhere(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(5, 4)

        def forward(self, x):
            return self.inner(x) + torch.arange(4.0)

    with pytest.raises((PerdureError, RuntimeError, Warning)):
        run(get("naive"), lambda shape, outputs: Elsewhere())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_scores_are_added_by_task_in_an_order_of_their_own(device):
    total, owner = torch.ones(2, 3, device=device), torch.tensor([2, 0, 2], device=device)
    scores = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device=device)
    found = add_by_task(total, owner, scores)
    assert found.shape == (2, 3)
    assert found.is_contiguous()
    if device == "cpu":
        assert found.tolist() == [[3.0, 1.0, 5.0], [6.0, 1.0, 11.0]]
