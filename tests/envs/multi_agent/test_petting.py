"""Every environment of teams in PettingZoo's form: its own checks, and what each agent lives through."""

import copy
import pickle
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from torch.func import vmap

from perdure import PerdureError, check_env
from perdure.core.entities import FEATURES, PRESENT, TARGET, row
from perdure.core.random import Rng
from perdure.envs import ENVS, TeamEnv
from perdure.envs.gym import Single
from perdure.envs.petting import parallel
from perdure.models.teams.team_net import NEVER, TeamNet

pytest.importorskip("pettingzoo")

with warnings.catch_warnings():  # its checks load one of its own games in a way that it advises against
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo import ParallelEnv
    from pettingzoo import test as zoo
    from pettingzoo.utils.conversions import parallel_to_aec

STEPS = 200
# PettingZoo takes each table for a picture, and wonders at agents that see nothing.
ADVICE = (
    "ignore:The observation contains negative numbers",
    "ignore:Observation numpy array is all zeros",
)


@dataclass(frozen=True, repr=False)
class Walkers(TeamEnv):
    """Three on a line in wind: agent ``i`` leaves after ``i + stay`` steps; to touch what is near pays."""

    name = "walkers"
    team, entities, moves = 3, 2, 3
    stay: int = 2
    wind: float = 0.01
    limit: int = field(default=20, kw_only=True)

    def reset(self, rng, n):
        place = rng.uniform("place", n, 3)
        return {"place": place, "age": torch.zeros_like(place[:, 0])}

    def tables(self, state):
        place, age = state["place"].clamp(-9, 9), state["age"].unsqueeze(1)
        at = torch.stack([place, 0 * place], -1)
        own = row("agent", at, own=True, present=self.there(age, place))
        return torch.stack([own, row("landmark", -at, target=place.abs() < 0.5)], 2)

    def there(self, age, place):
        return age < self.stay + torch.arange(3)

    def act(self, state, action, rng):
        place, move = state["place"], (action == 2).float() - (action == 1).float()
        there = self.there(state["age"].unsqueeze(1), place)
        touched = (action == self.moves + 1) & (place.abs() < 0.5) & there
        place = place + 0.1 * move + self.wind * rng.normal("wind", *place.shape, dtype=place.dtype)
        new = {"place": place, "age": state["age"] + 1}
        return new, touched.to(place.dtype).sum(1), place.abs().amax(1) > 5

    def frame(self, state):
        return (100 + 10 * state["place"][:, 0]).byte().view(-1, 1, 1, 1).expand(-1, 4, 6, 3)


class Blinking(Walkers):
    """Agents are there in every second step only, the last one always."""

    def there(self, age, place):
        return (age % 2 == 0) | (torch.arange(3) == 2)


class Haunted(Walkers):
    """The landmark is marked as a target, and is not there."""

    def tables(self, state):
        shown = super().tables(state)
        ghost = torch.zeros(FEATURES).index_fill(0, torch.tensor([TARGET]), 1.0)
        return torch.cat([shown[:, :, :1], ghost.expand_as(shown[:, :, 1:])], 2)


NAMES = [name for name in ENVS if isinstance(ENVS.get(name), TeamEnv)]
TEAMS = [*(pytest.param(ENVS.get(name), id=name) for name in NAMES), pytest.param(Walkers(), id="walkers")]
# Padded, as in a stream of tasks of several environments.
TEAMS.append(pytest.param(Walkers(seats=5, slots=4, choices=4), id="padded"))
each = pytest.mark.parametrize("team", TEAMS)


def advised(function):
    for line in ADVICE:
        function = pytest.mark.filterwarnings(line)(function)
    return each(function)


def equal(one, other):
    return data_equivalence(one, other, exact=True)


def draw(env, infos):
    """Return actions that can be done."""
    return {a: env.action_space(a).sample(infos[a]["action_mask"]) for a in env.agents}


