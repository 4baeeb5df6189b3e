"""Does the model fit the stream, and do its batches fit the model? Found out before any training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from perdure.core.batch import Batch, Params, weigh
from perdure.core.errors import PerdureError
from perdure.core.net import normalises
from perdure.core.random import Rng
from perdure.engine.flops import CountFlops
from perdure.engine.replicas import Replica
from perdure.engine.worlds import Worlds
from perdure.scenarios.contract.task import samples
from perdure.scenarios.contract.world import World
from perdure.strategies.contract.composition import lay_out
from perdure.strategies.contract.phase import Phase

if TYPE_CHECKING:
    from perdure.engine.engine import Engine


def check_output(engine: Engine, module: nn.Module, params: Params, buffers: Params) -> float:
    """Run one sample through the model: its outputs must fit the stream. Returns its multiply-adds.

    They are those of a sample among a batch, in training: what a model computes beside its samples (a
    context, names of classes) is shared by them.
    """
    program = replace(engine.program, precision=None)
    one, held = ({k: v[0] for k, v in some.items()} for some in (params, buffers))
    x = engine.place.put(engine.stream.example()["x"])
    zero = torch.zeros((), dtype=torch.int64, device=engine.device)

    def run(samples: int, training: bool = False) -> tuple[Tensor, float]:
        net = replace(program.net(held, Rng(zero, zero), training), masks=None)
        with torch.no_grad(), CountFlops() as counter:
            return net(one, torch.cat([x] * samples), zero), counter.total

    try:
        output, alone = run(1)
    except (RuntimeError, TypeError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise PerdureError(f"the model does not take inputs of shape {tuple(x.shape[1:])}: {line}") from error
    if output.ndim != 2 or output.shape[1] != engine.stream.outputs:
        raise PerdureError(
            f"the model must give {engine.stream.outputs} outputs for each sample of {engine.stream.name}; "
            f"found an output of shape {tuple(output.shape)} for one sample"
        )
    try:
        two, three = (run(samples, training=True)[1] for samples in (2, 3))
    except Exception:
        return alone / 2  # The first step says what is wrong in training.
    each = three - two
    return (each + (two - 2 * each) / engine.batch_size) / 2


def least_batch(engine: Engine, module: nn.Module, untrained: tuple[Params, Params]) -> int:
    """Return how many samples the model needs in training: 2 where norm layers refuse a single one."""
    if not normalises(module):
        return 1
    one, buffers = ({k: v[0] for k, v in some.items()} for some in untrained)
    rng = Rng(engine.hyper["seed"][0], torch.zeros_like(engine.hyper["seed"][0]), "least/")
    net = replace(engine.program, precision=None).net(buffers, rng, training=True)
    task = torch.zeros((), dtype=torch.int64, device=engine.device)
    x = engine.place.put(engine.stream.example()["x"])
    for count in (1, 2):
        try:
            with torch.no_grad():
                replace(net, masks=None, _memo={}).raw(one, torch.cat([x] * count), task)
        except ValueError as error:
            # As the norm layers say it: "Expected more than 1 value per channel when training, ..."
            if "more than 1" not in str(error):
                raise
            refusal = str(error).strip().splitlines()[0]
        else:
            return count
    raise PerdureError(
        f"the model does not train on inputs of shape {tuple(x.shape[1:])}: a norm layer: {refusal}"
    )


def check_batches(engine: Engine, replica: Replica) -> None:
    """Refuse batches of one sample where the model needs two, unless the strategy fills them up."""
    for phase in lay_out(engine.strategy, engine.stream):
        trains = [getattr(engine.stream[t], phase.part) for t in phase.tasks]
        if any(isinstance(part, World) for part in trains):
            Worlds.of(engine, phase, trains)
            continue
        lengths = [len(part) for part in trains]
        size = engine.sampler.smallest(sum(lengths))
        if phase.batch_per_task:
            each = len(lengths) if engine.layouts.separate(phase) else 1
            size = each * min(engine.batch_size, *lengths)
        if size >= engine.sampler.least or not engine.whole(phase, lengths):
            continue
        if len(_first_batch(engine, replica, phase, size)) < engine.sampler.least:
            found = (
                "a phase of one training sample" if sum(lengths) == 1 else f"batch_size={engine.batch_size}"
            )
            raise PerdureError(
                "the model has norm layers, which need at least 2 samples in each batch of training; "
                f"found {found}"
            )


def _first_batch(engine: Engine, replica: Replica, phase: Phase, size: int) -> Batch:
    """Return what the strategy of one replica makes of a batch of so many samples."""
    one = pytree.tree_map(lambda v: v[0], replica.view())
    part = samples(engine.stream[phase.tasks[0]].train).take(torch.arange(size))
    rows = engine.place.end_to_end(engine.stream, [part])
    current = torch.tensor(phase.tasks[-1], device=engine.device)
    rng = Rng(engine.hyper["seed"][0], torch.zeros_like(current))
    weight = torch.ones(size, dtype=engine.dtype, device=engine.device)
    rows = {**rows, "x": engine.place.numbers(rows["x"]), "task": current.expand(size)}
    batch = Batch(weigh(rows, weight), current, rng, phase.name)
    with torch.no_grad():
        return engine.composition.batch(engine.program.net(one.buffers), one.params, one.state, batch)
