"""Environments as parts of tasks, learned by proximal policy optimisation."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from perdure import PerdureError, Training, compare
from perdure.core.batch import Batch
from perdure.core.random import Rng
from perdure.envs import CartPole, Continuous, Discrete, Env, Pendulum
from perdure.models import actor_critic
from perdure.models.inspect import find_head
from perdure.scenarios import cartpole_physics, check_stream, get
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.recipes import PPORecipe
from perdure.scenarios.registry import MADE
from perdure.scenarios.rl import PPO, Rollouts
from perdure.scenarios.rl.ppo import discounted

ZERO = torch.tensor(0)
RNG = Rng(ZERO, ZERO)


@dataclass(frozen=True, repr=False)
class Line(Env):
    """A place on a line, which an action moves by one; the episode ends at `end`."""

    name = "line"
    shape = (1,)
    end: float = 3.0

    @property
    def actions(self):
        return Discrete(2)

    @property
    def bounds(self):
        return torch.tensor([-1e9]), torch.tensor([1e9])

    def reset(self, rng, n):
        return {"place": torch.zeros(n)}

    def observe(self, state):
        return state["place"].unsqueeze(-1)

    def step(self, state, action, rng):
        place = state["place"] + action
        return {"place": place}, place, place >= self.end


def rollouts(env, copies=1, horizon=4, **changes):
    settings = {"discount": 0.5, "trace": 0.5} | changes
    return Rollouts(
        horizon=horizon, passes=1, limit=env.limit, samples=copies * horizon, env=env, copies=copies,
        episodes=2, part="test", first=0, **settings,
    )  # fmt: skip


def always_on(value):
    """A policy that moves on for certain, and a value that is a function of the place."""

    def act(x):
        sure = torch.full_like(x[:, :1], 50.0)
        return torch.cat([-sure, sure, value(x)], 1)

    return act


def lived(world, act):
    state, trail = world.begin(RNG), []
    for t in range(world.horizon):
        state, row = world.play(act, state, Rng(ZERO, torch.tensor(t)))
        trail.append(row)
    rows = {k: torch.stack([row[k] for row in trail]) for k in trail[0]}
    return rows, world.rows(act, state, rows)


def test_an_end_cuts_the_value_of_what_follows_and_a_limit_does_not():
    # Places 0 1 2 (end at 3) then again 0; rewards 1 2 3 1; the value of a place is ten times it.
    act = always_on(lambda x: 10 * x)
    trail, rows = lived(rollouts(Line(end=3.0)), act)
    assert trail["x"].flatten().tolist() == [0, 1, 2, 0]
    assert trail["ended"].flatten().tolist() == [False, False, True, False]
    # d = r + V(next) / 2 - V: 1 + 5 - 0, 2 + 10 - 10, 3 + 0 - 20, 1 + 5 - 0; A = d + A(next) / 4 within it.
    by_hand = torch.tensor([6 + (2 - 17 / 4) / 4, 2 - 17 / 4, -17, 6])
    torch.testing.assert_close(rows["value"], by_hand + torch.tensor([0.0, 10, 20, 0]))
    torch.testing.assert_close(rows["gain"], (by_hand - by_hand.mean()) / (by_hand.std() + 1e-8))
    # Cut off after two steps, the value of place 2 counts, and the next episode does not.
    trail, rows = lived(rollouts(Line(end=9.0, limit=2)), act)
    assert trail["x"].flatten().tolist() == [0, 1, 0, 1]
    assert trail["after"].flatten().tolist() == [1, 2, 1, 2]
    assert trail["over"].flatten().tolist() == [False, True, False, True]
    assert not trail["ended"].any()
    by_hand = torch.tensor([6 + 2 / 4, 2.0, 6 + 2 / 4, 2.0])
    torch.testing.assert_close(rows["value"], by_hand + torch.tensor([0.0, 10, 0, 10]))
    assert rows["y"].tolist() == [1, 1, 1, 1]
    torch.testing.assert_close(rows["logp"], torch.zeros(4))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 32, 100])
def test_discounted_sums_are_those_of_a_loop(length):
    draws = torch.Generator().manual_seed(length)
    values = torch.randn(length, 3, generator=draws, dtype=torch.float64)
    factors = torch.rand(length, 3, generator=draws, dtype=torch.float64) * (torch.rand(length, 3) > 0.2)
    total, expected = torch.zeros(3, dtype=torch.float64), []
    for value, factor in zip(reversed(values), reversed(factors), strict=True):
        total = value + factor * total
        expected.insert(0, total)
    torch.testing.assert_close(discounted(values, factors), torch.stack(expected))


def batch_of(actions, n=3):
    rows = {
        "x": torch.zeros(n, 1), "y": torch.tensor([0, 1, 1]), "task": torch.zeros(n).long(),
        "weight": torch.ones(n),
        "logp": torch.log(torch.tensor([0.5, 0.5, 0.25])), "gain": torch.tensor([1.0, -2.0, 3.0]),
        "value": torch.tensor([1.0, 0.0, 2.0]),
    }  # fmt: skip
    return Batch(rows, ZERO, RNG)


def test_the_objective_by_hand():
    # Probabilities .5 and .5 of the two actions, but for the last sample, of .2 and .8; all values 0.
    output = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.2, 0.8, 0.0]])
    output[2, :2] = output[2, :2].log()
    objective = PPO(Discrete(2), clip=0.2, weight=0.5, entropy=0.1)
    # Ratios 1, 1 and 3.2, of which 1.2 is kept.
    halves, fifths = 0.6931472, 0.5004024
    expected = [0.5 - 1 - 0.1 * halves, 2 - 0.1 * halves, 2 - 3.6 - 0.1 * fifths]
    batch = batch_of(objective.actions)
    torch.testing.assert_close(objective.loss(output, batch), torch.tensor(expected))
    torch.testing.assert_close(objective.surprise(output, batch), -torch.tensor([0.5, 0.5, 0.8]).log())


def test_continuous_actions_are_normal():
    actions = Continuous((-1.0, -2.0), (1.0, 2.0))
    output = torch.tensor([[0.5, -1.0, 0.0, 0.3]]).expand(4000, -1)
    drawn = actions.draw(output, RNG)
    normal = torch.distributions.Normal(output[:, :2], output[:, 2:].exp())
    torch.testing.assert_close(actions.log_prob(output, drawn), normal.log_prob(drawn).sum(-1))
    torch.testing.assert_close(actions.entropy(output), normal.entropy().sum(-1))
    assert float((drawn.mean(0) - output[0, :2]).abs().max()) < 0.06
    assert float((drawn.std(0) / output[0, 2:].exp() - 1).abs().max()) < 0.04
    assert actions.cut(drawn).abs().amax(0).tolist() == [1.0, 2.0]
    assert actions.best(output)[0].tolist() == [0.5, -1.0]


def test_discrete_actions_are_drawn_as_likely_as_they_are():
    actions, output = Discrete(3), torch.tensor([0.2, 0.5, 0.3]).log().expand(20_000, -1)
    share = torch.bincount(actions.draw(output, RNG), minlength=3) / 20_000
    assert float((share - output[0].exp()).abs().max()) < 0.01
    choices = torch.distributions.Categorical(logits=output[:1])
    torch.testing.assert_close(actions.entropy(output[:1]), choices.entropy())
    torch.testing.assert_close(
        actions.log_prob(output[:1], torch.tensor([2])), choices.log_prob(torch.tensor([2]))
    )
    # Certainty is no matter of rounding.
    sure = torch.tensor([[0.0, 0.0, 1e4]])
    assert actions.draw(sure.expand(1000, -1), RNG).eq(2).all()


def test_the_stream_says_how_it_is_learned():
    stream = cartpole_physics(2, steps=512)
    check_stream(stream)
    results = compare(stream, ["naive", "ewc"], seeds=2, quiet=True)
    config = results.config
    assert (config["epochs"], config["lr"], config["schedule"], config["clip"]) == (2, 0.001, "linear", 0.5)
    assert config["model"].startswith("actor-critic")
    assert results.scores["naive"].shape == (2, 2, 2)
    assert config["metric"] == "return"
    # What is given counts.
    other = compare(stream, "naive", seeds=1, quiet=True, lr=0.01, model="mlp(hidden=[8])", epochs=1).config
    assert (other["lr"], other["epochs"], other["model"]) == (0.01, 1, "mlp(hidden=[8])")


def test_each_task_may_have_a_policy_of_its_own():
    stream = cartpole_physics(2, steps=256, setting="task")
    check_stream(stream)
    assert (stream.outputs, stream[1].outputs, stream[1].train.first) == (6, (3, 4, 5), 3)
    results = compare(stream, "naive", seeds=2, quiet=True, keep=True)
    params = results.trained["naive"].params(0)
    weight = params["head.weight"]
    assert weight.shape == (6, 128)
    # Policies read what the policy computes, values what the value does, after training too.
    reads = torch.tensor([True] * 64 + [False] * 64)
    assert (weight[:, reads] != 0).any(1).tolist() == [True, True, False] * 2
    assert (weight[:, ~reads] != 0).any(1).tolist() == [False, False, True] * 2


def test_a_policy_learns_to_balance():
    results = compare(cartpole_physics(1, steps=10_000), "naive", seeds=3, quiet=True)
    assert results.scores["naive"][:, -1].mean() > results.untrained["naive"].mean() + 80


def test_environments_of_other_actions_or_observations_are_refused():
    with pytest.raises(PerdureError, match="task 'line': expected the observations and actions of the first"):
        acting("mixed", {"pole": CartPole(), "line": Pendulum()}, PPORecipe(), "domain", 256, 2)
    with pytest.raises(PerdureError, match="at most 5"):
        cartpole_physics(6)
    with pytest.raises(PerdureError, match="gravity"):
        CartPole(gravity=0.0)
    with pytest.raises(PerdureError, match="groups of 4 outputs"):
        compare(cartpole_physics(1, steps=1), "naive", seeds=1, model="actor-critic(each=4)", quiet=True)


def test_a_training_that_is_given_counts_as_it_is():
    stream = cartpole_physics(1, steps=256)
    config = compare(stream, "naive", seeds=1, training=Training(epochs=1, lr=0.02), quiet=True).config
    assert (config["lr"], config["optimizer"], config["clip"]) == (
        0.02,
        "SGD(momentum=0.0, nesterov=False)",
        None,
    )


def test_scored_episodes_are_whole_and_differ_by_part():
    env = CartPole(limit=30)
    world = rollouts(env, copies=4)
    state = world.start(RNG)
    act = always_on(lambda x: x[:, :1])
    for t in range(30):
        state = world.step(act, state, Rng(ZERO, torch.tensor(t)))
    # Pushed to one side all the time, the pole falls after about ten steps; steps that ended count too.
    inner, alive, by_hand = world.start(RNG)["env"], torch.ones(2), torch.zeros(2)
    for _ in range(30):
        inner, _, ended = env.step(inner, torch.ones(2), RNG)
        by_hand, alive = by_hand + alive, alive * (~ended)
    assert world.score(state).tolist() == by_hand.tolist()
    assert 5 < float(by_hand.mean()) < 15
    other = replace(world, part="val").start(RNG)["env"]["state"]
    assert not torch.equal(other, world.start(RNG)["env"]["state"])


def test_names_and_specs():
    assert repr(get("cartpole-physics(tasks=2)")[1].train.env) == "cartpole(force=-10.0)"
    from perdure.envs import get as get_env

    assert get_env("cartpole(gravity=20.0, limit=100)") == CartPole(gravity=20.0, limit=100)


WORLDS = sorted(
    name
    for name, make in MADE.items()
    if make.__module__.rpartition(".")[2] in ("physics", "goals", "sizes", "drift")
)
# Long rollouts, or equations of many terms.
LONG = ("acrobot-physics", "classic-control", "pendulum-drift", "pendulum-physics", "reacher-targets")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in WORLDS]
)
def test_every_stream_of_worlds_keeps_the_contract_and_runs(name):
    stream = get(f"{name}(tasks=2, steps=1, episodes=2)")
    check_stream(stream)
    results = compare(stream, ["naive", "joint"], seeds=2, quiet=True)
    for scores in results.scores.values():
        assert scores.shape[0] == 2
        assert (scores <= np.asarray(stream.info.get("best", 0.0))).all()
    assert results.extras["naive"]["mapped"]
    if not name.endswith("-drift"):  # as many as are wanted
        with pytest.raises(PerdureError, match="tasks must be at most"):
            get(f"{name}(tasks=9)")


TWO = "cartpole-physics(tasks=2, steps=512, episodes=2, setting=task)"


@pytest.fixture(scope="module")
def plain():
    """Weights of the policy's trunk after one task, and after both."""
    given = {"seeds": 1, "quiet": True, "keep": True}
    runs = [compare(f"{TWO} | take(1)", "naive", **given), compare(TWO, "naive", **given)]
    return [trunk(results.trained["naive"].params()) for results in runs]


