"""Streams of environments of different sizes."""

import pytest
import torch

from perdure import PerdureError, compare
from perdure.core.batch import CLOSED
from perdure.envs import Acrobot, CartPole, Catch, PaddedDiscrete, Pendulum
from perdure.envs.hosted import Hosted
from perdure.experiment import make_engine
from perdure.scenarios import check_stream, classic_control, get, grid_world_sizes, gymnasium_ids
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.recipes import DQNRecipe, PPORecipe
from perdure.scenarios.generators.sizes import four_rooms
from perdure.strategies import get as get_strategy
from perdure.training import make_settings
from tests.envs.hosted_worlds import register

register()
SHORT = {"steps": 256, "episodes": 2, "setting": "domain"}


def test_masks_close_what_a_task_lacks_in_every_setting():
    one = classic_control(**SHORT)
    check_stream(one)
    assert (one.input_shape, one.outputs) == ((6,), 4)
    assert one.masks().tolist() == [[True, True, False, True], [True] * 4, [True] * 4]
    assert one[0].train.env.actions == PaddedDiscrete(2, 3)
    assert (one[0].closed, one[1].closed) == ((2,), ())
    assert one.info["worst"] == [0.0, -500.0, -200.0]
    # One objective does for all.
    assert str(one.objective).startswith("PPO(actions=Discrete(n=3)")
    own = classic_control(2, **{**SHORT, "setting": "task"})
    check_stream(own)
    assert own.masks().int().tolist() == [[1, 1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]]
    values = classic_control(2, algorithm="dqn", **SHORT)
    check_stream(values)
    assert values.masks().tolist() == [[True, True, False], [True] * 3]
    # What is closed lies among the outputs of the task itself.
    later = acting("later", {"links": Acrobot(), "pole": CartPole()}, PPORecipe(), "task", 256, 2)
    check_stream(later)
    assert later[1].closed == (6,)
    assert later.masks().int().tolist() == [[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 0, 1]]
    # A mask is data of a task, and goes with it.
    again = get("classic-control(tasks=2, steps=256, setting=domain) | take([1, 0]) | repeat(2)")
    check_stream(again)
    assert again.masks()[:, 2].tolist() == [True, False, True, False]


def test_environments_of_one_size_have_no_masks():
    stream = acting("same", {"a": CartPole(), "b": CartPole(force=5.0)}, PPORecipe(), "domain", 256, 2)
    assert stream.masks().all()
    assert stream[0].train.env == CartPole()


