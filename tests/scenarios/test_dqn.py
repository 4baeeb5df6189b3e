"""Deep Q-learning: the memory, the targets, the objective, and learning by them."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch.nn.functional import huber_loss

from perdure import check_stream
from perdure.core.batch import Batch
from perdure.core.random import Rng
from perdure.envs import CartPole, Continuous, Discrete, Env
from perdure.experiment import make_engine, run
from perdure.scenarios import cartpole_physics
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.rl import DQN, Transitions
from perdure.scenarios.rl.dqn import written
from perdure.strategies import get
from perdure.training import make_settings


@dataclass(frozen=True, repr=False)
class Chain(Env):
    """Two states: action 1 leads from the first to the second, and from there to the end, worth 10."""

    shape: ClassVar[tuple[int, ...]] = (2,)
    # Real actions, for a refusal.
    real: bool = False

    @property
    def actions(self):
        return Continuous((-1.0,), (1.0,)) if self.real else Discrete(2)

    @property
    def bounds(self):
        return torch.zeros(2), torch.ones(2)

    def reset(self, rng, n):
        return {"at": rng.integers("start", 1, n)}

    def observe(self, state):
        return torch.stack([state["at"] == 0, state["at"] == 1], -1).float()

    def step(self, state, action, rng):
        ended = (state["at"] == 1) & (action == 1)
        return {"at": (state["at"] + action).clamp(max=1)}, 1.0 + 9.0 * ended.float(), ended


def world(env=None, **changes):
    made = Transitions(
        horizon=4, passes=1, limit=10, samples=8, env=Chain() if env is None else env, copies=1, episodes=2,
        part="test", first=0, discount=0.5, capacity=6, warm=0, epsilons=(1.0, 0.0), fall=4,
    )  # fmt: skip
    return replace(made, **changes)


def rng(step=0, seed=0):
    return Rng(torch.tensor(seed), torch.tensor(step))


def values(x):
    """Q of the chain's two states: 3 and 5 in the first, 2 and 7 in the second."""
    return x @ torch.tensor([[3.0, 5.0], [2.0, 7.0]])


def batch(y, target):
    n, zero = len(y), torch.zeros((), dtype=torch.int64)
    rows = {"x": torch.zeros(n, 2), "y": y, "target": target, "task": y * 0, "weight": torch.ones(n)}
    return Batch(rows, zero, rng())


def settings(given, **changes):
    base = {"seeds": 2, "epochs": 2, "device": "cpu"}
    return make_settings(given, **{**base, **changes})


def short(tasks=2, setting="domain", **changes):
    """CartPole with rollouts and a memory that are small."""
    stream = cartpole_physics(tasks, steps=600, episodes=2, setting=setting, algorithm="dqn")
    small = {"warm": 32, "samples": 128, "horizon": 16, "capacity": 100, "limit": 40, **changes}
    return stream.with_tasks(
        [replace(t, **{k: replace(getattr(t, k), **small) for k in ("train", "val", "test")}) for t in stream]
    )


# ---- the memory ---------------------------------------------------------------------------------------


def test_the_ring_by_hand():
    memory = {"x": torch.zeros(5)}
    memory = written(memory, torch.tensor(0), {"x": torch.tensor([1.0, 2.0])})
    memory = written(memory, torch.tensor(2), {"x": torch.tensor([3.0, 4.0])})
    assert memory["x"].tolist() == [1, 2, 3, 4, 0]
    # The third write goes around the end, and the oldest transition gives way.
    memory = written(memory, torch.tensor(4), {"x": torch.tensor([5.0, 6.0])})
    assert memory["x"].tolist() == [6, 2, 3, 4, 5]
    memory = written(memory, torch.tensor(6), {"x": torch.tensor([7.0, 8.0])})
    assert memory["x"].tolist() == [6, 7, 8, 4, 5]


@pytest.mark.parametrize("warm", [0, 5])
def test_empty_slots_are_never_drawn_and_all_others_are(warm):
    one = world(copies=2, samples=400, capacity=16, warm=warm)
    state = one.begin(rng())
    assert int(state["count"]) == one.warmed == (6 if warm else 0)
    for step in range(20):
        state, drawn = one.play(values, state, rng(step))
        count = one.warmed + 2 * (step + 1)
        assert int(state["count"]) == count
        # A reward is 1 or 10: an empty slot would show as 0.
        assert float(drawn["reward"].min()) >= 1
        assert len(drawn["reward"]) == 100
        if step == 0:
            filled = state["memory"]["reward"] > 0
            assert int(filled.sum()) == count
            assert bool(filled[:count].all())


def test_a_transition_is_what_happened():
    one = world(epsilons=(0.0, 0.0), samples=40)
    state = one.begin(rng())
    for step in range(2):  # the best action is 1 in both states: one step on, then the end
        state, _ = one.play(values, state, rng(step))
    memory = {k: v[:2].tolist() for k, v in state["memory"].items()}
    assert memory == {
        "x": [[1, 0], [0, 1]], "action": [1, 1], "after": [[0, 1], [0, 1]], "reward": [1, 10],
        "ended": [False, True],
    }  # fmt: skip
    assert state["env"]["at"].tolist() == [0]


