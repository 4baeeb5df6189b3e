import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import nn
from torch.func import vmap

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.engine.engine import Engine
from perdure.optim.sgd import SGD
from perdure.scenarios.contract.objective import Classification
from perdure.strategies import GDumb, Naive, Step
from perdure.strategies.replay.gdumb import greedy
from perdure.testing import check_strategy, tiny_model, tiny_stream
from perdure.training import Training


def forgetting(scores):
    """Best earlier score minus the last, mean over the tasks but the last and over replicas."""
    return float((scores[:, :-1].max(1) - scores[:, -1])[:, :-1].mean())


def choose(held, offered, victims=None):
    order = torch.arange(len(offered))
    words = torch.zeros_like(order) if victims is None else torch.tensor(victims)
    return greedy(torch.tensor(held), torch.tensor(offered), order, words).tolist()


def test_greedy_sampling_by_hand():
    # Four samples of kind 0 fill the memory, a fifth finds its class at its share of 4 / 1. Kind 1 takes
    # the place of the first 0, kind 2 that of the next.
    assert choose([-1] * 4, [0, 0, 0, 0, 0, 1, 2]) == [4 + 2, 4 + 3, 4 + 5, 4 + 6]
    # The highest word gives up the last sample of the largest class instead.
    last = [2**32 - 1] * 7
    assert choose([-1] * 4, [0, 0, 0, 0, 0, 1, 2], last) == [4 + 0, 4 + 1, 4 + 5, 4 + 6]
    # Slots 0 to 2 hold kinds 5, 5 and 7; the shares of three kinds are 4 / 3 samples, of which there is room.
    assert choose([5, 5, 7, -1], [8]) == [0, 1, 2, 4]
    assert choose([5, 5, 7, -1], [5, 7]) == [0, 1, 2, 4 + 1]


def test_memory_is_balanced_and_uniform_within_a_class():
    kinds = torch.arange(30) % 3

    def run(seed):
        rng = Rng(seed, torch.tensor(0))
        return greedy(torch.full((9,), -1), kinds, rng.permutation("order", 30), rng.bits("victims", 30))

    chosen = vmap(run)(torch.arange(2000)) - 9
    counts = torch.bincount(chosen.flatten(), minlength=30)
    per_kind = torch.stack([(kinds[chosen] == k).sum(-1) for k in range(3)])
    assert (per_kind == 3).all()
    distance = ((counts - 600.0) ** 2).sum() / (2000 * 0.3 * 0.7) * 29 / 30
    assert chi2.sf(float(distance), 27) > 0.01


@pytest.mark.parametrize("held", [4, 6])
def test_passes_go_over_every_sample_once(held):
    strategy = GDumb(6, batch_size=2)
    x = torch.arange(6.0).unsqueeze(1)
    zeros = torch.zeros(6, dtype=torch.int64)
    memory = {"x": x, "y": zeros, "task": zeros, "filled": torch.arange(6) < held}
    state = {"memory": memory, "order": torch.arange(6), "done": torch.tensor(0)}
    net = Net(nn.Identity(), {}, None, Classification())
    seen = []
    for step in range(3 * held // 2):
        rng = Rng(torch.tensor(0), torch.tensor(step))
        coming = Batch({"x": x - 1, "y": zeros, "task": zeros, "weight": x[:, 0]}, zeros[0], rng)
        batch = strategy.batch(net, {}, state, coming)
        seen += batch.x.flatten().tolist()
        _, state = strategy.after_step(net, {}, state, Step(batch, {}, {}))
    orders = [seen[i : i + held] for i in (0, held, 2 * held)]
    assert all(sorted(order) == list(range(held)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("setting", ["class", "domain"])
def test_every_fit_starts_where_the_first_did_on_equally_many_of_every_class_and_task(setting):
    stream = tiny_stream(setting, (9, 12, 7))
    strategy = GDumb(6, epochs=2, batch_size=4)
    training = Training(1, 4, SGD(momentum=0.9), 0.05, device="cpu")
    engine = Engine(stream, strategy, training, tiny_model, [0, 1])
    replica = engine.start()
    start = {k: v.clone() for k, v in replica.params.items()}
    fits = 0
    for phase in strategy.phases(stream):
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        if phase.name == "fit":
            fits += 1
            assert all(torch.equal(v, start[k]) for k, v in replica.params.items())
            assert all(v.eq(0).all() for v in replica.optim["velocity"].values())
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
    memory = replica.state["gdumb"]["memory"]
    assert fits == 3
    assert memory["filled"].all()
    kinds = memory["task"] * 2 + memory["y"] % 2
    assert kinds.sort(-1).values.tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert not any(torch.equal(v, start[k]) for k, v in replica.params.items())


@pytest.fixture(scope="module")
def digits():
    settings = {"epochs": 4, "quiet": True, "dtype": "float64"}
    return settings, compare(
        "split-digits", {"naive": Naive(), "gdumb": GDumb(200, 10)}, seeds=3, **settings
    ).scores


def test_forgets_far_less_than_naive(digits):
    scores = digits[1]
    assert forgetting(scores["gdumb"]) < 0.3 * forgetting(scores["naive"])
    assert scores["gdumb"][:, -1].mean() > 0.7


def test_a_replica_learns_the_same_alone(digits):
    settings, scores = digits
    alone = compare("split-digits", {"gdumb": GDumb(200, 10)}, seeds=[2], **settings).scores["gdumb"]
    np.testing.assert_allclose(alone[0], scores["gdumb"][2], atol=1e-9)


def test_contract_while_the_memory_overflows(level):
    check_strategy(GDumb(8, 2, 3), level=level)


def test_refusals():
    with pytest.raises(PerdureError, match=r"capacity must be a whole number of at least 1; found -5"):
        GDumb(-5)
    with pytest.raises(PerdureError, match="epochs"):
        GDumb(epochs=0)
