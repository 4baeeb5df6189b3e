"""Every environment in Gymnasium's form: its own checks, other libraries', and one copy against many."""

import copy
import json
import pickle
import re
import subprocess
import sys
import warnings
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils import env_checker
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from perdure import PerdureError
from perdure.envs import ENVS, CartPole, Continuous, environment
from perdure.envs.gym import Batched, Single

IDS = [f"perdure/{ENVS.maker(name).__name__}-v0" for name in ENVS]
# What Gymnasium advises against, and its own environments do: speeds without a bound, actions beyond 1.
ADVICE = (
    "ignore:.*A Box observation space m..imum value is",
    "ignore:.*For Box action spaces, we recommend",
)
advice = [pytest.mark.filterwarnings(line) for line in ADVICE]


def marked(function):
    for mark in advice:
        function = mark(function)
    return pytest.mark.parametrize("key", IDS)(function)


def equal(one, other):
    return env_checker.data_equivalence(one, other, exact=True)


def play(env, steps, seed=0, actions=None):
    """All that a vector environment tells in a run."""
    told = [env.reset(seed=seed)]
    env.action_space.seed(seed)
    for _ in range(steps):
        action = env.action_space.sample() if actions is None else actions
        told.append(env.step(action))
    return told


# ---- the checks of others -----------------------------------------------------------------------------


@marked
def test_gymnasiums_checks_pass(key):
    env = gymnasium.make(key).unwrapped
    env_checker.check_env(env)
    env_checker.check_reset_seed_determinism(env)
    env_checker.check_step_determinism(env)
    env_checker.check_returned_data_not_reused(env)


@marked
def test_those_that_fit_pass_for_many(key):
    # The second asks whether "the" episode has ended: of one copy only.
    env_checker.check_reset_seed_determinism(gymnasium.make_vec(key, num_envs=3))
    env_checker.check_returned_data_not_reused(gymnasium.make_vec(key, num_envs=1))


@pytest.mark.parametrize("key", IDS)
def test_many_match_gymnasiums_own_copies(key):
    many, single = gymnasium.make_vec(key, 1), gymnasium.make_vec(key, 1, vectorization_mode="sync")
    check_environments_match(many, single, num_steps=100, seed=1)


@marked
def test_stable_baselines_check_passes(key):
    if find_spec("stable_baselines3") is None:
        pytest.skip("stable-baselines3 is not installed")
    from stable_baselines3.common.env_checker import check_env

    check_env(gymnasium.make(key), warn=False)


@pytest.mark.parametrize("key", IDS)
def test_torchrls_check_passes(key):
    if find_spec("torchrl") is None:
        pytest.skip("torchrl is not installed")
    from torchrl.envs import GymWrapper  # type: ignore[import-not-found]
    from torchrl.envs.utils import check_env_specs  # type: ignore[import-not-found]

    check_env_specs(GymWrapper(gymnasium.make(key)))


# ---- ids ----------------------------------------------------------------------------------------------


def test_every_environment_has_an_id_with_its_usual_length():
    for name, key in zip(ENVS, IDS, strict=True):
        spec = gymnasium.spec(key)
        assert spec.max_episode_steps == ENVS.get(name).limit
        assert gymnasium.make(key).unwrapped.inner == ENVS.get(name)
        assert json.loads(spec.to_json())["kwargs"] == {"env": name}


def test_the_id_is_enough():
    code = "import gymnasium; print(gymnasium.make('perdure.envs:perdure/CartPole-v0', gravity=20.0))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Single<perdure/CartPole-v0>" in done.stdout


def test_an_environment_of_ones_own_has_an_id_and_may_be_defined_again(monkeypatch):
    monkeypatch.setattr(ENVS, "_makers", dict(ENVS._makers))
    monkeypatch.delitem(gymnasium.registry, "perdure/Later-v0", raising=False)
    for _ in range(2):

        @environment("later")
        class Later(CartPole):
            pass

    assert gymnasium.make("perdure/Later-v0", gravity=20.0).unwrapped.inner == Later(gravity=20.0)


