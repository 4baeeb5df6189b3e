"""What tests of strategies share."""

from dataclasses import replace

import pytest
from torch.utils import _pytree as pytree

from perdure.engine.engine import Engine
from perdure.optim.adamw import AdamW
from perdure.strategies import get
from perdure.strategies.contract.composition import lay_out
from perdure.training import Training


@pytest.fixture(params=["quick", pytest.param("full", marks=pytest.mark.slow)])
def level(request):
    """Both levels of `check_strategy`: the quick one in `make test`, the full one beside the slow tests."""
    return request.param


@pytest.fixture
def walk():
    """Take one replica through a strategy's phases, and stop where each begins and ends.

    Yields what the moment is ("start", "begin" or "end"), the phase, and copies of ``params`` and ``buffers``
    in one dictionary, ``state``, and the model's net.
    """

    def moments(
        strategy, stream, model, *, optimizer=None, lr=0.02, decay=0.1, epochs=3, batch=4, dtype="float64"
    ):
        strategy = get(strategy) if isinstance(strategy, str) else strategy
        optimizer = AdamW() if optimizer is None else optimizer
        training = Training(epochs, batch, optimizer, lr, decay, device="cpu", dtype=dtype)
        engine = Engine(stream, strategy, training, model, [0])
        # A few steps are done sooner than recorded.
        engine.mapper.mapped = False
        engine.program = replace(engine.program, mappable=False)

        def look(replica):
            one = pytree.tree_map(lambda v: v[0].clone(), replica.view())
            net = engine.program.net(one.buffers)
            return {**one.buffers, **one.params}, one.state, net

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
