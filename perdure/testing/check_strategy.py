"""The contract that every strategy keeps, for users to run on their own."""

from __future__ import annotations

import dataclasses
import math
import random
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from perdure.core.batch import Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.layer_draws import GlobalDraw
from perdure.core.net import Net
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Setting, Stream
from perdure.scenarios.contract.task import Task, samples
from perdure.strategies.baselines.naive import Naive
from perdure.strategies.contract.composition import Composition, lay_out, overrides, parts
from perdure.strategies.contract.external import External
from perdure.strategies.contract.phase import Phase, Step, TaskData
from perdure.strategies.contract.registry import STRATEGIES, get
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

Builder = Callable[[tuple[int, ...], int], nn.Module]
BATCH, SEEDS, CLOSE = 4, (0, 1, 2), 1e-9


class Broken(PerdureError):
    """A strategy does not keep a promise of the contract."""


def check_strategy(
    strategy: Strategy, stream: Stream | None = None, *, model: Builder | nn.Module | None = None
) -> None:
    """Refuse a strategy that does not keep the contract of strategies, at the first promise broken.

    Checked are: that it is a frozen dataclass that its name builds again; hooks that leave their arguments
    alone, draw from ``rng`` only, and return what they should, finite, with a state of fixed structure,
    shapes and types; that padding (weight 0) does not count; that the order of the names in what it returns
    does not matter; that it maps over replicas; that a replica learns the same alone as among three; that two
    runs give the same bytes; that ``+ naive`` changes nothing, nor does, in front, a strategy that has all
    hooks and lets everything pass.

    A strategy may refuse a stream or a model with a ``PerdureError`` before any training.

    Parameters
    ----------
    strategy:
        What to check.
    stream:
        Where; default: tiny streams, of every setting, of one task, of tasks that differ in size, with a last
        batch of one sample, and one with a model with batch norm.
    model:
        Builds the model, of the input shape and the number of outputs; default: a small perceptron.

    Raises
    ------
    PerdureError
        With one line that says which promise, where, and what was found.
    """
    if not isinstance(strategy, Strategy):
        raise Broken(f"expected a Strategy; found {type(strategy).__name__}")
    check_form(strategy)
    cases = awkward_cases() if stream is None else [("the stream given", stream, perceptron, 2)]
    refusals: list[PerdureError] = []
    for name, place, builder, depth in cases:
        where = f"{strategy} on {name}"
        try:
            if isinstance(strategy, External):
                _check_external(strategy, place, model or builder, where)
            else:
                _check_case(strategy, place, model or builder, where, depth)
        except Broken:
            raise
        except PerdureError as refusal:
            refusals.append(refusal)
        except Exception as error:
            raise Broken(f"{where}: {type(error).__name__}: {_line(error)}") from error
    if len(refusals) == len(cases):
        raise refusals[0]


def check_form(strategy: Strategy) -> None:
    """Refuse a strategy that is no frozen dataclass, has no name, or that its name does not build."""
    for part in parts(strategy):
        settings = vars(type(part)).get("__dataclass_params__")
        if settings is None or not settings.frozen:
            raise Broken(f"{type(part).__name__} must be a frozen dataclass: decorate it")
        shadowed = sorted({f.name for f in dataclasses.fields(part)} & set(dir(Strategy)))
        if shadowed:
            raise Broken(
                f"{type(part).__name__} must name {shadowed[0]!r} otherwise: the contract has that name"
            )
        if part.name == Strategy.name:
            raise Broken(f"{type(part).__name__} must have a name of its own: set `kind`")
    if all(part.name in STRATEGIES for part in parts(strategy)):
        again = get(str(strategy))
        if again != strategy:
            raise Broken(f"{strategy} must be what its name builds; that is {again!r}")


# ---- where --------------------------------------------------------------------------------------------


def tiny_stream(
    setting: Setting = "domain", sizes: Sequence[int] = (9, 12, 7), classes: int = 2, seed: int = 0
) -> Stream:
    """Make a stream of 5-dimensional clusters with so many training samples per task."""
    source = torch.Generator().manual_seed(seed)
    own = setting in ("task", "class")

    def part(t: int, n: int) -> Part:
        y = torch.arange(n) % classes + (t * classes if own else 0)
        centres = torch.eye(5).roll(t, 0)[y % 5] * 2
        return Part(centres + torch.randn(n, 5, generator=source), y)

    tasks = []
    for t, n in enumerate(sizes):
        outputs = tuple(range(t * classes, (t + 1) * classes)) if own else tuple(range(classes))
        tasks.append(Task(f"task {t}", part(t, n), part(t, 4), part(t, 6), outputs))
    return Stream("tiny", tuple(tasks), setting, classes * len(sizes) if own else classes)


