"""Numbers of strategies that are tuned: as replicas where they only scale, as runs of their own elsewhere."""

import warnings
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import perdure
from perdure import PerdureError, compare
from perdure.engine.engine import Engine
from perdure.engine.outcome import Outcome, choose
from perdure.engine.tuning import Trial, trials, with_numbers
from perdure.experiment import run
from perdure.strategies import EWC, STRATEGIES, get
from perdure.strategies.contract.composition import NUMBERS
from perdure.strategies.contract.external import External
from perdure.testing import tiny_stream
from perdure.testing.runs import train
from perdure.training import Training, make_settings

pytestmark = pytest.mark.usefixtures("without_report")

TWO = "split-digits | take(2)"
QUICK = {
    "seeds": 2,
    "epochs": 1,
    "batch_size": 64,
    "model": "mlp(hidden=[6])",
    "device": "cpu",
    "quiet": True,
}
SCALED = [
    (name, number)
    for name in STRATEGIES
    if name not in ("avalanche", "l2p", "clr")  # these need models of their own
    for number in vars(STRATEGIES.maker(name)).get("scales", ())
]


# What would do nothing in as few samples and steps as there are here.
SPECS = {
    **{name: f"{name}(4)" for name in ("der", "derpp", "gem")},
    "cbp": "cbp(maturity=0)",
    "redo": "redo(every=1)",
}


def perceptron(shape, outputs):
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, outputs))


def convolution(shape, outputs):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, outputs))


