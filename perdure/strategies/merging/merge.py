"""Merging: a model for each task from a common start, and one model of them all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.core.batch import Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.strategies.contract.phase import Phase, Step, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.merging.average import Average
from perdure.strategies.merging.fitted import Fitted
from perdure.strategies.merging.heads import head_rows, own_parameters, owners, put_rows, statistics
from perdure.strategies.merging.rule import MERGING, Rule
from perdure.strategies.parts.chain import chain, drawn

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

PRETRAIN, FIT = "pretrain", "fit"


@strategy("merge")
class Merge(Strategy):
    """Train each task by itself; after each, the model is what the models so far merge to.

    Every task's weights are kept in a bank, as large as the model times the number of tasks.

    Parameters
    ----------
    rule:
        How weights are merged: a :class:`Rule` or its name, ``"ties(density=0.1)"``.
    start:
        Where each task starts: ``"base"``, the common start of all; ``"previous"``, the weights of the task
        before; ``"merged"``, what has been merged so far; or ``"own"``, weights that are drawn for it, where
        the model is a chain of layers (:func:`perdure.strategies.parts.chain.chain`). Task vectors are
        differences to the common start in each case.
    pretrain:
        Epochs that give the common start, before the first task; with 0 it is the run's start, drawn or
        pretrained. Merging models from a random start seldom gives a good one.
    pretrain_on:
        What they are over: the ``"first"`` task's training part, which a learner of a stream has; or that of
        ``"all"`` tasks together, which stands for pretraining on other data: then this is no learner of a
        stream, and is compared with those that learn several tasks at once.
    scale:
        How far to go from the common start to the weights that the rule gives: a factor besides the rule's
        own, which ``tune={"merge.scale": [0.5, 1.0]}`` can choose. Heads have no part in it.

    What is merged are the parameters that tasks share. Heads stay out: where an output belongs to one task
    alone (task and class setting), its row of the head comes from that task's model, and is as at the start
    until the task is learned; rows that several tasks use are merged. Of parameters that the model says are a
    task's own (``task_specific``), each entry comes from the model that moved it furthest. Statistics of norm
    layers stay out of the rule as well: the merged model has the mean of the models' statistics, which is not
    what its activations have. Rules with masks of their own for each task need the task setting.
    Rules that look at samples (:class:`Fitted`) do so after each task, at all tasks so far; no weight is
    trained then. That is no learner of a stream either.

    >>> from perdure.strategies import get
    >>> get("merge(rule=ties(density=0.1), start=previous)")
    Merge(rule=ties(density=0.1), start='previous', pretrain=0, pretrain_on='first', scale=1.0)
    """

    private_phases: ClassVar[tuple[str, ...]] = (PRETRAIN, FIT)
    scales: ClassVar[tuple[str, ...]] = ("scale",)
    rule: Rule | str = Average()
    start: Literal["base", "previous", "merged", "own"] = "base"
    pretrain: int = 0
    pretrain_on: Literal["first", "all"] = "first"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.rule, str):
            object.__setattr__(self, "rule", MERGING.get(self.rule))
        check_whole("pretrain", self.pretrain, 0)
        check_number("scale", self.scale)
        if self.scale != 1 and not self.inner.in_place:
            raise PerdureError(
                f"the merging rule {self.rule} moves features to other places: "
                f"scale must be 1; found {self.scale}"
            )
        if self.start == "own" and self.pretrain:
            raise PerdureError(
                "with start=own weights are drawn for each task, not pretrained: "
                f"pretrain must be 0; found {self.pretrain}"
            )

    @property
    def inner(self) -> Rule:
        """The rule."""
        return self.rule  # type: ignore[return-value]

    @property
    def together(self) -> bool:  # type: ignore[override]
        """Whether samples of several tasks are learned from at once."""
        return (self.pretrain > 0 and self.pretrain_on == "all") or isinstance(self.rule, Fitted)

    def phases(self, stream: Stream) -> list[Phase]:
        every, last = tuple(range(len(stream))), len(stream) - 1
        scored = stream.setting != "joint"
        phases = []
        for t in every:
            stage, rule = scored or t == last, self.rule
            fits = isinstance(rule, Fitted)
            phases.append(Phase((t,), stage=stage and not fits, reset=self.start != "previous"))
            if isinstance(rule, Fitted):
                phases.append(Phase(every[: t + 1], FIT, stage, steps=rule.steps, part=rule.part))
        if not self.pretrain:
            return phases
        tasks = every if self.pretrain_on == "all" else every[:1]
        return [Phase(tasks, PRETRAIN, stage=False, epochs=self.pretrain), *phases]

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        if self.inner.per_task and stream.setting != "task":
            raise PerdureError(
                f"the merging rule {self.rule} answers each task with weights of its own, for which it needs "
                f"the task setting; found {stream.setting}"
            )
        if isinstance(self.rule, Fitted):
            self.rule.check(stream)
        if self.start == "own":
            chain(net.module, f"{self.name} with start=own")
        found, outputs = owners(stream), stream.outputs
        heads = head_rows(net.module, params, outputs) if max(found) >= 0 else ()
        state: State = {
            "start": {**net.buffers, **params},
            "owner": torch.tensor(found, device=next(iter(params.values())).device),
            "seen": torch.zeros(len(stream), dtype=torch.bool),
            "norms": {k: net.buffers[k] for k in statistics(net.module, net.buffers)},
            "own": {k: params[k] for k in own_parameters(net.module, params, outputs)},
            "heads": {k: params[k] for k in heads if min(found) >= 0},
            "mixed": {k: params[k] for k in heads if min(found) < 0},
        }
        base = _base(state, params)
        if not base:
            raise PerdureError(
                f"{self.name} needs parameters that tasks share; found none besides those of the head of "
                f"{type(net.module).__name__}"
            )
        state["memory"] = self.make_memory(base, len(stream))
        if self.inner.per_task:
            state["each"] = {k: torch.stack([v] * len(stream)) for k, v in base.items()}
        if self.start == "previous":
            state["last"] = state["start"]
        if isinstance(self.rule, Fitted):
            state["fit"] = self.rule.begin(net, base, len(stream), stream.input_shape)
        return pytree.tree_map(torch.clone, state)  # type: ignore[no-any-return]

    def make_memory(self, base: Params, tasks: int) -> State:
        """Return what is kept of the tasks' weights, before any is learned."""
        return {k: torch.stack([v] * tasks) for k, v in base.items()}

    def add(self, memory: State, base: Params, new: Params, task: TaskData) -> tuple[Params, State]:
        """Take in a task's weights; return the merged ones of the tasks so far, and what is kept."""
        bank = {k: v.clone() for k, v in memory.items()}
        for k, v in bank.items():
            v[task.index] = new[k]
        so_far = {k: v[: task.index + 1] for k, v in bank.items()}
        return self.inner.merge(base, so_far, task.rng), bank

    def scale_of(self, weights: Tensor) -> Tensor:
        """Return the factor as a tensor of the weights' kind."""
        return torch.as_tensor(self.scale, dtype=weights.dtype, device=weights.device)

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name == FIT and isinstance(self.rule, Fitted):
            fit = self.rule.begin(net, _base(state, params), len(state["seen"]), tuple(task.x.shape[1:]))
            return params, {**state, "fit": fit}
        if task.phase.name != "learn" or self.start == "merged":
            return params, state
        if self.start == "own":
            layers = chain(net.module, f"{self.name} with start=own")
            return drawn(layers, params, task.rng.scoped("start")), state
        return dict(state["last" if self.start == "previous" else "start"]), state

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        # While coefficients are learned, no weight is: the smallest stands in, and is put back.
        return [min(params, key=lambda k: params[k].numel())] if phase == FIT else tuple(params)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        if step.batch.phase != FIT or not isinstance(self.rule, Fitted):
            return params, state
        quiet, before = net.eval({**net.buffers, **state["norms"]}), step.previous
        model = partial(self._fitted, before, state)
        fit = self.rule.learn(quiet, before, state["memory"], state["fit"], model, step.batch)
        return before, {**state, "fit": fit}

    def _fitted(self, params: Params, state: State, values: Params) -> Params:
        """Return the model with what models merge to at some values of the rule."""
        assert isinstance(self.rule, Fitted)
        base = _base(state, params)
        moved = {part: self.rule.heads(state[part], state["owner"], values) for part in ("heads", "mixed")}
        return self._put(params, {**state, **moved}, base, self.rule.build(base, state["memory"], values))

    def _put(self, params: Params, state: State, base: Params, merged: Params) -> Params:
        """Return the model with merged weights, as far from the start as is wanted, and the tasks' heads."""
        owned = state["owner"] >= 0
        moved = {k: torch.lerp(base[k].expand_as(v), v, self.scale_of(v)) for k, v in merged.items()}
        rows = {k: put_rows(v, moved[k], owned) for k, v in state["mixed"].items()}
        return {**params, **moved, **rows, **state["heads"], **state["own"]}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        learned = {**net.buffers, **params}
        if task.phase.name == PRETRAIN:
            return params, self._start_from(state, learned, params)
        if task.phase.name == FIT and isinstance(self.rule, Fitted):
            quiet, model = net.eval({**net.buffers, **state["norms"]}), partial(self._fitted, params, state)
            fit = self.rule.conclude(quiet, state["fit"], model, task)
            return {**model(fit["values"]), **state["norms"]}, {**state, "fit": fit}
        state, base = {**state, "seen": state["seen"].clone()}, _base(state, params)
        state["seen"][task.index] = True
        mine, owned = state["owner"] == task.index, state["owner"] >= 0
        for part in ("heads", "mixed"):
            state[part] = {k: put_rows(params[k], v, mine) for k, v in state[part].items()}
        state["own"] = {k: _further(params[k], v, state["start"][k]) for k, v in state["own"].items()}
        state["norms"] = {k: v + (learned[k] - v) / (task.index + 1) for k, v in state["norms"].items()}
        if self.start == "previous":
            state["last"] = learned
        new = {
            k: put_rows(v, params[k], owned) if k in state["mixed"] else params[k] for k, v in base.items()
        }
        merged, state["memory"] = self.add(state["memory"], base, new, task)
        answer = self._put(params, state, base, merged)
        if self.inner.per_task:
            rest = {k: v[task.index + 1 :] for k, v in state["each"].items()}
            state["each"] = {k: torch.cat([answer[k], rest[k]]) for k in base}
            answer.update({k: answer[k][task.index] for k in base})
        return {**answer, **state["norms"]}, state

    def _start_from(self, state: State, learned: Params, params: Params) -> State:
        """Return the state in which pretrained weights are the common start."""
        parts = {part: {k: learned[k] for k in state[part]} for part in ("norms", "own", "heads", "mixed")}
        state, tasks = {**state, **parts, "start": learned}, len(state["seen"])
        base = _base(state, params)
        state["memory"] = self.make_memory(base, tasks)
        if self.inner.per_task:
            state["each"] = {k: torch.stack([v] * tasks) for k, v in base.items()}
        return {**state, "last": learned} if self.start == "previous" else state

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        output = net(params, x, task)
        if not self.inner.per_task:
            return output
        for t in range(len(state["seen"])):
            model = {**params, **{k: v[t] for k, v in state["each"].items()}}
            own = ((task == t) & state["seen"][t]).unsqueeze(-1)
            output = torch.where(own, net(model, x, task), output)
        return output

    def report(self, state: State) -> State:
        return self.rule.report(state["fit"]) if isinstance(self.rule, Fitted) else {}


def _base(state: State, params: Params) -> Params:
    """Return the common start of what is merged."""
    return {k: state["start"][k] for k in params if k not in state["own"] and k not in state["heads"]}


def _further(new: Tensor, held: Tensor, start: Tensor) -> Tensor:
    """Return of two weights, entry by entry, the one that is further from a third."""
    return torch.where((new - start).abs() > (held - start).abs(), new, held)