def test_a_mask_that_is_another_is_refused(monkeypatch):
    stream = classic_control(2, **SHORT)
    monkeypatch.setattr(type(stream), "masks", lambda self: torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(PerdureError, match=r"task 'cartpole': in the domain setting the mask must allow"):
        check_stream(stream)


@pytest.mark.parametrize(
    ("setting", "algorithm"),
    [
        ("domain", "ppo"),
        pytest.param("task", "ppo", marks=pytest.mark.slow),
        pytest.param("domain", "dqn", marks=pytest.mark.slow),
        pytest.param("task", "dqn", marks=pytest.mark.slow),
    ],
)
def test_a_comparison_runs(setting, algorithm):
    stream = classic_control(2, **{**SHORT, "setting": setting}, algorithm=algorithm)
    results = compare(stream, ["ewc", "single"], seeds=2, quiet=True)
    assert results.scores["ewc"].shape == (2, 2, 2)
    assert all(results.extras[name]["mapped"] for name in results.scores)


def pole_alone(name, **changes):
    """Return an engine of the first of two tasks, whose third action is absent."""
    stream = classic_control(2, **SHORT, **changes)
    stream = stream.with_tasks(stream.tasks[:1])
    return make_engine(stream, get_strategy(name), make_settings(stream, seeds=[0, 1], device="cpu"))


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_absent_actions_are_never_taken_and_have_probability_zero(algorithm):
    engine = pole_alone("naive", algorithm=algorithm)
    replica = engine.start()
    # Nothing is likelier than what is absent, as far as the weights say.
    replica.params[[*replica.params][-1]][:, 2] = 100.0
    rows = engine.load(engine.composition.phases(engine.stream)[0]).play(replica, 0).rows
    assert rows["y"].unique().tolist() == [0, 1]
    assert not rows["x"][..., 4:].any()
    assert all(v.isfinite().all() for v in rows.values())
    params, buffers = ({k: v[0] for k, v in of.items()} for of in (replica.params, replica.buffers))
    net, x, task = engine.program.net(buffers), rows["x"][0, :9], rows["task"][0, :9]
    assert net.raw(params, x, task)[:, 2].min() > 50
    output = net(params, x, task)
    assert output[:, 2].eq(CLOSED).all()
    assert output[:, :3].softmax(-1)[:, 2].eq(0).all()


@pytest.mark.parametrize("name", ["ewc", "mas", "si"])
@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_what_is_absent_is_neither_learned_nor_measured(name, algorithm, lived):
    engine = pole_alone(name, algorithm=algorithm)
    before = {k: v.clone() for k, v in engine.start().params.items()}
    replica = lived(engine)
    weight, bias = [*before][-2:]
    for k in (weight, bias):
        assert torch.equal(replica.params[k][:, 2], before[k][:, 2])
        assert not torch.equal(replica.params[k][:, 1], before[k][:, 1])
    state = replica.state[name]
    measured = state["fisher" if name == "ewc" else "importance"][bias]
    assert not measured[..., 2].any()
    assert measured[..., :2].any()


def test_padding_changes_nothing_for_a_net_whose_further_inputs_weigh_nothing():
    # The second layer is drawn alike; that of the observation has zeros for what is not there.
    wide, narrow = (
        acting("one", {"pole": CartPole(), **more}, PPORecipe(), "domain", 256, 2)
        for more in ({"links": Acrobot()}, {})
    )
    replicas = []
    for stream in (wide, narrow):
        first = stream.with_tasks(stream.tasks[:1])
        engine = make_engine(first, get_strategy("naive"), make_settings(first, seeds=[0], device="cpu"))
        replicas.append((engine, engine.start()))
    (engine, padded), (_, plain) = replicas
    for k, v in padded.params.items():
        own = plain.params[k]
        if k.startswith("head"):
            v[:, :2], v[:, 3] = own[:, :2], own[:, 2]
        elif v.shape != own.shape:
            v.zero_()
            v[:, :, :4] = own
        else:
            v.copy_(own)
    found = [e.load(e.composition.phases(e.stream)[0]).play(replica, 0).rows for e, replica in replicas]
    assert torch.equal(found[0]["x"][..., :4], found[1]["x"])
    assert torch.equal(found[0]["y"], found[1]["y"])
    for k in ("logp", "gain", "value"):
        torch.testing.assert_close(found[0][k], found[1][k], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_brought_to_one_size_is_one_line_before_any_work():
    for other, recipe in ((Catch(), PPORecipe()), (Pendulum(), PPORecipe()), (Catch(), DQNRecipe())):
        with pytest.raises(PerdureError, match="task 'other': expected the observations and actions") as line:
            acting("mixed", {"pole": CartPole(), "other": other}, recipe, "domain", 256, 2)
        assert "\n" not in str(line.value)


# ---- on the host --------------------------------------------------------------------------------------


def test_environments_on_the_host_are_padded_too():
    stream = gymnasium_ids(
        ["tests/Line-v0", "CartPole-v1", "tests/Line-v0"],
        [{}, {}, {"actions": 3, "first": 4}],
        names=["line", "pole", "three"],
        copies=2, horizon=16, batch_size=32, passes=1, steps=32, limit=10, episodes=2,
    )  # fmt: skip
    check_stream(stream)
    assert (stream.input_shape, stream.outputs) == ((4,), 4)
    assert stream.masks()[:, 2].tolist() == [False, False, True]
    line, _, three = (task.train.env for task in stream)
    assert (line.shape, line.actions, line.flat([3.0]).tolist()) == (
        (4,), PaddedDiscrete(2, 3), [3.0, 0.0, 0.0, 0.0],
    )  # fmt: skip
    assert [bound.tolist()[1:] for bound in line.bounds] == [[0.0] * 3, [1.0] * 3]
    # The number that an environment's first action has is its own.
    assert (three.undone(0), three.undone(2)) == (4, 6)
    results = compare(stream, "naive", seeds=2, quiet=True)
    assert results.scores["naive"].shape == (2, 3, 3)


def test_environments_of_one_size_on_the_host_are_as_they_were():
    stream = gymnasium_ids(["CartPole-v1"], physics=[{}, {"gravity": 20.0}], limit=5)
    assert str(stream[1].train.env) == "gymnasium(limit=5, id=CartPole-v1, physics=(('gravity', 20.0),))"
    assert stream.masks().all()
    assert stream[0].train.env.flat([1.0] * 4).shape == (4,)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"width": 3}, "width must be a whole number of at least 4; found 3"),
        ({"most": 1}, "the number of outputs must be a whole number of at least 2"),
        ({"id": "Pendulum-v1", "most": 3}, "`most` is for one of several actions; found Continuous"),
    ],
)
def test_bad_sizes_on_the_host(changes, line):
    with pytest.raises(PerdureError, match=line):
        _ = Hosted(**{"id": "CartPole-v1", **changes}).actions


# ---- streams by name ----------------------------------------------------------------------------------


def test_grids_of_several_sizes_stand_in_the_corner_of_the_largest():
    stream = grid_world_sizes(4, steps=1, setting="domain")
    check_stream(stream)
    assert stream.names == ["5 x 5", "7 x 7", "9 x 9", "11 x 11"]
    assert stream.input_shape == (5, 11, 11)
    env = stream[0].train.env
    seen = env.observe({"cell": torch.tensor([6]), "key": torch.tensor([False])})
    # Planes of wall and agent: 17 walls of 25 cells, and cell (1, 1).
    assert seen[0, 0, :5, :5].sum() == seen[0, 0].sum() == 17
    assert seen[0, 4].nonzero().tolist() == [[1, 1]]
    assert stream.masks().all()
    assert grid_world_sizes(1).input_shape == (5, 5, 5)


def test_four_rooms_by_side():
    from perdure.envs.single_agent.layouts import LAYOUTS

    assert four_rooms(9) == LAYOUTS["four-rooms"]
    assert four_rooms(5) == ("#####", "#...#", "#.#.#", "#...#", "#####")
    with pytest.raises(PerdureError, match="side must be an odd number; found 6"):
        four_rooms(6)


def test_the_car_may_be_as_weak_as_usual():
    assert str(classic_control()[2].train.env) == ("padded(env=mountain-car(force=0.002), size=(6,), most=3)")
    assert str(classic_control(force=0.001)[2].train.env) == "padded(env=mountain-car, size=(6,), most=3)"
    with pytest.raises(PerdureError, match="tasks must be at most 3"):
        classic_control(4)
