"""The contract, over all strategies; and that its check sees what breaks it."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import ClassVar

import pytest
import torch
from torch import nn

from perdure import PerdureError
from perdure.engine.engine import Engine
from perdure.strategies import EWC, STRATEGIES, External, Phase, Strategy, get
from perdure.testing import Broken, TinyTokens, check_strategy, tiny_stream
from perdure.testing.runs import train
from perdure.training import Training

# What watches others' training has no phases of its own.
COMPANY = {"watch-conflicts": "weighted + watch-conflicts"}
# With parameters where the defaults are for large streams: fewer steps break the same promises.
SPECS = {
    "kfpf": "kfpf(10, k=2, steps=3)",
    "fpf": "fpf(10, steps=3)",
    "gdumb": "gdumb(8, epochs=2)",
    "r-mtgb": "r-mtgb(3, 3, 3)",
    **COMPANY,
}
# The model of the tests is one level deep: with as many as are usual they have tests of their own.
LEVELS = {name: f"{name}(levels=1)" for name in ("ple", "adatt", "learning-to-branch")}
SPECS |= LEVELS
# CLR takes convolutions and tasks with heads only, L2P transformers, HoME two levels: their own tests check
# them there.
ELSEWHERE = ("avalanche", "clr", "l2p", "home")


@pytest.mark.parametrize("name", [n for n in STRATEGIES if n not in ELSEWHERE])
def test_every_strategy_keeps_the_contract(name):
    check_strategy(get(SPECS.get(name, name)), level="quick")


# Others have parameters that fill their memories in their own tests.
@pytest.mark.parametrize("spec", ["replay(6)", "derpp(6)", "agem(4, 6)"])
def test_memories_that_are_full_keep_it(spec, level):
    check_strategy(get(spec), level=level)


@pytest.mark.slow
def test_avalanches_strategies_keep_it():
    if find_spec("avalanche") is None:
        pytest.skip("Avalanche is not installed")
    check_strategy(get("avalanche"))


@pytest.mark.parametrize("name", [n for n in STRATEGIES if n != "avalanche"])
def test_every_strategy_runs_on_token_ids_or_refuses_before_any_work(name):
    try:
        training = Training(1, 4, lr=0.05, device="cpu", dtype="float64")
        engine = Engine(
            tiny_stream("class", 2, kind="tokens"), get(COMPANY.get(name, name)), training, TinyTokens, [0]
        )
        engine.start()
    except PerdureError:
        return
    engine.mapper.mapped = False
    engine.program = replace(engine.program, mappable=False)
    assert train(engine, name).scores.isfinite().all()


@pytest.mark.parametrize("spec", ["ewc(strength=5) + lwf", "si + mas", "replay(20) + ewc", "joint + si"])
def test_compositions_keep_it(spec, level):
    check_strategy(get(spec), level=level)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in STRATEGIES if n not in ELSEWHERE])
def test_every_strategy_keeps_all_of_it_with_its_defaults(name):
    check_strategy(get({**COMPANY, **LEVELS}.get(name, name)))


def test_a_stream_and_a_model_of_ones_own():
    check_strategy(EWC(), tiny_stream("class", (5, 6)), model=lambda: nn.Linear(5, 4))


# ---- what breaks it -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scratch(Strategy):
    """A weight's momentum in the state; each subclass breaks one promise."""

    name: ClassVar[str] = "scratch"

    def init(self, net, params, stream):
        return {"sum": {k: torch.zeros_like(p) for k, p in params.items()}}

    def after_step(self, net, params, state, step):
        return params, {"sum": {k: v + params[k] for k, v in state["sum"].items()}}


@dataclass(frozen=True)
class WritesInPlace(Scratch):
    def after_step(self, net, params, state, step):
        for k, v in state["sum"].items():
            v.add_(params[k])
        return params, state


@dataclass(frozen=True)
class WritesOnTheDictionary(Scratch):
    def gradient(self, net, params, state, grads, batch):
        for k in grads:
            grads[k] = grads[k] * 0.5
        return grads


