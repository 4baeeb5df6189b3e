"""Small runs of a strategy, and what two of them must have in common."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from perdure.core.batch import Params
from perdure.core.random import Rng
from perdure.engine.engine import Engine
from perdure.engine.external import run_external
from perdure.engine.replicas import Replica
from perdure.engine.worlds import STARTS, STEPS
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.world import World
from perdure.strategies.contract.composition import Composition, lay_out, parts
from perdure.strategies.contract.external import External
from perdure.strategies.contract.strategy import Strategy
from perdure.testing.promises import Broken, check_finite
from perdure.training import Settings, Training

Builder = Callable[[tuple[int, ...], int], nn.Module]
BATCH, SEEDS, CLOSE = 4, (0, 1, 2), 1e-9


@dataclass(frozen=True, eq=False)
class Ran:
    """What a run left, with a leading axis of replicas.

    Parameters
    ----------
    params:
        The trained tensors.
    outputs:
        For all test samples, ``[replicas, n, outputs]``; of worlds, for what is seen at the start.
    scores:
        Before training and after each stage, ``[1 + stages, replicas, tasks]``.
    """

    params: Params
    outputs: Tensor
    scores: Tensor

    def last(self) -> Ran:
        """Return the last replica's."""
        return Ran({k: v[-1:] for k, v in self.params.items()}, self.outputs[-1:], self.scores[:, -1:])


@dataclass(frozen=True, eq=False)
class Stop:
    """What a run had reached between two phases: all that a checkpoint keeps.

    Parameters
    ----------
    phase:
        How many phases were done.
    """

    phase: int
    replica: Replica
    scores: list[Tensor]
    steps: int
    costs: Any
    held: Any