# ---- one and many -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(AutoresetMode)[:2])
@pytest.mark.parametrize("key", IDS)
def test_each_of_many_is_the_same_alone_in_every_episode(key, mode):
    # Episodes so short that starts are drawn ahead more than once.
    many = gymnasium.make_vec(key, num_envs=3, max_episode_steps=4, autoreset_mode=mode.value)
    many.unwrapped._copies.ahead = 5
    alone = SyncVectorEnv([lambda: gymnasium.make(key, max_episode_steps=4)] * 3, autoreset_mode=mode)
    assert many.metadata["autoreset_mode"] is alone.metadata["autoreset_mode"] is mode
    assert many.observation_space == alone.observation_space
    assert many.action_space == alone.action_space
    for one, other in zip(play(many, 60, seed=7), play(alone, 60, seed=7), strict=True):
        assert equal(one, other)


def test_a_reset_without_a_seed_goes_on_with_the_next_episode():
    many, single = Batched("cartpole", 2), Single("cartpole")
    first, again = many.reset(seed=3)[0], many.reset()[0]
    assert (first != again).all()
    single.reset(seed=4)
    assert equal(single.reset()[0], again[1])
    assert equal(many.reset(seed=3)[0], first)


def test_without_any_seed_runs_differ():
    assert (Single("cartpole").reset()[0] != Single("cartpole").reset()[0]).any()
    assert (Batched("cartpole", 2).reset()[0] != Batched("cartpole", 2).reset()[0]).any()


@pytest.mark.parametrize("build", [Single, Batched])
def test_a_generator_put_there_decides_the_draws(build):
    def start(seed):
        env = build("cartpole")
        env.np_random = np.random.default_rng(seed)
        return env.reset()[0]

    assert equal(start(1), start(1))
    assert (start(1) != start(2)).any()


def test_all_copies_start_by_themselves():
    seen, _ = Batched("cartpole", 64).reset(seed=0)
    assert len(np.unique(seen[:, 0])) == 64
    assert np.abs(seen).max() <= 0.05
    assert abs(seen.mean()) < 0.01


def test_a_block_of_starts_is_the_same_however_long_it_is():
    runs = []
    for ahead in (1, 2, 32):
        env = Batched("cartpole", 3, max_episode_steps=2)
        env._copies.ahead = ahead
        runs.append(play(env, 30))
    assert equal(runs[0], runs[1])
    assert equal(runs[0], runs[2])


def test_by_hand():
    # From the middle, upright and at rest, a push of 10 N to the right: the pole's top falls to the left.
    env = Batched(CartPole(), 2)
    env.reset(seed=0)
    env._copies.state = [v * 0 for v in env._copies.state]
    seen, reward, ended, cut, infos = env.step(np.array([1, 0]))
    part = 10 / 1.1
    turning = -part / (0.5 * (4 / 3 - 0.1 / 1.1))
    moving = part - 0.05 / 1.1 * turning
    np.testing.assert_allclose(seen[0], [0, 0.02 * moving, 0, 0.02 * turning], rtol=1e-6)
    np.testing.assert_allclose(seen[1], -seen[0], rtol=1e-6)
    assert reward.tolist() == [1, 1]
    assert not ended.any()
    assert not cut.any()
    assert infos == {}


def test_the_step_after_an_end_ignores_the_action_and_gives_nothing():
    env = Batched("cartpole", 1, max_episode_steps=3)
    told = play(env, 4, actions=np.array([1]))
    assert [float(step[1][0]) for step in told[1:]] == [1, 1, 1, 0]
    assert [bool(step[3][0]) for step in told[1:]] == [False, False, True, False]
    assert np.abs(told[4][0]).max() <= 0.05


def test_one_alone_is_cut_off_by_gymnasium():
    env = gymnasium.make("perdure/CartPole-v0", max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step(i % 2)[3] for i in range(3)] == [False, False, True]


def test_copies_that_stand_still_are_reset_by_a_mask():
    env = Batched("cartpole", 2, max_episode_steps=2, autoreset_mode="Disabled")
    env.reset(seed=0)
    push = np.array([0, 1])
    env.step(push)
    before, *_ = env.step(push)
    with pytest.raises(PerdureError, match="copy 0's episode is over: reset it"):
        env.step(push)
    mask = np.array([False, True])
    seen, _ = env.reset(options={"reset_mask": mask})
    assert equal(seen[0], before[0])
    single = Single("cartpole")
    single.reset(seed=1)
    assert equal(seen[1], single.reset()[0])
    seen, _ = env.reset(seed=8, options={"reset_mask": mask})
    assert equal(seen[1], single.reset(seed=9)[0])
    env.reset(options={"reset_mask": ~mask})
    env.step(push)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_what_was_told_is_the_users_own(mode):
    def run(spoil):
        env, actions = Batched("cartpole", 2, 3, autoreset_mode=mode), np.array([0, 1])
        told, kept = env.reset(seed=0), []
        for _ in range(5):
            kept.append(copy.deepcopy(told))
            if spoil:
                for value in told[:-1]:
                    value[:] = 1
            told = env.step(actions)
        return kept

    assert equal(run(spoil=True), run(spoil=False))


