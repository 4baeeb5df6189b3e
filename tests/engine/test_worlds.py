"""Worlds: parts whose samples the policy makes, learned by proximal policy optimisation on CartPole."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from perdure import PerdureError
from perdure.engine.tuning import trials
from perdure.experiment import make_engine, rehearse, run
from perdure.scenarios import check_stream, permuted
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.contract.world import World
from perdure.strategies import get
from perdure.training import make_settings

ENVS, HORIZON, EPISODES = 8, 32, 4
# Gravity, mass of the cart, mass of the pole, half its length, force: Barto, Sutton and Anderson, 1983.
PHYSICS = {"usual": (9.8, 1.0, 0.1, 0.5, 10.0), "long pole": (9.8, 1.0, 0.5, 1.2, 10.0)}


def cart_step(s, action, physics):
    """One Euler step of 0.02 s: the state after it, and whether the episode has ended."""
    place, speed, angle, turn = s.unbind(-1)
    gravity, cart, pole, half, force = physics
    push, cos, sin, total = force * (2.0 * action - 1.0), angle.cos(), angle.sin(), cart + pole
    part = (push + pole * half * turn.square() * sin) / total
    turning = (gravity * sin - cos * part) / (half * (4.0 / 3.0 - pole * cos.square() / total))
    moving = part - pole * half * turning * cos / total
    new = torch.stack(
        [place + 0.02 * speed, speed + 0.02 * moving, angle + 0.02 * turn, turn + 0.02 * turning], -1
    )
    return new, (new[..., 0].abs() > 2.4) | (new[..., 2].abs() > 0.2095)


@dataclass(frozen=True)
class CartPole(World):
    horizon: int = HORIZON
    passes: int = 2
    limit: int = 60
    samples: int = ENVS * HORIZON
    physics: tuple[float, ...] = PHYSICS["usual"]

    def begin(self, rng):
        return {"s": rng.uniform("start", ENVS, 4) * 0.1 - 0.05, "age": torch.zeros(ENVS)}

    def play(self, act, state, rng):
        out = act(state["s"])
        logs = out[:, :2].log_softmax(-1)
        action = (rng.uniform("action", ENVS) < logs[:, 1].exp()).long()
        s, fell = cart_step(state["s"], action, self.physics)
        end = fell | (state["age"] + 1 >= self.limit)
        row = {
            "x": state["s"], "y": action, "logp": logs.gather(-1, action[:, None])[:, 0], "value": out[:, 2],
            "end": end.to(out.dtype),
        }  # fmt: skip
        fresh = rng.uniform("again", ENVS, 4) * 0.1 - 0.05
        return {"s": torch.where(end[:, None], fresh, s), "age": torch.where(end, 0.0, state["age"] + 1)}, row

    def rows(self, act, state, trail):
        value, gain = act(state["s"])[:, 2], torch.zeros(ENVS)
        gains = []
        for t in reversed(range(self.horizon)):
            going = 1 - trail["end"][t]
            gain = 1 + 0.99 * value * going - trail["value"][t] + 0.99 * 0.95 * going * gain
            value = trail["value"][t]
            gains.append(gain)
        gain = torch.stack(gains[::-1])
        rows = {
            "x": trail["x"],
            "y": trail["y"],
            "logp": trail["logp"],
            "gain": gain,
            "value": gain + trail["value"],
        }
        return {k: v.flatten(0, 1) for k, v in rows.items()}

    def start(self, rng):
        return {
            "s": rng.uniform("start", EPISODES, 4) * 0.1 - 0.05,
            "on": torch.ones(EPISODES),
            "sum": torch.zeros(EPISODES),
        }

    def step(self, act, state, rng):
        s, fell = cart_step(state["s"], act(state["s"])[:, :2].argmax(-1), self.physics)
        return {"s": s, "on": state["on"] * (~fell).float(), "sum": state["sum"] + state["on"]}

    def score(self, state):
        return state["sum"]

    def example(self):
        one = torch.zeros(1)
        return {"x": torch.zeros(1, 4), "y": one.long(), "logp": one, "gain": one, "value": one}


@dataclass(frozen=True)
class PPO(Objective):
    metric = "return"

    def loss(self, output, batch):
        logs = output[:, :2].log_softmax(-1)
        ratio = (logs.gather(-1, batch.y[:, None])[:, 0] - batch.rows["logp"]).exp()
        gain = (batch.rows["gain"] - batch.rows["gain"].mean()) / (batch.rows["gain"].std() + 1e-8)
        clipped = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
        return (
            0.25 * (output[:, 2] - batch.rows["value"]).square()
            - clipped
            + 0.01 * (logs.exp() * logs).sum(-1)
        )

    def surprise(self, output, batch):
        return -output[:, :2].log_softmax(-1).gather(-1, batch.y[:, None])[:, 0]

    def score(self, output, batch):
        return output[:, 0] * 0


def stream(*names):
    tasks = [Task(n, *([CartPole(physics=PHYSICS[n])] * 3), (0, 1, 2), PPO()) for n in names or PHYSICS]
    return Stream("cartpole", tuple(tasks), "domain", 3)


def policy(shape, outputs):
    return nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, outputs))


def settings(given, **changes):
    base = {
        "model": policy, "seeds": 2, "epochs": 2, "batch_size": 64, "optimizer": "adam", "lr": 0.003,
        "weight_decay": 0.0, "schedule": "constant", "device": "cpu", "dtype": "float32", "precision": None,
        "pretrained": False, "eval_every": None, "tune": None,
    }  # fmt: skip
    return make_settings(given, **{**base, **changes})


def test_a_policy_learns_to_balance():
    one = stream("usual")
    check_stream(one)
    outcome = run(one, get("naive"), settings(one, epochs=40, lr=0.01))
    assert outcome.extras["mapped"], outcome.warnings
    assert float(outcome.untrained.mean()) < 30
    assert float(outcome.scores[-1].mean()) > 50


@pytest.mark.parametrize(
    "name", ["ewc(strength=5.0)", "mas", "si", "replay(64)", "adaptive-svd", "joint", "der(64)"]
)
def test_strategies_for_classifiers_protect_a_policy(name):
    both = stream()
    rehearse(both, trials(get(name), [{}]), settings(both))
    outcome = run(both, get(name), settings(both))
    assert outcome.extras["mapped"], outcome.warnings
    assert torch.stack(outcome.scores).isfinite().all()


def test_what_cannot_run_on_a_world_is_refused_before_any_work():
    both = stream()
    for name in ("icarl", "clr", "weighted", "avalanche", "replay(64, policy='class')"):
        with pytest.raises(PerdureError) as refused:
            rehearse(both, trials(get(name), [{}]), settings(both))
        assert "\n" not in str(refused.value)


def test_the_fisher_information_is_that_of_the_policy():
    both = stream()
    engine = make_engine(both, get("ewc"), settings(both))
    replica = engine.start()
    phase = engine.composition.phases(both)[0]
    data = engine.load(phase)
    replica = engine.boundary(replica, phase, data, "begin_task")
    for replica in engine.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
        pass
    replica = engine.boundary(replica, phase, data, "end_task")
    fisher = replica.state["ewc"]["fisher"]
    assert all(bool((v.flatten(1).sum(1) > 0).all()) for v in fisher.values())
    # Nothing that the value says enters the probability of an action.
    assert (
        float(fisher["2.weight"][:, 2].abs().max())
        == 0
        < float(fisher["2.weight"][:, :2].min(-1).values.max())
    )


def test_a_replica_lives_the_same_life_alone_and_recorded_or_not(lives_the_same):
    both = stream()
    lives_the_same(
        lambda **changes: make_engine(both, get("ewc"), settings(both, dtype="float64", **changes))
    )


def test_worlds_and_samples_do_not_mix_in_a_phase():
    world, table = stream("usual")[0], permuted("digits", 2)[0]
    mixed = Stream("mixed", (world, replace(table, outputs=(0, 1, 2), objective=PPO())), "domain", 3)
    with pytest.raises(PerdureError, match="samples or worlds"):
        run(mixed, get("joint"), settings(mixed))
