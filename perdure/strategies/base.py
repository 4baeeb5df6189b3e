"""The contract of a strategy: pure functions over ``(params, state)`` of ONE model.

The engine maps them over all replicas. Each hook takes what came before it and returns what goes on, so a
composition ``a + b`` is the fold of its parts' hooks. State holds tensors of fixed shape: capacity is
allocated for the whole stream at the start, and a value decides through masks and ``torch.where``, never
through a branch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from perdure.errors import PerdureError
from perdure.net import Batch, Net, Params, State
from perdure.random import Rng

if TYPE_CHECKING:
    from perdure.scenarios.stream import Stream


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    Parameters
    ----------
    tasks:
        Indices of the tasks whose training parts are drawn from, together.
    name:
        What hooks see as ``batch.phase``.
    stage:
        Whether all tasks are scored afterwards: a row of the result.
    epochs:
        Passes over the data; ``None`` takes the run's. 0 runs only ``begin_task`` and ``end_task``.
    steps:
        Number of steps instead of epochs.
    separate:
        Draw one batch per task at each step, each with a loss of its own (multi-task learning).
    reset:
        Start with fresh optimiser memory (momentum, moments), as a new run would.
    portion:
        From which to which share of its steps. The portions of a phase, one after the other, are the whole
        phase: same batches, draws and learning rates. ``begin_task`` runs in the one that starts at 0,
        ``end_task`` in the one that stops at 1.
    """

    tasks: tuple[int, ...]
    name: str = "learn"
    stage: bool = True
    epochs: int | None = None
    steps: int | None = None
    separate: bool = False
    reset: bool = False
    portion: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.portion[0] < self.portion[1] <= 1:
            raise PerdureError(f"portion must be (start, stop) in [0, 1]; found {self.portion}")


@dataclass(frozen=True, eq=False)
class TaskData:
    """What ``begin_task`` and ``end_task`` see of a phase: its training data and its place in the stream.

    Parameters
    ----------
    index:
        Index of the (last) task of the phase, a Python integer.
    x, y, task:
        Training samples ``[n, ...]``, labels ``[n]`` and the task of each ``[n]``.
    classes:
        Outputs that the task uses, ``[outputs]`` bool.
    rng:
        Random numbers of this moment.
    phase:
        The phase.
    measured:
        At the end of a phase, the sums of what the strategy's ``measure`` returned.
    """

    index: int
    x: Tensor
    y: Tensor
    task: Tensor
    classes: Tensor
    rng: Rng
    phase: Phase
    measured: State


@dataclass(frozen=True, eq=False)
class Step:
    """What ``after_step`` sees: the batch, the parameters before the step, and the gradient taken."""

    batch: Batch
    previous: Params
    grads: Params