def test_copies_of_the_object_go_on_alike():
    env = Batched("cartpole", 2)
    env.reset(seed=0)
    other, third = copy.deepcopy(env), pickle.loads(pickle.dumps(env))
    action = np.array([0, 1])
    expected = env.step(action)
    assert equal(other.step(action), expected)
    assert equal(third.step(action), expected)


def test_thousands_take_few_starts_ahead():
    assert Batched("cartpole", 1)._copies.ahead == 32
    assert Batched("cartpole", 1 << 17)._copies.ahead == 8


class Gusty(CartPole):
    """A cart that stands in wind: the observation is what the wind did."""

    def step(self, state, action, rng):
        wind = rng.normal("wind", len(action), 4)
        return {"state": wind}, wind[:, 0] * 0, wind[:, 0] > 9


def test_each_copy_draws_for_itself_at_every_step_and_episode():
    env = Batched(Gusty(), 8, max_episode_steps=6)
    told = play(env, 14)
    seen = np.concatenate([told[i + 1][0] for i in range(14) if i != 6])
    assert len(np.unique(seen)) == seen.size
    assert np.abs(np.corrcoef(seen.T) - np.eye(4)).max() < 0.35
    assert abs(seen.std() - 1) < 0.2
    single = Single(Gusty())
    single.reset(seed=3)
    for i in range(6):
        assert equal(single.step(0)[0], told[i + 1][0][3])


class Marked(CartPole):
    """A cart with a mark that its first step takes away."""

    def reset(self, rng, n):
        return {**super().reset(rng, n), "mark": torch.ones(n)}

    def observe(self, state):
        return torch.cat([state["state"][:, :3], state["mark"].unsqueeze(-1)], -1)

    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return {**new, "mark": torch.zeros(len(action))}, reward, ended


def test_what_is_the_same_at_each_step_is_not_written_on():
    env = Batched(Marked(), 6)
    told = play(env, 60, actions=np.array([0, 1, 0, 1, 0, 1]))
    over = np.zeros(6, bool)
    for seen, _, ended, cut, _ in told[1:]:
        assert equal(seen[:, 3], over.astype(np.float32))
        over = ended | cut


class Endless(CartPole):
    """A cart that never ends."""

    def step(self, state, action, rng):
        new, reward, _ = super().step(state, action, rng)
        return new, reward, torch.zeros_like(reward, dtype=torch.bool)


def test_ends_that_are_the_same_at_each_step_are_the_users_own_too():
    env = Batched(Endless(), 2)
    env.reset(seed=0)
    for _ in range(3):
        _, reward, ended, *_ = env.step(np.array([0, 1]))
        assert not ended.any()
        assert reward.tolist() == [1, 1]
        ended[:], reward[:] = True, 7


class Pushed(CartPole):
    """A cart that is pushed to the right by positive numbers, else to the left."""

    @property
    def actions(self):
        return Continuous((-1.0,), (2.0,))

    def step(self, state, action, rng):
        assert action.dtype == torch.float32
        return super().step(state, (self.actions.cut(action)[:, 0] > 0).long(), rng)


def test_numbers_as_actions():
    env, plain = Batched(Pushed(), 2), Batched(CartPole(), 2)
    assert env.single_action_space == gymnasium.spaces.Box(-1.0, 2.0, (1,), np.float32)
    env.reset(seed=0)
    plain.reset(seed=0)
    expected = plain.step(np.array([0, 1]))
    assert equal(env.step(np.array([[-7], [5]])), expected)
    single = Single(Pushed())
    single.reset(seed=1)
    assert equal(single.step([0.5])[0], expected[0][1])
    for bad in ([[0.0], [np.nan]], [0.0, 1.0], [[0.0, 1.0]] * 2, [["x"], ["y"]]):
        with pytest.raises(PerdureError, match=re.escape("expected actions [2, 1], finite; found")):
            env.step(np.array(bad))