def play(env, seed, steps=STEPS):
    """Return all that a run tells, episode after episode, of legal actions that are drawn."""
    for i, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(seed + i)
    told = [env.reset(seed=seed)]
    for _ in range(steps):
        if env.agents:
            told.append((draw(env, told[-1][-1]), list(env.agents)))
            told.append(env.step(told[-1][0]))
        else:
            told.append(env.reset())
        told.append((env.state(), list(env.agents)))
        told.append(told[-2])
    return told


# ---- PettingZoo's checks ------------------------------------------------------------------------------


@advised
def test_pettingzoos_checks_pass(team):
    assert isinstance(parallel(team), ParallelEnv)
    zoo.parallel_api_test(parallel(team), num_cycles=60)
    zoo.parallel_seed_test(lambda: parallel(team), num_cycles=60)


@advised
def test_those_of_agents_one_after_the_other_pass(team):
    zoo.api_test(parallel_to_aec(parallel(team)), num_cycles=60)
    zoo.seed_test(lambda: parallel_to_aec(parallel(team)), num_cycles=60)


@advised
def test_those_of_states_pass(team):
    zoo.state_test(parallel_to_aec(parallel(team)), parallel(team))


def test_that_of_lengths_passes():
    def build(max_cycles):
        return parallel(Walkers(stay=9), max_cycles=max_cycles)

    zoo.max_cycles_test(
        SimpleNamespace(parallel_env=build, env=lambda max_cycles: parallel_to_aec(build(max_cycles)))
    )


@each
@pytest.mark.filterwarnings("ignore:PettingZoo in TorchRL is tested using version")
def test_torchrls_check_passes(team):
    if find_spec("torchrl") is None:
        pytest.skip("torchrl is not installed")
    from torchrl.envs import PettingZooWrapper  # type: ignore[import-not-found]
    from torchrl.envs.utils import check_env_specs  # type: ignore[import-not-found]

    check_env_specs(PettingZooWrapper(parallel(team), use_mask=True))


def test_the_walkers_keep_the_contract():
    check_env(Walkers(seats=5, slots=4, choices=4), steps=20)


# ---- what agents live through -------------------------------------------------------------------------


@each
def test_a_seed_decides_the_run(team):
    first = play(parallel(team), 3)
    assert equal(play(parallel(team), 3), first)
    assert not equal(play(parallel(team), 4, steps=10), play(parallel(team), 3, steps=10))


def states_of(env):
    return env._single._copies.tensors()


@each
def test_it_is_what_tensors_give(team):
    """Runs of 200 steps, then all their starts and steps at once, each step from where theirs was."""
    starts, steps = [], []
    for seed in (5, 6, 7):
        env, episode, age = parallel(team), 0, 0
        env.action_space("agent_0").seed(seed)
        infos = env.reset(seed=seed)[1]
        starts.append((seed, episode, env.state()))
        for _ in range(STEPS):
            state, actions = states_of(env), draw(env, infos)
            whole = [int(actions.get(a, 0)) for a in env.possible_agents]
            told = env.step(actions)
            steps.append((seed, ((episode + 1) << 32) + age, state, whole, told, env.state()))
            age, infos = age + 1, told[-1]
            assert set(told[3].values()) == {age >= team.limit}
            if not env.agents:
                episode, age, infos = episode + 1, 0, env.reset()[1]
                starts.append((seed, episode, env.state()))

    @vmap
    def start(key, episode):
        return team.observe(team.reset(Rng(key, episode, "gym/start/"), 1))[0]

    @vmap
    def step(key, at, state, action):
        alone = {k: v.unsqueeze(0) for k, v in state.items()}
        new, reward, ended = team.step(alone, action.unsqueeze(0), Rng(key, at, "gym/step/"))
        return team.observe(new)[0], reward[0], ended[0]

    keys, episodes, seen = zip(*starts, strict=True)
    assert equal(start(torch.tensor(keys), torch.tensor(episodes)).numpy(), np.stack(seen))
    keys, at, states, actions, told, seen = zip(*steps, strict=True)
    state = {k: torch.cat([one[k] for one in states]) for k in states[0]}
    found, reward, ended = step(torch.tensor(keys), torch.tensor(at), state, torch.tensor(actions))
    np.testing.assert_allclose(np.stack(seen), found, rtol=1e-4, atol=1e-5)
    there = found[:, :, 0, PRESENT] > 0.5
    for i, (tables, rewards, dead, _, _) in enumerate(told):
        for a in tables:
            at = env.possible_agents.index(a)
            assert equal(tables[a], seen[i][at])
            assert rewards[a] == pytest.approx(float(reward[i]), rel=1e-5, abs=1e-5)
            assert dead[a] == bool(ended[i] | ~there[i, at])