def test_epsilon_falls_linearly_from_the_end_of_the_warm_up():
    one = world(warm=3, epsilons=(0.9, 0.1), fall=8)
    found = one.epsilon(torch.tensor([3, 5, 7, 11, 50]))
    assert found.tolist() == pytest.approx([0.9, 0.7, 0.5, 0.1, 0.1])


def test_actions_are_random_as_often_as_epsilon_says():
    one = world(copies=2000, capacity=2000, epsilons=(0.4, 0.4))
    state, _ = one.play(values, one.begin(rng()), rng(1))
    # The best action is 1; half of the random ones are it too.
    assert float((state["memory"]["action"] == 0).float().mean()) == pytest.approx(0.2, abs=0.03)


# ---- targets ------------------------------------------------------------------------------------------


def test_targets_by_hand():
    one = world()
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    trail = {
        "x": torch.stack([first, first, second, second]), "action": torch.tensor([0, 1, 0, 1]),
        "after": torch.stack([first, second, second, second]), "reward": torch.tensor([1.0, 1.0, 1.0, 10.0]),
        "ended": torch.tensor([False, False, False, True]),
    }  # fmt: skip
    rows = one.rows(values, {}, {k: v.unflatten(0, (2, 2)) for k, v in trail.items()})
    # 1 + max(3, 5) / 2, 1 + max(2, 7) / 2, the same, and 10 alone where the episode ends.
    assert rows["target"].tolist() == [3.5, 4.5, 4.5, 10.0]
    assert rows["y"].tolist() == [0, 1, 0, 1]
    assert torch.equal(rows["x"], trail["x"])


def test_a_cut_does_not_end_what_follows():
    # Nobody moves on: episodes are cut off at every second step, and none ends.
    one = world(env=Chain(limit=2), epsilons=(0.0, 0.0), samples=40)
    state, ages = one.begin(rng()), []
    for step in range(4):
        state, drawn = one.play(lambda x: -values(x) * 0 + torch.tensor([1.0, 0.0]), state, rng(step))
        ages.append(int(state["age"]))
    assert ages == [1, 0, 1, 0]
    assert not drawn["ended"].any()
    rows = one.rows(values, state, {k: v.unsqueeze(0) for k, v in drawn.items()})
    assert set(rows["target"].tolist()) == {3.5}


def test_learning_by_targets_finds_the_values_of_the_chain():
    # In the second state waiting is worth 1 + v / 2 and going 10, so 10 and 6; before it, 6 and 1 + 6 / 2.
    one = world(epsilons=(1.0, 1.0), copies=8, capacity=64, samples=64)
    table, objective = torch.zeros(2, 2), DQN(Discrete(2), delta=100.0)
    state = one.begin(rng())
    for step in range(60):

        def act(x, table=table):
            return x @ table

        trail = []
        for i in range(4):
            state, row = one.play(act, state, rng(4 * step + i))
            trail.append(row)
        rows = one.rows(act, state, {k: torch.stack([t[k] for t in trail]) for k in trail[0]})
        learned = table.clone().requires_grad_()
        given = batch(rows["y"], rows["target"])
        (slope,) = torch.autograd.grad(objective.loss(rows["x"] @ learned, given).mean(), learned)
        table = table - 2.0 * slope
    assert table.flatten().tolist() == pytest.approx([4.0, 6.0, 6.0, 10.0], abs=0.05)


# ---- the objective ------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_the_loss_is_torchs_huber_loss_of_the_action_taken(delta):
    output = torch.linspace(-4, 4, 20).view(10, 2).requires_grad_()
    y, target = torch.arange(10) % 2, torch.linspace(2, -1, 10)
    found = DQN(Discrete(2), delta=delta).loss(output, batch(y, target))
    theirs = huber_loss(output[torch.arange(10), y], target, reduction="none", delta=delta)
    torch.testing.assert_close(found, theirs)
    ours, other = (torch.autograd.grad(v.sum(), output)[0] for v in (found, theirs))
    torch.testing.assert_close(ours, other)


def test_the_surprise_has_the_squared_gradient_of_the_value():
    output = torch.tensor([[1.0, 5.0], [2.0, -3.0]], requires_grad=True)
    # Also where the value is the target.
    found = DQN(Discrete(2)).surprise(output, batch(torch.tensor([1, 0]), torch.tensor([5.0, 9.0])))
    (slope,) = torch.autograd.grad(found.sum(), output)
    assert slope.square().tolist() == [[0, 1], [1, 0]]


def test_what_does_not_fit_is_refused(refuses):
    with refuses("deep Q-learning needs one of several actions; found Continuous"):
        DQN(Continuous((-1.0,), (1.0,)))
    with refuses("deep Q-learning needs one of several actions; found Continuous"):
        world(env=Chain(real=True))
    with refuses("samples must be a multiple of horizon, 4", "found 6"):
        world(samples=6)
    with refuses("capacity must be a whole number of at least 12; found 11"):
        world(warm=10, copies=4, capacity=11)
    with refuses("epsilon must lie in [0, 1]; found 1.5"):
        world(epsilons=(1.5, 0.0))
    with refuses("discount must lie in [0, 1]; found 2"):
        world(discount=2.0)
    with refuses("delta must be"):
        DQN(Discrete(2), delta=0.0)
    with refuses("algorithm must be", "found 'sac'"):
        cartpole_physics(algorithm="sac")