def trunk(params):
    return torch.cat([v.flatten() for k, v in params.items() if k.startswith("policy.0")])


@pytest.mark.parametrize(
    "spec",
    [
        "ewc(strength=1e5)",
        "online-ewc(strength=1e5)",
        "mas(strength=1e3)",
        "si(strength=1e5)",
    ],
)
def test_a_penalty_holds_the_policy(spec, plain):
    results = compare(TWO, spec, seeds=1, quiet=True, keep=True)
    first, second = plain
    [trained] = results.trained.values()
    moved = float((trunk(trained.params()) - first).norm())
    assert moved < 0.7 * float((second - first).norm())


@pytest.mark.parametrize(
    "spec", ["replay(64)", "der(64)", "derpp(64)", "agem(64, 64)", "gem(8)", "weighted-replay"]
)
def test_a_memory_reaches_the_policy(spec, plain):
    results = compare(TWO, spec, seeds=1, quiet=True, keep=True)
    [trained] = results.trained.values()
    assert float((trunk(trained.params()) - plain[1]).abs().max()) > 1e-5


@pytest.mark.parametrize("name", ["lwf", "gdumb", "icarl", "clr", "l2p", "weighted", "mmoe"])
def test_what_cannot_protect_a_policy_is_one_line_before_any_work(name, tmp_path):
    with pytest.raises(PerdureError) as refused:
        compare(TWO, name, seeds=1, quiet=True, out=tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", [None, "mlp(hidden=[16])"])
def test_packnet_gives_each_policy_its_weights(model):
    results = compare(TWO, ["packnet", "naive"], seeds=2, quiet=True, model=model)
    packed, naive = results.scores.values()
    np.testing.assert_array_equal(packed[:, 0, 0], packed[:, 1, 0])
    assert naive.shape == packed.shape


def test_operators_on_the_order_take_worlds():
    stream = get("cartpole-physics(tasks=2, steps=256, episodes=2) | repeat(2)")
    check_stream(stream)
    assert stream.names == ["usual", "swapped", "usual (again)", "swapped (again)"]
    assert get("cartpole-physics(tasks=3) | take([2, 0])").names == ["heavy pole", "usual"]
    both = get("cartpole-physics(tasks=2) | concat('cartpole-physics(tasks=1)')")
    check_stream(both)
    assert both.names == ["usual", "swapped", "usual (2)"]
    results = compare(stream, "naive", seeds=1, quiet=True)
    assert results.config["epochs"] == 1
    with pytest.raises(PerdureError, match="found the world Rollouts"):
        get("cartpole-physics(tasks=2) | blur(width=0.2)")
    chosen = compare(
        "cartpole-physics(tasks=2, steps=256, episodes=2)", "naive", seeds=1, quiet=True,
        tune={"lr": [0.001, 0.01]}, tune_on=1,
    )  # fmt: skip
    assert chosen.extras["naive"]["chosen"]["lr"] in (0.001, 0.01)


def test_the_head_is_found_and_deviations_are_its_biases():
    torch.manual_seed(0)
    build = actor_critic(hidden=[5], each=4, deviations=1)
    with pytest.raises(PerdureError, match="groups of 4 outputs"):
        build((3,), 6)
    model = build((3,), 8)
    assert find_head(model, 8) == "head"
    x = torch.randn(7, 3)
    out = model(x)
    assert out.shape == (7, 8)
    features = model.policy(x), model.value(x)
    for at in (0, 4):
        weight = model.head.weight[at : at + 4]
        torch.testing.assert_close(out[:, at : at + 2], features[0] @ weight[:2, :5].T)
        torch.testing.assert_close(out[:, at + 3], features[1] @ weight[3, 5:])
    with torch.no_grad():
        model.head.bias[2] = -1.5
    assert model(x)[:, 2].tolist() == [-1.5] * 7
