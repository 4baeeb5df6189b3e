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

import torch
from torch import Tensor, nn

from perdure.core.errors import PerdureError
from perdure.core.net import Batch, Net, Params, State
from perdure.core.random import Rng
from perdure.core.tree import like

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


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
    """What ``after_step`` sees.

    Parameters
    ----------
    batch:
        What was learned from.
    previous:
        The parameters before the step.
    grads:
        The gradient taken.
    came:
        The batch as it was before any strategy's ``batch``.
    """

    batch: Batch
    previous: Params
    grads: Params
    came: Batch | None = None

    @property
    def incoming(self) -> Batch:
        """The samples as they came from the stream, whatever strategies made of them: what memories hold."""
        return self.batch.head() if self.came is None else self.came


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
        """Cut the phases that :meth:`phases` laid out, or put more between them.

        Called whether the strategy stands alone or in a composition, and whoever laid the phases out.
        """
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


def lay_out(strategy: Strategy, stream: Stream) -> list[Phase]:
    """Return the phases of a run: those that a part lays out, as all parts arrange them."""
    return Composition(parts(strategy)).phases(stream)


@dataclass(frozen=True)
class Composition(Strategy):
    """Several strategies on one model: each hook is the fold of the parts' hooks, in order.

    At most one part may have ``phases``, and one ``forward``, of its own; any may ``arrange`` the phases. At
    most one may ask for one gradient per loss, and its ``gradient`` comes first. What a hook does is the same
    whatever stands beside it; names come back in the order in which they were given, and others are refused.
    """

    parts: tuple[Strategy, ...]
    kind: ClassVar[str] = "composition"

    def __post_init__(self) -> None:
        # Imported here: learners are strategies.
        from perdure.strategies.contract.external import External

        for part in self.parts:
            if isinstance(part, External) and len(self.parts) > 1:
                raise PerdureError(f"{part} is a learner of its own and runs alone; found it in {self}")
        wanted = {
            f"its own {hook}": [p for p in self.parts if overrides(p, hook)] for hook in ("phases", "forward")
        }
        wanted["one gradient per loss"] = [p for p in self.parts if p.per_task]
        for what, owners in wanted.items():
            if len(owners) > 1:
                names = " and ".join(str(p) for p in owners)
                raise PerdureError(f"expected at most one strategy with {what}; found {names}")

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
        owner = next((p for p in self.parts if overrides(p, "phases")), None)
        phases = Strategy.phases(self, stream) if owner is None else owner.phases(stream)
        for part in self.parts:
            phases = part.arrange(stream, phases)
        return phases

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return {n: p.init(net, params, stream) for n, p in zip(self.names(), self.parts, strict=True)}

    def _fold(
        self, hook: str, net: Net, params: Params, state: State, after: Callable[[str], Any], phase: str
    ) -> tuple[Params, State]:
        new, replaced = dict(state), {}
        for name, part, own in self.each(state, phase):
            found, state_after = getattr(part, hook)(net, params, own, after(name))
            if hook != "after_step":
                # Between phases, names of buffers among the parameters replace the buffers.
                replaced.update({k: v for k, v in found.items() if k in net.buffers})
                found = {k: v for k, v in found.items() if k not in net.buffers}
            params = self.returned(hook, part, "parameters", params, found)
            new[name] = self.returned(hook, part, "state", own, state_after)
        return {**params, **replaced}, new

    def returned(self, hook: str, part: Strategy, what: str, given: Any, found: Any) -> Any:
        """Return what the hook of a part returned, its names in the order in which they were given."""
        return like(given, found, f"{hook} of {part}")

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return self._fold("begin_task", net, params, state, lambda n: scoped(task, n), task.phase.name)

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
        # One gradient per loss is for the part that asks for it: the others see what it makes of them.
        for name, part, own in sorted(active, key=lambda entry: not entry[1].per_task):
            found = part.gradient(net, params, own, grads, scoped(batch, name))
            grads = self.returned("gradient", part, "gradient", params, found)
        return grads

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        def own_step(name: str) -> Step:
            return dataclasses.replace(step, batch=scoped(step.batch, name))

        return self._fold("after_step", net, params, state, own_step, step.batch.phase)

    @property
    def measured_samples(self) -> int | None:
        wanted = [p.measured_samples for p in self.parts if overrides(p, "measure")]
        return None if None in wanted or not wanted else max(n for n in wanted if n is not None)

    def measure(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        return {
            n: p.measure(net, params, own, self._measured(scoped(batch, n), p))
            for n, p, own in self.each(state, batch.phase)
            if overrides(p, "measure")
        }

    def _measured(self, batch: Batch, part: Strategy) -> Batch:
        """Give weight 0 to samples that others of the composition measure and this part does not."""
        wanted = part.measured_samples
        if wanted is None or wanted == self.measured_samples or batch.place is None:
            return batch
        place = batch.place + torch.arange(len(batch), device=batch.weight.device)
        return dataclasses.replace(batch, weight=batch.weight * (place < wanted))

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        def own_task(name: str) -> TaskData:
            return dataclasses.replace(task, rng=task.rng.scoped(name), measured=task.measured.get(name, {}))

        return self._fold("end_task", net, params, state, own_task, task.phase.name)

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