@dataclass(frozen=True, eq=False)
class Place:
    """Where a strategy is checked.

    Parameters
    ----------
    where:
        The strategy and the place, as messages begin.
    """

    where: str
    stream: Stream
    model: Builder | nn.Module

    def engine(
        self,
        strategy: Strategy,
        seeds: Sequence[int],
        hooks: Composition | None = None,
        recorded: bool = True,
    ) -> Engine:
        """Lay out replicas in float64; where given, ``hooks``, a composition of the same parts, is asked."""
        training = Training(1, BATCH, "sgd(momentum=0.9)", lr=0.05, device="cpu", dtype="float64")
        engine = Engine(self.stream, strategy, training, self.model, seeds)
        if hooks is not None:
            engine.composition = hooks
            engine.program = dataclasses.replace(engine.program, strategy=hooks)
        if not recorded:
            engine.mapper.mapped = False
            engine.program = dataclasses.replace(engine.program, mappable=False)
        return engine

    def mapped(self, strategy: Strategy, hooks: Composition | None = None) -> Ran:
        """Train three replicas at once, recorded; one that cannot be mapped is refused."""
        engine = self.engine(strategy, SEEDS, hooks)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            ran = train(engine, self.where)
        if not engine.mapper.mapped:
            said = next(
                (str(w.message) for w in heard if issubclass(w.category, RuntimeWarning)), "no reason given"
            )
            raise Broken(f"{self.where}: must map over replicas; {said.rpartition('one at a time: ')[2]}")
        return ran

    def alone(
        self,
        strategy: Strategy,
        hooks: Composition,
        stops: list[Stop] | None = None,
        since: Stop | None = None,
    ) -> Ran:
        """Train the last replica by itself, unrecorded."""
        engine = self.engine(strategy, SEEDS[-1:], hooks, recorded=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return train(engine, self.where, stops, since)


def train(engine: Engine, where: str, stops: list[Stop] | None = None, since: Stop | None = None) -> Ran:
    """Run all phases, or those since a stop; put the stop before each phase on the list given."""
    phases = lay_out(engine.strategy, engine.stream)
    stages = sum(phase.stage for phase in phases)
    if stages not in (1, len(engine.stream)):
        raise Broken(f"{where}: phases must score once or {len(engine.stream)} times; found {stages}")
    replica, done = engine.start(), 0
    if since is None:
        scores = [engine.evaluate(replica)]
    else:
        replica, scores, done = clone(since.replica), [*since.scores], since.phase
        engine.go_on(since.steps, copy.deepcopy(since.costs), engine.mapper.mapped, clone(since.held))
    for i, phase in list(enumerate(phases))[done:]:
        if stops is not None:
            costs = copy.deepcopy(engine.costs)
            stops.append(Stop(i, clone(replica), [*scores], engine.step_count, costs, clone(engine.held)))
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
        scores += [engine.evaluate(replica)] if phase.stage else []
    params = {k: v.clone() for k, v in replica.params.items()}
    check_finite(where, "the trained parameters", params)
    answers = _outputs(engine, replica)
    check_finite(where, "the outputs", answers)
    return Ran(params, answers, torch.stack(scores))


def _outputs(engine: Engine, replica: Replica) -> Tensor:
    view = replica.view()
    each = [engine.place.put(_inputs(task.test, engine.stream.outputs)) for task in engine.stream]
    x, task = torch.cat(each), torch.cat([torch.full((len(v),), i) for i, v in enumerate(each)])

    def outputs(view: Any, x: Tensor, task: Tensor) -> Tensor:
        net = engine.program.net(view.buffers)
        return engine.composition.forward(net, view.params, view.state, x, task)

    with torch.no_grad():
        return engine.mapper(outputs, view, x, task, shared=(1, 2))  # type: ignore[no-any-return]


def _inputs(part: Part | World, outputs: int) -> Tensor:
    """Return the inputs of a part: of a world, what is seen at the start of its episodes."""
    if isinstance(part, Part):
        return part.inputs()
    zero = torch.tensor(0)

    def nothing(x: Tensor) -> Tensor:
        return torch.zeros(len(x), outputs)

    return part.watch(nothing, part.start(Rng(zero, zero, STARTS)), Rng(zero, zero, STEPS))[1]["x"]


def clone(tree: Any) -> Any:
    """Return a copy of everything."""
    return pytree.tree_map(lambda v: v.clone() if isinstance(v, Tensor) else v, tree)


def anew(strategy: Strategy) -> tuple[Strategy, ...]:
    """Return the parts of a strategy as another process would have them: their parameters alone."""
    made = []
    for part in parts(strategy):
        new = object.__new__(type(part))
        for one in dataclasses.fields(part):
            object.__setattr__(new, one.name, getattr(part, one.name))
        made.append(new)
    return tuple(made)


def check_same(one: Ran, other: Ran, tolerance: float, promise: str) -> None:
    """Refuse runs whose weights, outputs or scores differ by more than so much of the largest."""
    values = {f"parameter {k!r} differs": (v, other.params[k]) for k, v in one.params.items()}
    values |= {f"{k} differ": (getattr(one, k), getattr(other, k)) for k in ("outputs", "scores")}
    for what, (a, b) in values.items():
        distance = float((b - a).abs().max())
        if not distance <= tolerance * max(1.0, float(a.abs().max())):
            raise Broken(f"{promise}; {what} by {distance:.2g}")


def check_external(strategy: External, place: Place) -> None:
    """Refuse a learner whose scores are not finite, are not those of each stage, or differ when run again."""
    runs = []
    for _ in range(2):
        settings = Settings(place.model, SEEDS[:2], Training(1, BATCH, device="cpu"))
        outcome = run_external(place.stream, strategy, settings, lambda done, total: None)
        scores = torch.stack([outcome.untrained, *outcome.scores])
        if scores.shape[0] - 1 not in (1, len(place.stream)) or scores.shape[1:] != (2, len(place.stream)):
            raise Broken(
                f"{place.where}: expected scores of each task by seed and stage; found {list(scores.shape)}"
            )
        check_finite(place.where, "the scores", scores)
        runs.append(scores)
    if not torch.equal(*runs):
        raise Broken(f"{place.where}: two runs must give the same; scores differ")