def token_stream(sizes: Sequence[int] = (9, 12), seed: int = 0) -> Stream:
    """Make a class-incremental stream of rows of 4 token ids below 100, two classes a task; 0 is padding."""
    source = torch.Generator().manual_seed(seed)

    def part(t: int, n: int) -> Part:
        y = torch.arange(n) % 2 + 2 * t
        x = torch.randint(1, 50, (n, 4), generator=source) + 50 * (y % 2).unsqueeze(1)
        return Part(torch.where(torch.arange(4) < 2 + (torch.arange(n) % 3).unsqueeze(1), x, 0), y)

    tasks = [
        Task(f"task {t}", part(t, n), part(t, 4), part(t, 6), (2 * t, 2 * t + 1)) for t, n in enumerate(sizes)
    ]
    return Stream("tokens", tuple(tasks), "class", 2 * len(sizes))


class Embedded(nn.Module):
    """The mean of learned vectors of tokens, and a head."""

    def __init__(self, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(100, 4), nn.Linear(4, outputs)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids).mean(1))  # type: ignore[no-any-return]


def perceptron(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build a perceptron with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 6), nn.ReLU(), nn.Linear(6, outputs))


def normed(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build a perceptron with batch norm and dropout."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(6, outputs),
    )


def awkward_cases() -> list[tuple[str, Stream, Builder, int]]:
    """Return name, stream, model and thoroughness (0 to 2) of the places where strategies are checked."""
    return [
        ("tasks of different sizes", tiny_stream("domain", (9, 12, 7)), perceptron, 2),
        ("a task-incremental stream with batch norm", tiny_stream("task", (10, 8)), normed, 1),
        ("a class-incremental stream", tiny_stream("class", (5, 8, 3)), perceptron, 1),
        ("a joint stream", tiny_stream("joint", (6, 9)), perceptron, 0),
        ("one task", tiny_stream("task", (9,), 3), perceptron, 0),
    ]


# ---- what ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Ran:
    """What a run left, with a leading axis of replicas."""

    params: Params
    outputs: Tensor
    scores: Tensor


def _check_case(
    strategy: Strategy, stream: Stream, model: Builder | nn.Module, where: str, depth: int
) -> None:
    watched = _Watched(parts(strategy), where=where, outputs=stream.outputs)
    alone = _run(strategy, stream, model, SEEDS[-1:], where, watched)
    if depth < 1:
        return
    together = _run(strategy, stream, model, SEEDS, where)
    last = _Ran(
        {k: v[-1:] for k, v in together.params.items()}, together.outputs[-1:], together.scores[:, -1:]
    )
    _same(alone, last, CLOSE, f"{where}: a replica must learn the same alone, unrecorded, as among three")
    if depth < 2:
        return
    altered = _run(
        strategy, stream, model, SEEDS[-1:], where, dataclasses.replace(watched, alter_padding=True)
    )
    _same(alone, altered, CLOSE, f"{where}: samples of weight 0 are padding and must not count")
    turned = _run(strategy, stream, model, SEEDS, where, _Reversed(parts(strategy)))
    _same(together, turned, 0.0, f"{where}: the order of names in what hooks return must not matter")
    company = _Watched(parts(Bystander() + strategy), where=where, outputs=stream.outputs)
    passed = _run(Bystander() + strategy, stream, model, SEEDS[-1:], where, company)
    _same(alone, passed, CLOSE, f"{where}: a strategy in front that lets all pass must change nothing")
    beside = _run(strategy + Naive(), stream, model, SEEDS, where)
    try:
        _same(together, beside, 0.0, f"{where}: `+ naive` must change nothing")
    except Broken:
        again = _run(strategy, stream, model, SEEDS, where)
        _same(together, again, 0.0, f"{where}: two runs must give the same")
        raise


def _same(one: _Ran, other: _Ran, tolerance: float, promise: str) -> None:
    for k, v in one.params.items():
        apart = float((v - other.params[k]).abs().max())
        if not apart <= tolerance * max(1.0, float(v.abs().max())):
            raise Broken(f"{promise}; parameter {k!r} differs by {apart:.2g}")
    for name in ("outputs", "scores"):
        apart = float((getattr(one, name) - getattr(other, name)).abs().max())
        if not apart <= tolerance * max(1.0, float(getattr(one, name).abs().max())):
            raise Broken(f"{promise}; {name} differ by {apart:.2g}")