# ---- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: gymnasium.make("perdure/CartPole-v0", gravty=2.0), "did you mean .*gravity"),
        (lambda: gymnasium.make("perdure/CartPole-v0", gravity="x"), "gravity must be a number; found 'x'"),
        (lambda: gymnasium.make("perdure/CartPole-v0", limit=3), "write max_episode_steps=3"),
        (lambda: gymnasium.make_vec("perdure/CartPole-v0", 2, limit=3), "write max_episode_steps=3"),
        (lambda: Single(CartPole(), gravity=3.0), "has its physics already; found gravity"),
        (lambda: Single(3), "expected an environment or its name; found 3"),
        (lambda: Single("cartpol"), "unknown environment 'cartpol': did you mean cartpole"),
        (lambda: Batched("cartpole", 0), "num_envs must be a whole number of at least 1; found 0"),
        (lambda: Batched("cartpole", 2, 0), "max_episode_steps must be a whole number of at least 1"),
        (lambda: Batched("cartpole", 2, autoreset_mode="Never"), "autoreset_mode must be one of NextStep"),
        (lambda: Single("cartpole", "human"), "render_mode must be None.*found 'human'"),
        (lambda: Single("cartpole").step(0), "expected a reset of all copies first"),
        (lambda: Batched("cartpole").step(np.array([0])), "expected a reset of all copies first"),
        (lambda: Batched("cartpole").reset(options={"reset_mask": np.ones(1, bool)}), "expected a reset of"),
        (lambda: Single("cartpole").reset(options={"low": 0}), "options of a reset can be none; found 'low'"),
        (lambda: Batched("cartpole").reset(options={"low": 0}), "can be reset_mask; found 'low'"),
        (lambda: Single("cartpole").render(), "nothing is drawn: make the environment with render_mode"),
    ],
)
def test_what_cannot_be_is_refused(call, line):
    with pytest.raises(PerdureError, match=line):
        call()


@pytest.mark.parametrize("action", [2, -1, 0.5, [0], "left", None])
def test_actions_that_there_are_not_are_refused(action):
    env = Single("cartpole")
    env.reset(seed=0)
    with pytest.raises(PerdureError, match=re.escape("expected actions [1] in {0, ..., 1}; found")):
        env.step(action)


@pytest.mark.parametrize("action", [[0, 2], [-1, 0], [0], [0.0, 1.0], [[0], [1]]])
def test_actions_of_many_are_refused_too(action):
    env = Batched("cartpole", 2)
    env.reset(seed=0)
    with pytest.raises(PerdureError, match=re.escape("expected actions [2] in {0, ..., 1}; found")):
        env.step(np.array(action))


@pytest.mark.parametrize("mask", [np.ones(3, bool), np.ones(2), [True, True], np.zeros(2, bool)])
def test_masks_that_are_none_are_refused(mask):
    env = Batched("cartpole", 2)
    env.reset(seed=0)
    with pytest.raises(PerdureError, match=re.escape("`reset_mask` must be an array [2] of bools")):
        env.reset(options={"reset_mask": mask})


# ---- pictures -----------------------------------------------------------------------------------------


class Drawn(CartPole):
    """A cart whose picture is of one colour: how far it is from the middle."""

    def frame(self, state):
        place = (100 + 10 * state["state"][:, 0]).byte()
        return place.view(-1, 1, 1, 1).expand(-1, 4, 6, 3)


def test_pictures_are_those_of_the_environment():
    single, many = Single(Drawn(), "rgb_array"), Batched(Drawn(), 2, render_mode="rgb_array")
    single.reset(seed=1)
    many.reset(seed=0)
    picture = single.render()
    assert picture.shape == (4, 6, 3)
    assert picture.dtype == np.uint8
    assert len(many.render()) == 2
    assert equal(many.render()[1], picture)
    assert single.metadata["render_modes"] == many.metadata["render_modes"] == ["rgb_array"]
    assert "torch" not in {**single.metadata, **many.metadata}


def test_no_warning_is_heard_in_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for key in IDS:
            env, many = gymnasium.make(key), gymnasium.make_vec(key, num_envs=2)
            env.reset(seed=0)
            env.step(env.action_space.sample())
            play(many, 2)
