"""A composition whose every hook is looked at: what it is given, draws, and returns."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.core.batch import Batch, Params, State
from perdure.core.layer_draws import GlobalDraw
from perdure.core.net import Net
from perdure.scenarios.contract.stream import Stream
from perdure.strategies.contract.composition import Composition, overrides
from perdure.strategies.contract.phase import Step, TaskData
from perdure.strategies.contract.strategy import Strategy
from perdure.testing.promises import Broken, check_alike, check_finite


@dataclass(frozen=True)
class Watched(Composition):
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
            check_alike(self.where, said, given, found)
        return super().returned(hook, part, what, given, found)

    def _moved(self, hook: str, net: Net, params: Params, state: State, *more: Any) -> tuple[Params, State]:
        new, after = self._call(hook, net, params, state, *more)
        check_finite(self.where, f"the parameters that {hook} returns", new)
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
        check_finite(self.where, "losses", new)
        return new

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        new: Params = self._call("gradient", net, params, state, grads, batch)
        check_alike(self.where, "what gradient returns", params, new)
        check_finite(self.where, "what gradient returns", new)
        return new

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        new: State = self._call("accumulate", net, params, state, self._padded(batch))
        check_finite(self.where, "what accumulate returns", new)
        return new

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        new: Tensor = self._call("forward", net, params, state, x, task)
        if new.shape != (len(x), self.outputs):
            raise Broken(
                f"{self.where}: forward must return {[len(x), self.outputs]} outputs; found {list(new.shape)}"
            )
        return new


def _content(value: Any) -> Any:
    """Return the tensors of an argument: those of a batch or a step by field."""
    if isinstance(value, Batch | TaskData):
        return {k: v for k, v in vars(value).items() if isinstance(v, Tensor | dict)}
    if isinstance(value, Step):
        return {"batch": _content(value.batch), "previous": value.previous, "grads": value.grads}
    return value
