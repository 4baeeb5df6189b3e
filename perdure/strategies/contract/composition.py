"""Several strategies on one model, and the questions that the engine asks of one or several."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from perdure.core.batch import Batch, Params, State, weigh
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.core.tree import like
from perdure.strategies.contract.phase import Phase, Step, TaskData
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


Made = TypeVar("Made", bound=Strategy)

# Where a composition's state holds the numbers of its parts that are the replica's own.
NUMBERS = "(numbers)"


def parts(strategy: Strategy) -> tuple[Strategy, ...]:
    """Return the strategies that a strategy is composed of: itself when it is no composition."""
    return strategy.parts if isinstance(strategy, Composition) else (strategy,)


def acting(strategy: Strategy, phase: str) -> tuple[Strategy, ...]:
    """Return the parts of a strategy whose hooks run in the phases of this name."""
    owners = tuple(p for p in parts(strategy) if phase in p.private_phases)
    return owners or parts(strategy)


def apart(strategy: Strategy, phase: str) -> bool:
    """Tell whether the phases of this name are the own business of a part."""
    return any(phase in p.private_phases for p in parts(strategy))


def overrides(strategy: Strategy, hook: str) -> bool:
    """Tell whether the strategy has a hook of its own (or one of its parts has)."""
    return any(getattr(type(p), hook) is not getattr(Strategy, hook) for p in parts(strategy))


def combines(part: Strategy) -> bool:
    """Tell whether a part makes one gradient of those per loss; one that asks for them may only watch."""
    return part.per_loss_gradients and overrides(part, "gradient")


def lay_out(strategy: Strategy, stream: Stream) -> list[Phase]:
    """Return the phases of a run: those that a part lays out, as all parts arrange them."""
    return Composition(parts(strategy)).phases(stream)


@dataclass(frozen=True)
class Composition(Strategy):
    """Several strategies on one model: each hook is the fold of the parts' hooks, in order.

    At most one part may have ``phases``, and one ``forward``, of its own; any may ``arrange`` the phases. At
    most one may make one gradient of those per loss, and its ``gradient`` comes first; parts that ask for
    them and have no ``gradient`` of their own only watch, in ``after_step``. What a hook does is the same
    whatever stands beside it; names come back in the order in which they were given, and others are refused.
    """

    parts: tuple[Strategy, ...]
    name: ClassVar[str] = "composition"

    def __post_init__(self) -> None:
        for part in self.parts:
            if part.runs_alone and len(self.parts) > 1:
                raise PerdureError(f"{part} is a learner of its own and runs alone; found it in {self}")
        wanted = {
            f"its own {hook}": [p for p in self.parts if overrides(p, hook)] for hook in ("phases", "forward")
        }
        wanted["one gradient per loss"] = [p for p in self.parts if combines(p)]
        for what, owners in wanted.items():
            if len(owners) > 1:
                names = " and ".join(str(p) for p in owners)
                raise PerdureError(f"expected at most one strategy with {what}; found {names}")

    @property
    def per_loss_gradients(self) -> bool:  # type: ignore[override]
        """Whether a part asks for one gradient per loss."""
        return any(p.per_loss_gradients for p in self.parts)

    @property
    def reads_inside(self) -> tuple[str, ...]:  # type: ignore[override]
        """Layers that a part asks for."""
        return tuple(dict.fromkeys(layer for p in self.parts for layer in p.reads_inside))

    def names(self) -> list[str]:
        """Return a key per part, the same whatever stands beside it unless it is there twice."""
        kinds = [p.name for p in self.parts]
        return [k if kinds.count(k) == 1 else f"{k}{kinds[:i].count(k)}" for i, k in enumerate(kinds)]

    def owning(self, numbers: Mapping[str, Any]) -> Composition:
        """Return the composition with numbers of its parts, ``"ewc.strength"``, replaced by other ones.

        They may be tensors without axes, a replica's own: nothing is checked again.
        """
        return _copy(self, {"parts": tuple(bind(p, numbers) for p in self.parts)}) if numbers else self

    def each(self, state: State, phase: str = "") -> list[tuple[str, Strategy, State]]:
        """Return name, strategy with the replica's own numbers, and state of every part that acts."""
        active = acting(self, phase)
        named = zip(self.names(), self.parts, strict=True)
        numbers = state.get(NUMBERS, {})
        return [(n, bind(p, numbers), state[n]) for n, p in named if any(p is a for a in active)]

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
        given = dict(zip(self.names(), self.parts, strict=True))
        for name, part, own in self.each(state, phase):
            found, state_after = getattr(part, hook)(net, params, own, after(name))
            if hook != "after_step":
                # Between phases, names of buffers among the parameters replace the buffers.
                replaced.update({k: v for k, v in found.items() if k in net.buffers})
                found = {k: v for k, v in found.items() if k not in net.buffers}
            params = self.returned(hook, given[name], "parameters", params, found)
            new[name] = self.returned(hook, given[name], "state", own, state_after)
        return {**params, **replaced}, new

    def returned(self, hook: str, part: Strategy, what: str, given: Any, found: Any) -> Any:
        """Return what the hook of a part returned, its names in the order in which they were given."""
        return like(given, found, f"{hook} of {part}")

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return self._fold("begin_task", net, params, state, lambda n: scoped(task, n), task.phase.name)

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        named = [set(p.trainable(net, params, phase)) for p in acting(self, phase)]
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
        if self.per_loss_gradients and not any(combines(p) for _, p, _ in active):
            grads = {k: g.sum(0) for k, g in grads.items()}
        # One gradient per loss is for the part that asks for it: the others see what it makes of them.
        given = dict(zip(self.names(), self.parts, strict=True))
        for name, part, own in sorted(active, key=lambda entry: not combines(entry[1])):
            found = part.gradient(net, params, own, grads, scoped(batch, name))
            grads = self.returned("gradient", given[name], "gradient", params, found)
        return grads

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        def own_step(name: str) -> Step:
            return dataclasses.replace(step, batch=scoped(step.batch, name))

        return self._fold("after_step", net, params, state, own_step, step.batch.phase)

    @property
    def accumulated_samples(self) -> int | None:
        wanted = [p.accumulated_samples for p in self.parts if overrides(p, "accumulate")]
        return None if None in wanted or not wanted else max(n for n in wanted if n is not None)

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        return {
            n: p.accumulate(net, params, own, self._measured(scoped(batch, n), p))
            for n, p, own in self.each(state, batch.phase)
            if overrides(p, "accumulate")
        }

    def _measured(self, batch: Batch, part: Strategy) -> Batch:
        """Give weight 0 to samples that others of the composition are shown and this part does not."""
        wanted = part.accumulated_samples
        if wanted is None or wanted == self.accumulated_samples or batch.place is None:
            return batch
        place = batch.place + torch.arange(len(batch), device=batch.weight.device)
        return batch.with_rows(**weigh(batch.rows, (place < wanted).to(batch.weight.dtype)))

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        def own_task(name: str) -> TaskData:
            return dataclasses.replace(
                task, rng=task.rng.scoped(name), accumulated=task.accumulated.get(name, {})
            )

        return self._fold("end_task", net, params, state, own_task, task.phase.name)

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        for _, part, own in self.each(state):
            if overrides(part, "forward"):
                return part.forward(net, params, own, x, task)
        return net(params, x, task)

    def __str__(self) -> str:
        return " + ".join(str(p) for p in self.parts)


def bind(part: Strategy, numbers: Mapping[str, Any]) -> Strategy:
    """Return a strategy with those of the numbers that are its own, ``"kind.field"``; nothing is checked."""
    own = {field: value for key, value in numbers.items() if (field := own_field(part, key)) is not None}
    return _copy(part, own) if own else part


def own_field(part: Strategy, key: str) -> str | None:
    """Return the field of a strategy that a key such as ``"ewc.strength"`` names, if it is of that kind."""
    kind, _, field = key.rpartition(".")
    return field if kind == part.name else None


def _copy(strategy: Made, changes: Mapping[str, Any]) -> Made:
    copied = copy.copy(strategy)
    vars(copied).update(changes)
    return copied


def scoped(holder: Any, name: str) -> Any:
    """Return a batch or task data whose random numbers belong to one part of a composition."""
    return dataclasses.replace(holder, rng=holder.rng.scoped(name))