def trained(strategy, stream, points=({},), seeds=(0,), model=perceptron, recorded=False):
    training = Training(1, 4, "sgd(momentum=0.9)", lr=0.05, device="cpu", dtype="float64")
    engine = Engine(stream, strategy, training, model, seeds, points)
    if not recorded:
        engine.mapper.mapped = False
        engine.program = replace(engine.program, mappable=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return train(engine, str(strategy))


def equal_to_runs_of_their_own(strategy, key, values, stream, matters=True, **changes):
    """Hold the replica with the last value against a run that has it alone."""
    points, seeds = [{key: value} for value in values], [3] * len(values)
    together = trained(strategy, stream, points, seeds, **changes)
    alone = trained(with_numbers(strategy, points[-1]), stream, seeds=[3], **changes)
    for k, v in alone.params.items():
        torch.testing.assert_close(together.params[k][-1], v[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(together.scores[:, -1], alone.scores[:, 0], rtol=0, atol=1e-9)
    torch.testing.assert_close(together.outputs[-1], alone.outputs[0], rtol=0, atol=1e-9)
    if matters:
        assert any(not torch.equal(v[0], v[-1]) for v in (*together.params.values(), together.outputs))


# ---- on the replica axis ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "number"), SCALED)
def test_replicas_with_numbers_of_their_own_are_runs_of_their_own(name, number):
    strategy = get(SPECS.get(name, name))
    # Two tasks have no share of older ones yet, and here nothing is in conflict or overlaps.
    matters = number not in ("decay", "alpha") and name not in ("gem", "o-lora")
    stream = tiny_stream("domain", (8, 8))
    equal_to_runs_of_their_own(strategy, f"{name}.{number}", (0.3, 0.9), stream, matters or "der" in name)


@pytest.mark.parametrize("spec", ["ewc", "ewc + mas"])
def test_so_they_are_when_mapped_and_recorded(spec):
    stream = tiny_stream("domain", (8, 8))
    equal_to_runs_of_their_own(get(spec), "ewc.strength", (0.0, 5.0), stream, recorded=True)


def test_so_they_are_where_convolutions_are_gone_through_one_by_one():
    stream = tiny_images()
    for name, number in (("clr", "penalty"), ("ewc", "strength")):
        equal_to_runs_of_their_own(get(name), f"{name}.{number}", (0.5, 0.05), stream, model=convolution)


def tiny_images():
    flat = tiny_stream("task", (8, 8))

    def lay(part):
        return replace(part, x=torch.nn.functional.pad(part.x, (0, 31)).view(-1, 1, 6, 6))

    return flat.with_tasks([t.map_parts(lay) for t in flat])


@dataclass(frozen=True)
class Everywhere(perdure.strategies.Strategy):
    """Uses its number in every hook that there is; ``__post_init__`` is for numbers, not for tensors."""

    name: ClassVar[str] = "everywhere"
    scales: ClassVar[tuple[str, ...]] = ("size",)
    size: float = 1.0

    def __post_init__(self):
        assert isinstance(self.size, float)

    def init(self, net, params, stream):
        return {"sum": next(iter(params.values())).new_zeros(()) + self.size}

    def begin_task(self, net, params, state, task):
        return params, {"sum": state["sum"] + 3 * self.size}

    def batch(self, net, params, state, batch):
        return batch.with_rows(x=batch.x * (1 + 0.1 * self.size))

    def losses(self, net, params, state, batch, losses):
        return losses + 0.1 * self.size * sum(p.square().sum() for p in params.values()) / len(losses)

    def after_step(self, net, params, state, step):
        return params, {"sum": state["sum"] + self.size}

    def accumulate(self, net, params, state, batch):
        return {"count": self.size * batch.sample_weight.sum()}

    def end_task(self, net, params, state, task):
        return params, {"sum": state["sum"] + task.accumulated["count"]}

    def forward(self, net, params, state, x, task):
        return net(params, x, task) * self.size + state["sum"]


@pytest.mark.parametrize("recorded", [False, True])
def test_every_hook_sees_the_replicas_own_number(recorded):
    stream = tiny_stream("domain", (8, 8))
    equal_to_runs_of_their_own(Everywhere(), "everywhere.size", (0.5, 2.0), stream, recorded=recorded)


def test_what_is_kept_answers_with_the_numbers_that_were_chosen():
    sizes = [0.5, 2.0, 1.0]
    results = compare(TWO, [Everywhere()], tune={"everywhere.size": sizes}, keep=True, **QUICK)
    chosen = results.extras["everywhere"]["chosen"]["everywhere.size"]
    alone = compare(TWO, [Everywhere(chosen)], keep=True, **QUICK)
    (name,) = alone.strategies
    x = perdure.scenarios.get(TWO)[0].test.inputs()
    one, other = results.trained["everywhere"], alone.trained[name]
    torch.testing.assert_close(one.predict(x), other.predict(x))
    assert one.replica.state[NUMBERS]["everywhere.size"].tolist() == [chosen] * 2
    assert list(one.state("everywhere")) == ["sum"]
    with pytest.raises(PerdureError, match="expected one of everywhere; found 'ewc'"):
        one.state("ewc")
    assert results.costs["everywhere"]["state_bytes"] == alone.costs[name]["state_bytes"]


# ---- what is tried ------------------------------------------------------------------------------------


def test_strengths_at_once_are_runs_of_their_own():
    strengths = [0.0, 3, 100]
    settings = {"model": "mlp(hidden=[6])", "seeds": 2, "epochs": 1, "batch_size": 128, "device": "cpu"}
    stream = perdure.scenarios.get(TWO)
    (trial,) = trials(EWC(), [{"ewc.strength": s} for s in strengths])
    made = make_settings(stream, tune={"ewc.strength": strengths}, **settings)
    together = run(stream, trial.strategy, replace(made, grid=trial.points))
    for i, strength in enumerate(strengths):
        alone = run(stream, EWC(strength), make_settings(stream, **settings))
        for all_scores, own in zip(together.scores, alone.scores, strict=True):
            torch.testing.assert_close(all_scores[2 * i : 2 * i + 2], own, rtol=0, atol=1e-6)


def test_each_strategy_tries_what_it_has():
    grid = [
        {"ewc.strength": s, "replay.capacity": c, "lr": r} for s in (1, 2) for c in (3, 4) for r in (5, 6)
    ]
    (naive,) = trials(get("naive"), grid)
    assert naive.points == ({"lr": 5}, {"lr": 6})
    (ewc,) = trials(get("ewc"), grid)
    assert (len(ewc.points), ewc.shared) == (4, {})
    small, large = trials(get("replay + ewc"), grid)
    assert small.points == large.points == ewc.points
    assert (str(small.strategy), large.shared) == ("replay(capacity=3) + ewc", {"replay.capacity": 4})
    assert trials(get("mas"), [{"ewc.strength": 1}])[0].whole() == [{}]


def test_what_does_not_scale_is_tried_in_runs_of_its_own():
    sizes = [4, 60]
    results = compare(TWO, ["naive", "replay"], tune={"replay.capacity": sizes}, **QUICK)
    extras = results.extras["replay"]
    assert [point["replay.capacity"] for point in extras["tried"]] == sizes
    best = max(extras["tried"], key=lambda point: point["validation"])
    assert extras["chosen"] == {"replay.capacity": best["replay.capacity"]}
    assert results.config["strategies"] == {"naive": "naive", "replay": "replay"}
    assert "chosen" not in results.extras["naive"]
    alone = compare(TWO, [f"replay({best['replay.capacity']})"], **QUICK)
    assert np.array_equal(results.scores["replay"], alone.scores[alone.strategies[0]])
    assert results.costs["replay"]["steps"] == alone.costs[alone.strategies[0]]["steps"]


@pytest.mark.parametrize(
    ("higher", "chosen", "told"),
    [
        ((True, True), 1, [0.35, 2.8]),
        ((False, False), 0, [0.35, 2.8]),
        ((True, False), 0, [0.15, -2.2]),
        ((False, True), 1, [-0.15, 2.2]),
    ],
)
def test_each_tasks_score_is_chosen_by_in_the_direction_that_is_better(higher, chosen, told):
    plan = [Trial(get("naive"), {}, ({"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}))]
    scores = torch.tensor([[0.5, 0.2], [0.6, 5.0], [torch.nan, 0.1]], dtype=torch.float64)
    choice = choose([Outcome(torch.empty(0), validation=scores)], plan, 1, higher)
    assert choice.place == chosen
    assert [point["validation"] for point in choice.tried[:2]] == pytest.approx(told)


def test_one_value_is_no_choice_but_a_value():
    results = compare(TWO, ["ewc", "naive"], tune={"ewc.strength": [3]}, **QUICK)
    alone = compare(TWO, ["ewc(strength=3)"], **QUICK)
    assert np.array_equal(results.scores["ewc"], alone.scores[alone.strategies[0]])
    assert results.extras["ewc"]["chosen"] == {"ewc.strength": 3}
    assert results.config["tune"] == [{"ewc.strength": 3}]


def test_a_stopped_choice_goes_on_and_leaves_nothing_behind(tmp_path, monkeypatch):
    grid = {"tune": {"replay.capacity": [4, 60], "lr": [0.1, 0.2]}, "tune_on": 1}
    whole = compare(TWO, ["replay"], **grid, **QUICK)
    seen, real = [], perdure.experiment.run

    def stop(*arguments):
        seen.append(arguments)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr("perdure.experiment.run", stop)
    with pytest.raises(KeyboardInterrupt):
        compare(TWO, ["replay"], out=tmp_path, **grid, **QUICK)
    assert len(list((tmp_path / "checkpoint").glob("replay-tune?-*.safetensors"))) == 2
    again = compare(TWO, ["replay"], out=tmp_path, resume=True, **grid, **QUICK)
    assert np.array_equal(again.scores["replay"], whole.scores["replay"])
    assert again.extras["replay"]["tried"] == whole.extras["replay"]["tried"]
    assert not (tmp_path / "checkpoint").exists()


# ---- where it is chosen -------------------------------------------------------------------------------


def test_the_choice_may_be_made_on_the_first_tasks():
    three, grid = "split-digits | take(3)", {"ewc.strength": [0.0, 50.0], "lr": [1e-4, 0.1]}
    results = compare(three, ["ewc", "naive"], tune=grid, tune_on=2, **QUICK)
    first = compare("split-digits | take(2)", ["ewc"], tune=grid, **QUICK)
    chosen = first.extras["ewc"]["chosen"]
    assert results.extras["ewc"]["tried"] == first.extras["ewc"]["tried"]
    assert results.extras["ewc"]["chosen"] == chosen
    strategy = EWC(chosen["ewc.strength"])
    alone = compare(three, [strategy], **QUICK, lr=chosen["lr"])
    assert np.array_equal(results.scores["ewc"], alone.scores[alone.strategies[0]])
    assert results.scores["naive"].shape == (2, 3, 3)
    assert results.config["tune_on"] == ["0/1", "2/3"]
    assert any("first tasks only (0/1, 2/3)" in line for line in results.warnings)


# ---- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tune": {"ewk.strength": [1, 2]}},
            "strategies of the comparison, naive, ewc; found 'ewk.strength'",
        ),
        ({"tune": {"ewc.strenght": [1, 2]}}, "ewc takes strength, fisher, samples; found 'ewc.strenght'"),
        ({"tune": {"ewc.strength": [1, -1]}}, "tune: strength must be at least 0; found -1"),
        ({"tune": {"ewc.samples": [1.5]}}, "tune: ewc: samples must be"),
        ({"tune": {"naive.strength": [1]}}, "naive takes no numbers"),
        ({"tune": {"strength": [1]}}, "such as ewc.strength; found 'strength'"),
        ({"tune": {"ewc.strength": [1, 1.0]}}, "different values for 'ewc.strength'"),
        ({"tune_on": 1}, "needs something to choose from"),
        ({"tune": {"lr": [0.1]}, "tune_on": 1}, "needs something to choose from"),
        ({"tune": {"lr": [0.1, 0.2]}, "tune_on": 2}, "must be a number of tasks below 2"),
        ({"tune": {"lr": [0.1, 0.2]}, "tune_on": 0}, "must be a number of tasks below 2"),
        ({"tune": {"lr": list(range(1, 400)), "ewc.strength": list(range(400))}}, "at most 100,000"),
    ],
)
def test_what_cannot_be_tuned_is_one_line_before_any_work(changes, message, tmp_path):
    with pytest.raises(PerdureError) as caught:
        compare(TWO, ["naive", "ewc"], out=tmp_path / "run", **QUICK, **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


@dataclass(frozen=True)
class Elsewhere(External):
    """Is refused before it would start."""

    name: ClassVar[str] = "elsewhere"
    size: float = 1.0


@pytest.mark.parametrize("changes", [{"tune": {"elsewhere.size": [1.0, 2.0]}}, {"clip": 1.0}])
def test_a_learner_of_its_own_is_neither_tuned_nor_clipped(changes):
    with pytest.raises(PerdureError, match="needs a strategy that is mapped over replicas; elsewhere is not"):
        compare(TWO, [Elsewhere()], **QUICK, **changes)


def test_numbers_that_scale_are_fields():
    for name in STRATEGIES:
        maker = STRATEGIES.maker(name)
        assert set(maker.scales) <= {field.name for field in fields(maker)}, name