@each
def test_what_can_be_done_is_what_a_policy_may_do(team):
    torch.manual_seed(0)
    env, (_, _, moves) = parallel(team), team.sizes
    net = TeamNet(FEATURES, moves, 8, 1, 1)
    _, infos = env.reset(seed=0)
    for _ in range(30):
        with torch.no_grad():
            logits = team.actions.logits(net(torch.from_numpy(env.state()[None]))[:, :-1])[0]
        for agent in env.agents:
            mask = infos[agent]["action_mask"]
            assert mask.dtype == np.int8
            may = logits[env.possible_agents.index(agent)] > NEVER / 2
            assert mask.tolist() == may.int().tolist()
        *_, infos = env.step(draw(env, infos)) if env.agents else env.reset()


def test_options_are_a_dictionary():
    options: Any = 3
    with pytest.raises(PerdureError, match="options must be a dictionary, or None; found 3"):
        parallel("spread").reset(options=options)
    parallel("spread").reset(options={})


def test_nothing_is_done_to_what_is_not_there():
    _, infos = parallel(Haunted()).reset(seed=0)
    assert [info["action_mask"].tolist() for info in infos.values()] == [[1, 1, 1, 0, 0]] * 3


@each
def test_episodes_are_cut_off(team):
    env = parallel(team, max_cycles=3)
    _, infos = env.reset(seed=0)
    for t in range(1, 4):
        _, _, dead, cut, infos = env.step(draw(env, infos))
        assert set(cut.values()) == {t == 3}
        assert env.agents == [a for a in cut if not (dead[a] or cut[a])]
        if not env.agents:
            break
    assert not env.agents


def test_a_team_by_hand():
    env = parallel(Walkers(wind=0.0), max_cycles=3)
    seen, infos = env.reset(seed=0)
    place = [float(seen[a][0, 11]) for a in env.possible_agents]
    assert [seen[a][1, 11] for a in env.possible_agents] == [-p for p in place]
    near = [int(abs(p) < 0.5) for p in place]
    assert sum(near) in (1, 2)  # some can touch, some cannot
    assert [infos[a]["action_mask"].tolist() for a in env.agents] == [[1, 1, 1, 0, n] for n in near]
    # The last one walks, the others touch; then the first is gone, and what it did before has counted.
    seen, rewards, dead, cut, _ = env.step({"agent_0": 4, "agent_1": 4, "agent_2": np.int32(2)})
    assert rewards == dict.fromkeys(env.possible_agents, float(near[0] + near[1]))
    assert seen["agent_2"][0, 11] == pytest.approx(place[2] + 0.1)
    assert seen["agent_0"][0, 11] == pytest.approx(place[0])
    assert not any(dead.values())
    _, rewards, dead, cut, _ = env.step({"agent_0": 4, "agent_1": 0, "agent_2": 0})
    assert rewards == dict.fromkeys(env.possible_agents, float(near[0]))
    assert dead == {"agent_0": True, "agent_1": False, "agent_2": False}
    assert env.agents == ["agent_1", "agent_2"]
    assert (env.num_agents, env.max_num_agents) == (2, 3)
    seen, _, dead, cut, infos = env.step({"agent_1": 0, "agent_2": 0})
    assert list(seen) == list(infos) == ["agent_1", "agent_2"]
    assert dead == {"agent_1": True, "agent_2": False}
    assert cut == {"agent_1": True, "agent_2": True}
    assert env.agents == []