def _run(
    strategy: Strategy, stream: Stream, model: Builder | nn.Module, seeds: Sequence[int], where: str,
    watched: Composition | None = None,
) -> _Ran:  # fmt: skip
    """Train in float64; what is watched, one replica at a time and unrecorded."""
    # Imported here: the engine is built on the strategies.
    from perdure.engine.engine import Engine
    from perdure.training import Training

    training = Training(1, BATCH, "sgd(momentum=0.9)", lr=0.05, device="cpu", dtype="float64")
    engine = Engine(stream, strategy, training, model, seeds)
    recorded = not isinstance(watched, _Watched)
    if watched is not None:
        engine.mapper.mapped = recorded
        engine.composition = watched
        engine.program = dataclasses.replace(engine.program, strategy=watched, mappable=recorded)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        ran = _train(engine, where)
    if recorded and not engine.mapper.mapped:
        said = next(
            (str(w.message) for w in heard if issubclass(w.category, RuntimeWarning)), "no reason given"
        )
        raise Broken(f"{where}: must map over replicas; {said.rpartition('one at a time: ')[2]}")
    return ran


def _train(engine: Engine, where: str) -> _Ran:
    stream = engine.stream
    phases = lay_out(engine.strategy, stream)
    stages = sum(phase.stage for phase in phases)
    if stages not in (1, len(stream)):
        raise Broken(f"{where}: phases must score once or {len(stream)} times; found {stages}")
    replica = engine.start()
    scores = [engine.evaluate(replica)]
    for phase in phases:
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
        scores += [engine.evaluate(replica)] if phase.stage else []
    params = {k: v.clone() for k, v in replica["params"].items()}
    _finite(where, "the trained parameters", params)
    view = {k: replica[k] for k in ("params", "buffers", "state")}
    x = torch.cat([engine.place.put(samples(task.test).inputs()) for task in stream])
    task = torch.cat([torch.full((len(t.test),), i) for i, t in enumerate(stream)])

    def outputs(view: Any, x: Tensor, task: Tensor) -> Tensor:
        net = engine.program.net(view["buffers"])
        return engine.composition.forward(net, view["params"], view["state"], x, task)

    with torch.no_grad():
        answers = engine.mapper(outputs, view, x, task, shared=(1, 2))
    _finite(where, "the outputs", answers)
    return _Ran(params, answers, torch.stack(scores))


def _check_external(strategy: External, stream: Stream, model: Builder | nn.Module, where: str) -> None:
    from perdure.engine.external import run_external
    from perdure.training import Settings, Training

    runs = []
    for _ in range(2):
        outcome = run_external(
            stream,
            strategy,
            Settings(model, SEEDS[:2], Training(1, BATCH, device="cpu")),
            lambda done, total: None,
        )
        scores = torch.stack([outcome.untrained, *outcome.scores])
        if scores.shape[0] - 1 not in (1, len(stream)) or scores.shape[1:] != (2, len(stream)):
            raise Broken(
                f"{where}: expected scores of each task by seed and stage; found {list(scores.shape)}"
            )
        _finite(where, "the scores", scores)
        runs.append(scores)
    if not torch.equal(*runs):
        raise Broken(f"{where}: two runs must give the same; scores differ")


# ---- hooks --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bystander(Strategy):
    """Has every hook that may stand beside another's, and lets everything pass; counts in its own state."""

    name: ClassVar[str] = "bystander"

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        return model

    def arrange(self, stream: Stream, phases: list[Phase]) -> list[Phase]:
        return list(phases)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return {"hooks": next(iter(params.values())).new_zeros(())}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return dict(params), {"hooks": state["hooks"] + 1}

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        return tuple(params)

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        return dataclasses.replace(batch)

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        return losses.clone()

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return dict(grads)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        return dict(params), {"hooks": state["hooks"] + 1}

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        return {"samples": batch.weight.sum()}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return dict(params), {"hooks": state["hooks"] + task.accumulated["samples"]}


@dataclass(frozen=True)
class _Reversed(Composition):
    """The composition, of hooks that return their names in the opposite order."""

    def returned(self, hook: str, part: Strategy, what: str, given: Any, found: Any) -> Any:
        return super().returned(hook, part, what, given, _reversed(found))


