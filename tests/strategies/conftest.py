"""What tests of strategies share."""

from dataclasses import replace

import pytest
import torch
from torch.utils import _pytree as pytree

from perdure.engine.engine import Engine
from perdure.optim.adamw import AdamW
from perdure.optim.schedules import constant
from perdure.strategies import get
from perdure.strategies.contract.composition import lay_out


@pytest.fixture
def walk():
    """Take one replica through a strategy's phases, and stop where each begins and ends.

    Yields what the moment is ("start", "begin" or "end"), the phase, and copies of ``params`` and ``buffers``
    in one dictionary, ``state``, and the model's net.
    """

    def moments(
        strategy, stream, model, *, optimizer=None, lr=0.02, decay=0.1, epochs=3, batch=4, dtype=torch.float64
    ):
        strategy = get(strategy) if isinstance(strategy, str) else strategy
        optimizer = AdamW() if optimizer is None else optimizer
        engine = Engine(
            stream, strategy, optimizer, model, [0], [lr], [decay], constant(), batch, epochs, dtype=dtype
        )
        # A few steps are done sooner than recorded.
        engine.mapper.mapped = False
        engine.program = replace(engine.program, mappable=False)

        def look(replica):
            one = pytree.tree_map(
                lambda v: v[0].clone(), {k: replica[k] for k in ("params", "buffers", "state")}
            )
            net = engine.program.net(one["buffers"])
            return {**one["buffers"], **one["params"]}, one["state"], net

        replica = engine.start()
        for phase in lay_out(engine.strategy, stream):
            data = engine.load(phase)
            yield "start", phase, *look(replica)
            replica = engine.boundary(replica, phase, data, "begin_task")
            yield "begin", phase, *look(replica)
            for replica in engine.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
                pass
            replica = engine.boundary(replica, phase, data, "end_task")
            yield "end", phase, *look(replica)

    return moments