def test_who_is_gone_stays_away_and_waits():
    env = parallel(Blinking(wind=0.0))
    env.reset(seed=0)
    _, _, dead, _, _ = env.step({"agent_0": 2, "agent_1": 2, "agent_2": 2})
    assert dead == {"agent_0": True, "agent_1": True, "agent_2": False}
    before = env.state()
    for _ in range(3):
        env.step({"agent_2": 2})
        assert env.agents == ["agent_2"]
    # After four steps the others' rows are there again, unmoved.
    assert env.state()[:, 0, PRESENT].tolist() == [1, 1, 1]
    moved = env.state()[:, 1, 11] - before[:, 1, 11]
    np.testing.assert_allclose(moved, [0, 0, -0.3], atol=1e-6)


def test_padding_is_nobody():
    plain, padded = parallel(Walkers()), parallel(Walkers(seats=5, slots=4, choices=4))
    assert plain.possible_agents == padded.possible_agents == ["agent_0", "agent_1", "agent_2"]
    assert padded.observation_space("agent_0").shape == (4, FEATURES)
    assert padded.action_space("agent_0").n == 8
    assert padded.state_space.shape == (5, 4, FEATURES)
    seen, infos = plain.reset(seed=2)
    more, wide = padded.reset(seed=2)
    for t in range(2):
        for agent in plain.agents:
            assert equal(more[agent][:2], seen[agent])
            assert not more[agent][2:].any()
            mask = infos[agent]["action_mask"].tolist()
            assert wide[agent]["action_mask"].tolist() == [1, *mask, 0, 0]
        seen, paid, *_, infos = plain.step(dict.fromkeys(plain.agents, (2, 4)[t]))
        more, same, *_, wide = padded.step(dict.fromkeys(padded.agents, (2, 5)[t]))
        assert paid == same
    assert not padded.state()[3:].any()


def test_it_is_the_central_form_by_agents():
    env, central = parallel("referential", objects=3), Single("referential", objects=3)
    for _ in range(5):
        seen, _ = env.reset()
        env.reset(seed=4)
        table, _ = central.reset(seed=4)
        assert equal(env.state(), table)
        _, reward, ended, _, _ = central.step([0, 2])
        _, rewards, dead, _, _ = env.step({"agent_0": 0, "agent_1": 2})
        assert rewards == {"agent_0": reward, "agent_1": reward}
        assert dead == {"agent_0": ended, "agent_1": ended}
        assert len(seen) == 2


def test_spaces_are_the_same_each_time_and_each_agents_own():
    env = parallel(Walkers())
    spaces = [env.action_space(a) for a in env.possible_agents]
    spaces += [env.observation_space(a) for a in env.possible_agents]
    assert len({id(space) for space in spaces}) == 6
    assert spaces[0] is env.action_space("agent_0")
    assert spaces[3] is env.observation_space("agent_0")
    assert env.state_space is env.state_space


def test_what_was_told_is_the_users_own():
    def run(spoil):
        env, kept = parallel(Walkers(stay=9)), []
        told = env.reset(seed=0)
        for _ in range(4):
            kept.append(copy.deepcopy(told))
            if spoil:
                env.state()[:] = 1
                for table in told[0].values():
                    table[:] = 1
                for info in told[-1].values():
                    info["action_mask"][:] = 1
            kept.append(env.state())
            told = env.step(dict.fromkeys(env.agents, 2))
        return kept

    assert equal(run(spoil=True), run(spoil=False))


def test_copies_of_the_object_go_on_alike():
    env = parallel("referential")
    env.reset(seed=0)
    action = {"agent_0": 0, "agent_1": 3}
    for other in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert equal(other.state(), env.state())
        expected = copy.deepcopy(env)
        assert equal(other.step(action), expected.step(action))
        assert equal(other.reset(), expected.reset())