@dataclass(frozen=True)
class Strategy:
    """How a learner protects, replays or shares. The defaults are plain sequential learning.

    A plugin is a frozen dataclass of its hyperparameters that overrides the hooks it needs. ``params`` maps
    the names of the trained tensors to their values; ``state`` is the plugin's own dictionary of tensors.
    """

    kind: ClassVar[str] = "strategy"
    # Ask for one gradient per entry of the loss vector: `gradient` then gets a leading axis.
    per_task: ClassVar[bool] = False
    # No learner of a stream (it sees several tasks at once, or each alone): others are held against it.
    bound: ClassVar[bool] = False
    # Names of phases that are this strategy's own business: only its hooks run in them, the optimiser has a
    # memory of its own there, and the draws of all other phases are as if they had not been.
    alone: ClassVar[tuple[str, ...]] = ()

    @property
    def measured_samples(self) -> int | None:
        """How many samples of a phase ``measure`` is to see; ``None`` for all."""
        return None

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        """Add layers to the model, or wrap it. Called once per replica, before its weights are drawn."""
        return model

    def phases(self, stream: Stream) -> list[Phase]:
        """Say what is trained on, in which order."""
        every = tuple(range(len(stream)))
        return [Phase(every)] if stream.setting == "joint" else [Phase((t,)) for t in every]

    def arrange(self, stream: Stream, phases: list[Phase]) -> list[Phase]:
        """Cut the phases that were laid out, or put more between them: what fine-tunes now and then does."""
        return phases

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        """Allocate the state."""
        return {}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        """Prepare for a phase."""
        return params, state

    def trained(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        """Name the parameters that phases of this name train; the others stay as they are, to the bit.

        No gradient is taken for those, hooks see zeros, and their optimiser memory rests. Only the names of
        ``params`` may matter: a run asks once for each name of a phase.
        """
        return tuple(params)

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        """Change what is learned from in this step."""
        return batch

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        """Add to the losses, ``[entries]``; their sum is minimised."""
        return losses

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        """Change the gradient before the optimiser sees it."""
        return grads

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        """Follow the optimiser's step."""
        return params, state

    def measure(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        """Return sums over the samples of a batch; added up over a phase's data for ``end_task``."""
        return {}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        """Conclude a phase. Names of buffers among the returned params replace the buffers."""
        return params, state

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        """Outputs for scoring ``x`` ``[n, ...]`` whose tasks are ``task`` ``[n]``."""
        return net(params, x, task)

    def __add__(self, other: Strategy) -> Strategy:
        return Composition((*parts(self), *parts(other)))

    def __str__(self) -> str:
        """Return the name with the parameters that are not at their defaults."""
        changed = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        ]
        return f"{self.kind}({', '.join(changed)})" if changed else self.kind


def parts(strategy: Strategy) -> tuple[Strategy, ...]:
    """Return the strategies that a strategy is composed of: itself when it is no composition."""
    return strategy.parts if isinstance(strategy, Composition) else (strategy,)


def acting(strategy: Strategy, phase: str) -> tuple[Strategy, ...]:
    """Return the parts of a strategy whose hooks run in the phases of this name."""
    owners = tuple(p for p in parts(strategy) if phase in p.alone)
    return owners or parts(strategy)


def apart(strategy: Strategy, phase: str) -> bool:
    """Tell whether the phases of this name are the own business of a part."""
    return any(phase in p.alone for p in parts(strategy))


def overrides(strategy: Strategy, hook: str) -> bool:
    """Tell whether the strategy has a hook of its own (or one of its parts has)."""
    return any(getattr(type(p), hook) is not getattr(Strategy, hook) for p in parts(strategy))


def owns(part: Strategy, hook: str) -> bool:
    """Tell whether a part wants this hook to itself; who arranges the phases of others does not."""
    return overrides(part, hook) and not (hook == "phases" and overrides(part, "arrange"))


@dataclass(frozen=True)
class Composition(Strategy):
    """Several strategies on one model: each hook is the fold of the parts' hooks, in order.

    At most one part may have ``phases``, and one ``forward``, of its own; any may ``arrange`` the phases.
    """

    parts: tuple[Strategy, ...]
    kind: ClassVar[str] = "composition"

    def __post_init__(self) -> None:
        for hook in ("phases", "forward"):
            owners = [p for p in self.parts if owns(p, hook)]
            if len(owners) > 1:
                names = " and ".join(str(p) for p in owners)
                raise PerdureError(f"expected at most one strategy with its own {hook}; found {names}")

    @property
    def per_task(self) -> bool:  # type: ignore[override]
        """Whether a part asks for one gradient per loss."""
        return any(p.per_task for p in self.parts)

    def names(self) -> list[str]:
        """Return a key per part, the same whatever stands beside it unless it is there twice."""
        kinds = [p.kind for p in self.parts]
        return [k if kinds.count(k) == 1 else f"{k}{kinds[:i].count(k)}" for i, k in enumerate(kinds)]

    def each(self, state: State, phase: str = "") -> list[tuple[str, Strategy, State]]:
        """Return name, strategy and state of every part that acts in a phase."""
        active = acting(self, phase)
        named = zip(self.names(), self.parts, strict=True)
        return [(n, p, state[n]) for n, p in named if any(p is a for a in active)]

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        for part in self.parts:
            model = part.extend(model, stream)
        return model

    def phases(self, stream: Stream) -> list[Phase]:
        owner = next((p for p in self.parts if owns(p, "phases")), None)
        phases = Strategy.phases(self, stream) if owner is None else owner.phases(stream)
        for part in self.parts:
            phases = part.arrange(stream, phases)
        return phases

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return {n: p.init(net, params, stream) for n, p in zip(self.names(), self.parts, strict=True)}

    def _fold(
        self, hook: Callable[[Strategy], Any], params: Params, state: State, after: Callable[[str], Any],
        phase: str,
    ) -> tuple[Params, State]:  # fmt: skip
        new = dict(state)
        for name, part, own in self.each(state, phase):
            params, new[name] = hook(part)(params, own, after(name))
        return params, new

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return self._fold(
            lambda p: lambda q, s, a: p.begin_task(net, q, s, a), params, state, lambda n: scoped(task, n),
            task.phase.name,
        )  # fmt: skip

    def trained(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        named = [set(p.trained(net, params, phase)) for p in acting(self, phase)]
        return tuple(k for k in params if all(k in names for names in named))

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        rng = batch.rng
        for name, part, own in self.each(state, batch.phase):
            batch = part.batch(net, params, own, dataclasses.replace(batch, rng=rng.scoped(name)))
        return dataclasses.replace(batch, rng=rng)

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        for name, part, own in self.each(state, batch.phase):
            losses = part.losses(net, params, own, scoped(batch, name), losses)
        return losses

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        active = self.each(state, batch.phase)
        if self.per_task and not any(p.per_task for _, p, _ in active):
            grads = {k: g.sum(0) for k, g in grads.items()}
        for name, part, own in active:
            grads = part.gradient(net, params, own, grads, scoped(batch, name))
        return grads

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        def own_step(name: str) -> Step:
            return dataclasses.replace(step, batch=scoped(step.batch, name))

        return self._fold(
            lambda p: lambda q, s, a: p.after_step(net, q, s, a), params, state, own_step,
            step.batch.phase,
        )  # fmt: skip

    @property
    def measured_samples(self) -> int | None:
        wanted = [p.measured_samples for p in self.parts if overrides(p, "measure")]
        return None if None in wanted or not wanted else max(n for n in wanted if n is not None)

    def measure(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        return {
            n: p.measure(net, params, own, scoped(batch, n))
            for n, p, own in self.each(state, batch.phase)
            if overrides(p, "measure")
        }

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        def own_task(name: str) -> TaskData:
            return dataclasses.replace(task, rng=task.rng.scoped(name), measured=task.measured.get(name, {}))

        return self._fold(
            lambda p: lambda q, s, a: p.end_task(net, q, s, a), params, state, own_task,
            task.phase.name,
        )  # fmt: skip

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        for _, part, own in self.each(state):
            if overrides(part, "forward"):
                return part.forward(net, params, own, x, task)
        return net(params, x, task)

    def __str__(self) -> str:
        return " + ".join(str(p) for p in self.parts)


def scoped(holder: Any, name: str) -> Any:
    """Return a batch or task data whose random numbers belong to one part of a composition."""
    return dataclasses.replace(holder, rng=holder.rng.scoped(name))
