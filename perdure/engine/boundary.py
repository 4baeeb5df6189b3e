"""Where a phase begins and ends: the hooks that run there, and what a strategy measures before its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from perdure.core.batch import Params, Rows
from perdure.core.foreign_draws import no_foreign_draws
from perdure.core.random import Rng
from perdure.core.tree import like
from perdure.engine.data import Data
from perdure.engine.flops import CountFlops
from perdure.engine.replicas import Replica, unshare
from perdure.engine.worlds import Worlds
from perdure.strategies.contract.composition import acting, apart, overrides
from perdure.strategies.contract.phase import Phase, TaskData

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


def boundary(engine: Engine, replica: Replica, phase: Phase, data: Data | Worlds, hook: str) -> Replica:
    """Run ``begin_task`` or ``end_task`` on all replicas."""
    begins, own = hook == "begin_task", apart(engine.strategy, phase.name)
    if phase.portion[0] > 0 if begins else phase.portion[1] < 1:
        return replica
    if own and begins:
        engine.held = pytree.tree_map(torch.clone, replica.optim)
    elif own:
        replica, engine.held = replace(replica, optim=engine.held), {}
    if begins and (phase.reset or own):
        with torch.no_grad():
            fresh = engine.mapper(engine.program.optimizer.init, replica.params, kind="fresh")
        replica = replace(replica, optim=unshare(fresh))
    active = acting(engine.strategy, phase.name)
    if not any(overrides(p, hook) for p in active):
        return replica
    if isinstance(data, Worlds):
        data = data.play(replica, engine.step_count, f"{hook}/")
    moment = _moment(engine, phase, hook)
    rows, later = {k: engine.place.numbers(v) if k == "x" else v for k, v in data.rows.items()}, data.later
    buffers = set(replica.buffers)

    def call(params: Params, own: Params, state: Any, seed: Tensor, accumulated: Any, rows: Rows) -> Any:
        task = moment(seed, accumulated, {**later, **rows})
        net = engine.layouts.of(phase).net(own, task.rng)
        new, after = getattr(engine.composition, hook)(net, params, state, task)
        changed = {k: v for k, v in new.items() if k in buffers}
        rest = {k: v for k, v in new.items() if k not in buffers}
        who = f"{hook} of {engine.strategy}"
        buffers_after = like(own, {**own, **changed}, who)
        return like(params, rest, who), buffers_after, like(state, after, who)

    accumulated: Any = {}
    if not begins and any(overrides(p, "accumulate") for p in active):
        accumulated = _measure(engine, replica, phase, data)
    with torch.no_grad(), no_foreign_draws(engine.program.module), CountFlops() as counted:
        params, own, state = engine.mapper(
            call,
            replica.params,
            replica.buffers,
            replica.state,
            engine.hyper["seed"],
            accumulated,
            rows,
            shared=() if data.own else (5,),
            kind=(hook, phase.name),
        )
    engine.costs.flops += counted.total / engine.replicas
    return unshare(replace(replica, params=params, buffers=own, state=state))  # type: ignore[no-any-return]


def _moment(engine: Engine, phase: Phase, moment: str) -> Callable[[Tensor, Any, Rows], TaskData]:
    """Return what makes of seed, sums and samples what the hook of a moment sees of the phase."""
    index = phase.tasks[-1]
    classes = torch.zeros(engine.stream.outputs, dtype=torch.bool, device=engine.device)
    for t in phase.tasks:
        classes[list(engine.stream[t].outputs)] = True
    step = torch.tensor(engine.draws_at(apart(engine.strategy, phase.name)), device=engine.device)

    def of(seed: Tensor, accumulated: Any, rows: Rows) -> TaskData:
        rng = Rng(seed, step, f"{moment}/{phase.name}/{index}/")
        return TaskData(index, rows, classes, rng, phase, accumulated)

    return of


def _measure(engine: Engine, replica: Replica, phase: Phase, data: Data) -> Any:
    """Add up what the strategy measures over the phase's data, in chunks of the batch size."""
    wanted = engine.composition.accumulated_samples
    n = len(data) if wanted is None else min(wanted, len(data))
    order = engine.sampler.order(len(data), engine.step_count, "measure")[:, :n]
    total: Any = None
    view = replica.view()
    current = torch.tensor(phase.tasks[-1], device=engine.device)
    # Steps of their own, far from those of training and of other phases.
    first = engine.step_count << 24
    count = torch.arange(n, device=engine.device)
    for i, (arrays, index, weight, _) in enumerate(data.feed(engine.sampler.cut(order))):
        place = count[i * min(engine.batch_size, n)]
        at = {"step": count[i] + first, "current": current, "place": place}
        total = _add_measure(engine, total, view, arrays, index, weight, at, phase, first + i)
    engine.records.forget()
    return total


def _add_measure(
    engine: Engine,
    total: Any,
    view: Any,
    arrays: Any,
    index: Tensor,
    weight: Tensor,
    at: Any,
    phase: Phase,
    step: int,
) -> Any:
    def mapped(total: Any, view: Any, hyper: Any, arrays: Any, index: Any, weight: Any, at: Any) -> Any:
        samples = engine.gather(arrays, index, weight)

        def measure(total: Any, view: Any, hyper: Any, samples: Any, at: Any) -> Any:
            new = engine.layouts.of(phase).accumulate(view, hyper, samples, at, phase)
            if total is None:
                return new
            return pytree.tree_map(torch.add, total, like(total, new, f"accumulate of {engine.strategy}"))

        shared, kind = (4,) if total else (0, 4), ("measure", phase.name)
        return engine.mapper(measure, total, view, hyper, samples, at, shared=shared, kind=kind)

    arguments = (total, view, engine.hyper, arrays, index.contiguous(), weight, at)
    key = ("measure", phase.name, tuple(index.shape), arrays["x"].dtype)
    if total is None:
        return unshare(engine.records.unrecorded((*key, "first"), mapped, arguments))
    return engine.records.run(key, mapped, arguments, step)