@dataclass(frozen=True)
class _Watched(Composition):
    """The composition, with every hook's arguments and results looked at."""

    where: str = ""
    outputs: int = 0
    alter_padding: bool = False

    def _call(self, hook: str, net: Net, *arguments: Any) -> Any:
        if not overrides(self, hook):
            return getattr(Composition, hook)(self, net, *arguments)
        held = [net.buffers, *(_content(a) for a in arguments)]
        leaves, structure = pytree.tree_flatten(held)
        copies = [v.detach().clone() if isinstance(v, Tensor) else v for v in leaves]
        drawn = (torch.get_rng_state(), random.getstate())
        astray = f"{self.where}: {hook} must draw from `rng`; it draws from a global generator"
        try:
            result = getattr(Composition, hook)(self, net, *arguments)
        except GlobalDraw as error:
            raise Broken(astray) from error
        if not torch.equal(drawn[0], torch.get_rng_state()) or drawn[1] != random.getstate():
            raise Broken(astray)
        after, now = pytree.tree_flatten([net.buffers, *(_content(a) for a in arguments)])
        untouched = now == structure and all(a is b for a, b in zip(leaves, after, strict=True))
        if not untouched or any(
            isinstance(v, Tensor) and not torch.equal(v.detach(), c)
            for v, c in zip(leaves, copies, strict=True)
        ):
            raise Broken(f"{self.where}: {hook} must leave its arguments alone; it changes them")
        return result

    def returned(self, hook: str, part: Strategy, what: str, given: Any, found: Any) -> Any:
        extra = set(found) - set(given) if isinstance(found, dict) else set()
        if what == "parameters" and extra:
            raise Broken(f"{self.where}: {hook} must return the parameters; found {min(extra)!r} among them")
        if not (hook == "gradient" and part.per_loss_gradients):
            said = f"what {hook} returns" if what == hook else f"the {what} that {hook} returns"
            _alike(self.where, said, given, found)
        return super().returned(hook, part, what, given, found)

    def _moved(self, hook: str, net: Net, params: Params, state: State, *more: Any) -> tuple[Params, State]:
        new, after = self._call(hook, net, params, state, *more)
        _finite(self.where, f"the parameters that {hook} returns", new)
        return new, after

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        state: State = self._call("init", net, params, stream)
        for path, leaf in pytree.tree_leaves_with_path(state):
            if not isinstance(leaf, Tensor):
                raise Broken(
                    f"{self.where}: the state must hold tensors only; found {type(leaf).__name__} at "
                    f"{pytree.keystr(path)}"
                )
        return state

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return self._moved("begin_task", net, params, state, task)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        came = self._padded(step.incoming)
        return self._moved("after_step", net, params, state, dataclasses.replace(step, came=came))

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return self._moved("end_task", net, params, state, task)

    def _padded(self, batch: Batch) -> Batch:
        if not self.alter_padding:
            return batch
        padding = (batch.weight == 0).view(-1, *(1,) * (batch.x.ndim - 1))
        return batch.with_rows(x=torch.where(padding, batch.x + 1, batch.x))

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        batch = self._padded(batch)
        new: Batch = self._call("batch", net, params, state, batch)
        n = len(new.y)
        if not len(new.x) == len(new.task) == len(new.weight) == n or new.x.shape[1:] != batch.x.shape[1:]:
            raise Broken(f"{self.where}: batch must return as many inputs, labels, tasks and weights")
        return new

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        new: Tensor = self._call("losses", net, params, state, batch, losses)
        if new.ndim != 1 or not len(new):
            raise Broken(f"{self.where}: losses must be [entries]; found {list(new.shape)}")
        _finite(self.where, "losses", new)
        return new

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        new: Params = self._call("gradient", net, params, state, grads, batch)
        _alike(self.where, "what gradient returns", params, new)
        _finite(self.where, "what gradient returns", new)
        return new

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        new: State = self._call("accumulate", net, params, state, self._padded(batch))
        _finite(self.where, "what accumulate returns", new)
        return new

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        new: Tensor = self._call("forward", net, params, state, x, task)
        if new.shape != (len(x), self.outputs):
            raise Broken(
                f"{self.where}: forward must return {[len(x), self.outputs]} outputs; found {list(new.shape)}"
            )
        return new


def _reversed(value: Any) -> Any:
    """Return the same with the names of every dictionary in the opposite order."""
    if isinstance(value, dict):
        return {k: _reversed(value[k]) for k in reversed(value)}
    if type(value) in (list, tuple):
        return type(value)(_reversed(v) for v in value)
    return value


def _content(value: Any) -> Any:
    """Return the tensors of an argument: those of a batch or a step by field."""
    if isinstance(value, Batch | TaskData):
        return {k: v for k, v in vars(value).items() if isinstance(v, Tensor | dict)}
    if isinstance(value, Step):
        return {"batch": _content(value.batch), "previous": value.previous, "grads": value.grads}
    return value


def _alike(where: str, what: str, before: Any, after: Any) -> None:
    """Refuse another structure, other shapes or other types."""
    old, new = (dict(pytree.tree_leaves_with_path(tree)) for tree in (before, after))
    for path in [*old, *(p for p in new if p not in old)]:
        a, b = _shape(old.get(path)), _shape(new.get(path))
        if a != b:
            raise Broken(f"{where}: {what} must keep its shape: {a} at {pytree.keystr(path)}; found {b}")


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return "nothing" if value is None else type(value).__name__
    return f"{list(value.shape)} {value.dtype}".replace("torch.", "")


def _finite(where: str, what: str, values: Any) -> None:
    leaves: Iterable[Any] = pytree.tree_leaves(values)
    if not all(bool(v.isfinite().all()) for v in leaves if isinstance(v, Tensor)):
        raise Broken(f"{where}: {what} must be finite; found NaN or infinity")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