@dataclass(frozen=True)
class DrawsGlobally(Scratch):
    def losses(self, net, params, state, batch, losses):
        return losses * torch.rand(())


@dataclass(frozen=True)
class Grows(Scratch):
    def end_task(self, net, params, state, task):
        return params, {"sum": {k: torch.stack([v, v]) for k, v in state["sum"].items()}}


@dataclass(frozen=True)
class ChangesType(Scratch):
    def after_step(self, net, params, state, step):
        return params, {"sum": {k: v.float() for k, v in state["sum"].items()}}


@dataclass(frozen=True)
class AddsToTheState(Scratch):
    def begin_task(self, net, params, state, task):
        return params, {**state, "more": torch.zeros(())}


@dataclass(frozen=True)
class KeepsANumber(Scratch):
    def init(self, net, params, stream):
        return {"sum": 0}

    def after_step(self, net, params, state, step):
        return params, state


@dataclass(frozen=True)
class NotANumber(Scratch):
    def losses(self, net, params, state, batch, losses):
        return losses + torch.log(torch.zeros_like(losses)) * 0


@dataclass(frozen=True)
class HugeWeights(Scratch):
    def end_task(self, net, params, state, task):
        return {k: v / 0 for k, v in params.items()}, state


@dataclass(frozen=True)
class SharesByClass(Scratch):
    seen: ClassVar[list] = []

    def gradient(self, net, params, state, grads, batch):
        type(self).seen.append(1)
        return {k: g * (1.0 + 0.01 * len(type(self).seen)) for k, g in grads.items()}


@dataclass(frozen=True)
class MixesReplicas(Scratch):
    last: ClassVar[dict] = {}

    def end_task(self, net, params, state, task):
        mixed = {k: 0.5 * (v + type(self).last.get(k, v)) for k, v in params.items()}
        type(self).last.update(params)
        return mixed, state


@dataclass(frozen=True)
class Remembers(Scratch):
    """Counts the tasks on itself: a run that goes on in another process counts anew."""

    def init(self, net, params, stream):
        object.__setattr__(self, "tasks", 0)
        return super().init(net, params, stream)

    def begin_task(self, net, params, state, task):
        object.__setattr__(self, "tasks", self.tasks + 1)
        return {k: v * (1 + 0.1 * self.tasks) for k, v in params.items()}, state


@dataclass(frozen=True)
class Branches(Scratch):
    def losses(self, net, params, state, batch, losses):
        return losses * 2 if losses.sum() > 0.7 else losses


@dataclass(frozen=True)
class CountsPadding(Scratch):
    def losses(self, net, params, state, batch, losses):
        return losses + 0.1 * net(params, batch.x, batch.task).square().mean()


@dataclass(frozen=True)
class OneLoss(Scratch):
    def losses(self, net, params, state, batch, losses):
        return losses.sum()


@dataclass(frozen=True)
class DropsAWeight(Scratch):
    def gradient(self, net, params, state, grads, batch):
        return dict(list(grads.items())[1:])


@dataclass(frozen=True)
class AddsAWeight(Scratch):
    def end_task(self, net, params, state, task):
        return {**params, "other": torch.zeros(())}, state


@dataclass(frozen=True)
class UnevenBatch(Scratch):
    def batch(self, net, params, state, batch):
        return batch.join({**batch.rows, "weight": batch.weight[:1]})


@dataclass(frozen=True)
class NarrowAnswer(Scratch):
    def forward(self, net, params, state, x, task):
        return net(params, x, task)[:, :1]


@dataclass(frozen=True)
class ScoresTwice(Scratch):
    def phases(self, stream):
        return [*super().phases(stream), Phase((0,))]


@dataclass(frozen=True)
class Fails(Scratch):
    def end_task(self, net, params, state, task):
        raise KeyError("weights")


class NotDecorated(Scratch):
    strength: float = 1.0


@dataclass(frozen=True)
class Nameless(Strategy):
    pass


@dataclass(frozen=True)
class Shadows(Scratch):
    gradient: float = 1.0