def test_a_reset_without_a_seed_goes_on_with_the_next_episode():
    env = parallel(Walkers())
    first, again = env.reset(seed=3)[0], env.reset()[0]
    assert not equal(first, again)
    assert equal(env.reset(seed=3)[0], first)
    assert equal(env.reset()[0], again)
    assert not equal(parallel(Walkers()).reset()[0], parallel(Walkers()).reset()[0])


# ---- refusals, names and pictures ---------------------------------------------------------------------


def test_what_it_is_called():
    env = parallel("referential(objects=3)")
    assert (str(env), env.metadata["name"], env.render_mode) == ("referential", "referential", None)
    assert env.metadata["render_modes"] == []
    assert env.max_cycles == 1
    assert env.unwrapped is env


def test_pictures_are_those_of_the_environment():
    env, single = parallel(Walkers(), "rgb_array"), Single(Walkers(), "rgb_array")
    env.reset(seed=1)
    single.reset(seed=1)
    assert equal(env.render(), single.render())
    assert env.metadata["render_modes"] == ["rgb_array"]
    env.close()


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: parallel("cartpole"), "expected an environment of a team; found cartpole, which has one"),
        (lambda: parallel("referentail"), "unknown environment 'referentail': did you mean referential"),
        (lambda: parallel(3), "expected an environment or its name; found 3"),
        (lambda: parallel("referential", objcts=3), "did you mean .*objects"),
        (lambda: parallel("referential", limit=3), "write max_cycles=3; found limit=3"),
        (lambda: parallel(Walkers(), wind=3.0), "has its physics already; found wind"),
        (lambda: parallel("referential", max_cycles=0), "max_cycles must be a whole number of at least 1"),
        (lambda: parallel("referential", "rgb_array"), "render_mode must be None.*cannot draw itself"),
        (lambda: parallel(Walkers()).render(), "nothing is drawn: make the environment with render_mode"),
        (lambda: parallel(Walkers()).step({}), "expected a reset first: no agent is there to act"),
        (lambda: parallel(Walkers()).action_space("agent_3"), "unknown agent 'agent_3'"),
        (lambda: parallel(Walkers()).observation_space("walker"), "unknown agent 'walker'"),
        (lambda: parallel(Walkers()).reset(options={"wind": 1}), "do nothing; found 'wind', which is an arg"),
    ],
)
def test_what_cannot_be_is_refused(call, line):
    with pytest.raises(PerdureError, match=line):
        call()


@pytest.mark.parametrize(
    ("actions", "line"),
    [
        ({}, "expected an action of agent_1, agent_2 each; found {}"),
        ({"agent_1": 0}, "expected an action of agent_1, agent_2 each; found {'agent_1': 0}"),
        ({"agent_0": 0, "agent_1": 0, "agent_2": 0}, "expected an action of agent_1, agent_2 each"),
        ([0, 0], r"expected an action of agent_1, agent_2 each; found \[0, 0\]"),
        ({"agent_1": 0, "agent_2": 5}, r"expected an action in {0, ..., 4} of agent_2; found 5"),
        ({"agent_1": -1, "agent_2": 0}, r"expected an action in {0, ..., 4} of agent_1; found -1"),
        ({"agent_1": 0.5, "agent_2": 0}, "of agent_1; found 0.5"),
        ({"agent_1": None, "agent_2": 0}, "of agent_1; found None"),
        ({"agent_1": [0], "agent_2": 0}, r"of agent_1; found \[0\]"),
    ],
)
def test_actions_that_there_are_not_are_refused(actions, line):
    env = parallel(Walkers())
    env.reset(seed=0)
    for _ in range(2):
        env.step(dict.fromkeys(env.agents, 0))
    with pytest.raises(PerdureError, match=line):
        env.step(actions)
    env.step({"agent_1": 0, "agent_2": 0})  # nothing has happened
    assert env.agents == ["agent_2"]