# ---- runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["domain", "task", "joint"])
def test_streams_keep_the_contract(setting):
    stream = cartpole_physics(3, setting=setting, algorithm="dqn")
    check_stream(stream)
    assert stream.outputs == (6 if setting == "task" else 2)
    assert stream.fingerprint() != cartpole_physics(3, setting=setting).fingerprint()


def test_the_steps_of_the_memory_at_the_start_are_among_those_of_a_task():
    stream = cartpole_physics(1, steps=5_000, algorithm="dqn")
    train = stream[0].train
    rollouts = stream.defaults["epochs"]
    lived = train.warmed + rollouts * train.copies * train.horizon
    assert 5_000 <= lived < 5_000 + train.copies * train.horizon


def test_it_learns_to_balance():
    # Random actions get 20 steps, one action alone 10.
    stream = cartpole_physics(1, steps=6_000, episodes=8, algorithm="dqn")
    outcome = run(stream, get("naive"), make_settings(stream, seeds=[2, 3], device="cpu"))
    assert outcome.extras["mapped"], outcome.warnings
    assert float(outcome.untrained.max()) < 30
    assert float(outcome.scores[-1].min()) > 60


@pytest.mark.parametrize(
    "name", ["ewc(strength=5.0)", "mas", "si", "replay(64)", "joint", "der(64)", "cumulative"]
)
def test_strategies_for_classifiers_protect_values(name):
    stream = short()
    outcome = run(stream, get(name), settings(stream))
    assert outcome.extras["mapped"], outcome.warnings
    assert torch.stack(outcome.scores).isfinite().all()


def test_the_fisher_information_is_that_of_the_values_of_actions_that_were_taken(lived):
    # Of two tasks with outputs of their own, the first alone is learned.
    both = short(setting="task", epsilons=(1.0, 1.0))
    first = Stream("first", both.tasks[:1], "task", both.outputs)
    replica = lived(make_engine(first, get("ewc"), settings(first, model="mlp(hidden=[8])")))
    fisher = replica.state["ewc"]["fisher"]["2.weight"]
    assert float(fisher[:, :2].amax((1, 2)).min()) > 0
    assert float(fisher[:, 2:].abs().max()) == 0


def test_the_fisher_information_by_hand(lived):
    # A linear model: the gradient of a value is the observation, so the information of the bias of an
    # action's value is the share of samples with that action, and both together make 1.
    stream = short(1, epsilons=(1.0, 1.0))
    replica = lived(make_engine(stream, get("ewc"), settings(stream, model="mlp(hidden=[])")))
    bias = replica.state["ewc"]["fisher"]["0.bias"]
    assert bias.sum(-1).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert float(bias.min()) > 0.1


def test_the_end_of_a_task_goes_on_from_where_training_is():
    stream = short(1, capacity=1000)
    engine = make_engine(stream, get("ewc"), settings(stream))
    replica, phase = engine.start(), engine.composition.phases(stream)[0]
    worlds = engine.load(phase)
    for replica in engine.train(replica, phase, worlds):  # noqa: B007, B020 (each is the next)
        pass
    before = {k: v.clone() for k, v in worlds.states[0]["memory"].items()}
    count = worlds.states[0]["count"].clone()
    data = worlds.play(replica, engine.step_count, "end_task/")
    assert torch.equal(worlds.states[0]["count"], count)
    assert all(torch.equal(worlds.states[0]["memory"][k], v) for k, v in before.items())
    # Most of what was drawn was in the memory, which worlds that begin anew would not have.
    seen = (data.rows["x"][0].unsqueeze(1) == before["x"][0]).all(-1).any(-1)
    assert 0.5 < float(seen.float().mean()) < 1


def test_a_replica_lives_the_same_life_alone_and_recorded_or_not(lives_the_same):
    given = short(horizon=4, samples=64, limit=10)
    lives_the_same(
        lambda **changes: make_engine(given, get("ewc"), settings(given, dtype="float64", **changes))
    )


def test_observations_are_remembered_as_they_are():
    class Bytes(CartPole):
        def observe(self, state):
            return (state["state"] * 10 + 128).to(torch.uint8)

    one = world(env=Bytes(), warm=4)
    state, drawn = one.play(lambda x: torch.zeros(len(x), 2), one.begin(rng()), rng(1))
    assert drawn["x"].dtype == drawn["after"].dtype == torch.uint8
    assert state["memory"]["after"][:5].float().mean() == pytest.approx(128, abs=10)
    rows = one.rows(lambda x: x.float()[:, :2], state, {k: v.unsqueeze(0) for k, v in drawn.items()})
    assert rows["x"].dtype == torch.uint8
    assert rows["target"].isfinite().all()