@dataclass(frozen=True)
class Disguised(EWC):
    name: ClassVar[str] = "ewc"


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (WritesInPlace, "after_step must leave its arguments alone"),
        (WritesOnTheDictionary, "gradient must leave its arguments alone"),
        (DrawsGlobally, "losses must draw from `rng`"),
        (Grows, "the state that end_task returns must keep its shape"),
        (ChangesType, "the state that after_step returns must keep its shape"),
        (AddsToTheState, "the state that begin_task returns must keep its shape"),
        (KeepsANumber, "the state must hold tensors only; found int"),
        (NotANumber, "losses must be finite"),
        (HugeWeights, "the parameters that end_task returns must be finite"),
        (SharesByClass, "a replica must learn the same alone"),
        (MixesReplicas, "a replica must learn the same alone"),
        (Remembers, "a run that goes on from a checkpoint must give the same"),
        (Branches, "must map over replicas"),
        (CountsPadding, "samples of weight 0 are padding"),
        (OneLoss, "losses must be [entries]"),
        (DropsAWeight, "what gradient returns must keep its shape"),
        (AddsAWeight, "end_task must return the parameters; found 'other'"),
        (UnevenBatch, "batch must return as many inputs"),
        (NarrowAnswer, "forward must return"),
        (ScoresTwice, "phases must score once or 3 times; found 4"),
        (Fails, "KeyError: 'weights'"),
        (NotDecorated, "must be a frozen dataclass"),
        (Nameless, "must have a name of its own"),
        (Shadows, "must name 'gradient' otherwise"),
        (Disguised, "must be what its name builds"),
    ],
)
def test_the_check_sees_a_broken_promise(broken, line):
    with pytest.raises(Broken) as caught:
        check_strategy(broken())
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "broken", [Remembers, SharesByClass, MixesReplicas, Grows, WritesInPlace, DropsAWeight, Branches, Fails]
)
def test_the_quick_level_sees_it_too(broken):
    with pytest.raises(Broken):
        check_strategy(broken(), level="quick")


def test_levels_are_two():
    with pytest.raises(PerdureError, match="level must be 'quick' or 'full'; found 'fast'"):
        check_strategy(EWC(), level="fast")


@pytest.mark.parametrize("level", ["quick", "full"])
def test_the_model_of_the_broken_ones_keeps_it(level):
    check_strategy(Scratch(), level=level)


@dataclass(frozen=True)
class WantsHeads(Strategy):
    """Refuses what it is not made for."""

    name: ClassVar[str] = "wants-heads"

    def init(self, net, params, stream):
        if stream.setting != "task":
            raise PerdureError(f"wants-heads needs the task setting; found {stream.setting}")
        return {}


@dataclass(frozen=True)
class WantsNothing(Strategy):
    name: ClassVar[str] = "wants-nothing"

    def init(self, net, params, stream):
        raise PerdureError("wants-nothing takes no stream")


def test_a_strategy_may_refuse_some_streams_but_not_all():
    check_strategy(WantsHeads())
    check_strategy(WantsHeads(), level="quick")
    with pytest.raises(PerdureError, match="wants-nothing takes no stream"):
        check_strategy(WantsNothing())


@dataclass(frozen=True)
class Constant(External):
    """Answers with what it was given, plus noise from the global generator if asked."""

    name: ClassVar[str] = "constant"
    noise: float = 0.0
    calls: ClassVar[list] = []

    def start(self, stream, terms):
        noise = self.noise

        class Learner:
            def learn(self, task, index):
                Constant.calls.append(task.name)

            def predict(self, x, index):
                return terms.model(x) + noise * len(Constant.calls) * torch.eye(stream.outputs)[0]

        return Learner()


def test_external_learners_are_checked_too():
    check_strategy(Constant())
    assert "task 0 + task 1" in Constant.calls  # the joint stream, learned at once
    with pytest.raises(Broken, match="two runs must give the same"):
        check_strategy(Constant(0.001))


def test_only_strategies_are_strategies():
    with pytest.raises(PerdureError, match="expected a Strategy; found str"):
        check_strategy("ewc")
