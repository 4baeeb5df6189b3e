"""Particle environments: the contract, a step by hand, symmetries, and the package mpe2 step by step."""

import gymnasium
import pytest
import torch
from torch.func import vmap

from perdure import PerdureError, check_env
from perdure.core.entities import EXTRAS, FEATURES, KIND, KINDS, MORE, PLACE, PRESENT, SELF, TARGET
from perdure.core.random import Rng
from perdure.envs import Reference, SpeakerListener, Spread, get

STEPS, EPISODES = 25, 40
ZERO = torch.tensor(0)
RNG = Rng(ZERO, ZERO)
SPECS = (
    "spread", "spread(agents=2, talk=2, seats=3, slots=7, choices=12)",
    "speaker-listener", "speaker-listener(landmarks=5, talk=7)",
    "reference(talk=10)", "reference(landmarks=2, seats=3, slots=8, choices=6)",
)  # fmt: skip


def near(*numbers):
    return pytest.approx(numbers, abs=1e-6)


def doubled(state):
    return {k: v.double() if v.is_floating_point() else v for k, v in state.items()}


def kinds(table):
    """Names of the kinds of an agent's rows, and "" where there is none."""
    rows = table[:, KIND : KIND + len(KINDS)]
    return ["".join(name for name, one in zip(KINDS, row, strict=True) if one) for row in rows.tolist()]


@pytest.mark.parametrize("spec", SPECS)
def test_it_keeps_the_contract(spec):
    check_env(get(spec), steps=30)


def test_pictures():
    for spec in ("spread", "speaker-listener", "reference"):
        env = get(spec)
        state = env.reset(RNG, 3)
        frame = env.frame(state)
        assert (frame.dtype, frame.shape) == (torch.uint8, (3, 96, 96, 3))
        for _ in range(5):
            state, _, ended = env.step(state, torch.full((3, env.team), 2), RNG)
            assert not ended.any()
        assert not torch.equal(env.frame(state), frame)
        mapped = vmap(lambda seed, env=env: env.frame(env.reset(Rng(seed, ZERO), 3)))(torch.arange(2))
        assert torch.equal(mapped[0], frame)


def test_gymnasium_has_them():
    env = gymnasium.make("perdure/Spread-v0", agents=2)
    assert env.spec.max_episode_steps == 25
    assert env.reset(seed=0)[0].shape == (2, 4, FEATURES)


# ---- by hand ------------------------------------------------------------------------------------------


def test_a_step_of_spread_by_hand():
    # Two agents .2 apart: they overlap by .1, and push each other with 100 * .1 = 10. The left one also
    # pushes to the right, with 5, the other one up.
    env = Spread(agents=2, local_ratio=0.25)
    state = {
        "position": torch.tensor([[[0.0, 0.0], [0.2, 0.0]]]),
        "velocity": torch.tensor([[[1.0, 0.0], [0.0, -2.0]]]),
        "landmarks": torch.tensor([[[0.1, 1.0], [0.2, -0.5]]]),
        "said": torch.full((1, 2), -1),
    }
    new, reward, ended = env.step(doubled(state), torch.tensor([[2, 4]]), RNG)
    assert not ended
    assert new["position"].flatten().tolist() == near(0.1, 0.0, 0.2, -0.2)
    assert new["velocity"].flatten().tolist() == near(0.75 - 1.0 + 0.5, 0.0, 1.0, -1.5 + 0.5)
    # The first agent is nearest to the first landmark, the second one to the second; they overlap.
    alone = -0.75 * (1.0 + 0.3) - 0.25
    assert env.rewards(new)[0].tolist() == near(alone, alone)
    assert float(reward) == pytest.approx(alone)
    own, other, *marks = env.tables(new)[0, 1].tolist()
    assert own[PLACE : MORE + 2] == near(0.2, -0.2, 1.0, -1.0)
    assert (own[SELF], other[SELF]) == (1, 0)
    assert other[PLACE : MORE + 2] == near(-0.1, 0.2, 0.0, 0.0)
    assert [row[PLACE:MORE] for row in marks] == [near(-0.1, 1.2), near(0.0, -0.3)]


def test_the_listener_sees_the_symbol_and_the_speaker_the_goal():
    env = SpeakerListener(talk=3)
    state = {
        **env.scattered(RNG, 1, 3), "colour": torch.tensor([[2, 0, 1]]), "goal": torch.tensor([[1]]),
        "position": torch.tensor([[[0.5, 0.5], [0.0, 0.0]]]),
        "landmarks": torch.tensor([[[1.0, 1.0], [0.0, 0.5], [-1.0, 0.0]]]),
    }  # fmt: skip
    speaker, listener = env.tables(state)[0]
    assert kinds(speaker) == ["agent", "", "", "", "", "goal"]
    assert speaker[5, MORE : MORE + 6].tolist() == [0, 0, 1, 0, 0, 0]  # the goal is of the first colour
    assert kinds(listener) == ["agent", "agent", "landmark", "landmark", "landmark", ""]
    assert listener[2:5, MORE + 2 : MORE + 5].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert not listener[1, MORE:].any()
    new, reward, _ = env.step(state, torch.tensor([[1, 4]]), RNG)
    assert env.tables(new)[0, 1, 1, -3:].tolist() == [0, 1, 0]
    assert not env.tables(new)[0, 0, 1].any()
    assert float(reward) == -0.25
    # The listener moves up, the speaker never moves; what is neither a symbol nor a move is the first one.
    assert new["velocity"][0].tolist() == [[0, 0], [0, 0.5]]
    last, _, _ = env.step(new, torch.tensor([[4, 9]]), RNG)
    assert env.tables(last)[0, 1, 1, -3:].tolist() == [0, 0, 1]
    assert last["velocity"][0].tolist() == [[0, 0], [0, 0.375]]


def test_agents_of_reference_know_each_others_goals():
    env = Reference(local_ratio=1.0, talk=4)
    state = {
        **env.scattered(RNG, 1, 3), "colour": torch.tensor([[1, 2, 0]]), "goal": torch.tensor([[0, 1]]),
        "position": torch.tensor([[[0.0, 0.0], [0.0, 1.0]]]),
        "landmarks": torch.tensor([[[2.0, 1.0], [3.0, 4.0], [0.0, 0.0]]]),
    }  # fmt: skip
    # Agent 0 knows where agent 1 is to go, which is 2 away; agent 1 knows the goal of agent 0, 5 away.
    assert env.rewards(state).tolist() == [[-2.0, -5.0]]
    assert Reference(local_ratio=0.5).rewards(state).tolist() == [[-2.75, -4.25]]
    assert env.tables(state)[0, :, -1, MORE + 2 : MORE + 5].tolist() == [[0, 1, 0], [0, 0, 1]]
    # Symbol 3 with the move to the left, symbol 1 with staying.
    new, reward, _ = env.step(state, torch.tensor([[3 * 5 + 1, 5]]), RNG)
    assert float(reward) == -3.5
    assert new["velocity"][0].tolist() == [[-0.5, 0], [0, 0]]
    assert env.tables(new)[0, :, 1, -4:].tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]


def test_without_symbols_nothing_is_seen_of_what_the_other_one_does():
    for env in (SpeakerListener(), Reference()):
        state = env.reset(RNG, 6)
        assert env.moves == 5
        actions = torch.zeros(6, 2, dtype=torch.int64)
        actions[:, 0] = torch.arange(6)
        new, _, _ = env.step(state, actions, RNG)
        assert torch.equal(new["said"], state["said"])
        listener = env.tables(new)[:, 1]
        assert torch.equal(listener[:, 1:], env.tables(state)[:, 1, 1:])
        if isinstance(env, SpeakerListener):
            assert not new["velocity"].any()


def test_nothing_can_be_acted_on_and_what_is_seen_is_bounded():
    env = Spread(agents=2, limit=500)
    state = env.reset(RNG, 2)
    for _ in range(100):
        state, _, _ = env.step(state, torch.tensor([[1, 2]] * 2), RNG)
    seen = env.observe(state)
    assert float(seen.abs().max()) == 10
    assert not seen[..., TARGET].any()
    assert seen[..., PRESENT].all()
    # An action on an entity is to wait.
    waited, on = (env.step(state, torch.full((2, 2), a), RNG)[0] for a in (0, 5 + 2))
    assert all(torch.equal(waited[k], on[k]) for k in waited)


# ---- properties ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", [Spread(agents=4), SpeakerListener(landmarks=4), Reference(landmarks=4)])
def test_the_order_of_landmarks_is_that_of_their_rows_only(env):
    state, order = env.reset(RNG, 5), torch.tensor([2, 0, 3, 1])
    other = {k: v[:, order] if k in ("landmarks", "colour") else v for k, v in state.items()}
    if "goal" in state:
        other["goal"] = order.argsort()[state["goal"]]
    actions = torch.randint(5, (5, env.team), generator=torch.Generator().manual_seed(0))
    (one, reward, _), (two, again, _) = (env.step(s, actions, RNG) for s in (state, other))
    torch.testing.assert_close(reward, again)
    torch.testing.assert_close(env.rewards(one), env.rewards(two))
    rows = torch.arange(env.entities)
    # Landmarks stand behind the agents.
    rows[env.team : env.team + 4] = env.team + order
    assert torch.equal(env.tables(one)[:, :, rows], env.tables(two))


def test_agents_that_push_each_other_keep_their_momentum():
    env = Spread(agents=5)
    state = doubled(env.reset(RNG, 50))
    state["position"] = 0.2 * state["position"]
    new, reward, _ = env.step(state, torch.zeros(50, 5, dtype=torch.int64), RNG)
    assert float(new["velocity"].abs().amax()) > 1
    torch.testing.assert_close(new["velocity"].sum(1), torch.zeros(50, 2).double())
    # Turned by a right angle, everything else is the same.
    turned = {**state, **{k: state[k].flip(-1) * torch.tensor([-1, 1]) for k in ("position", "landmarks")}}
    again, same, _ = env.step(turned, torch.zeros(50, 5, dtype=torch.int64), RNG)
    torch.testing.assert_close(again["velocity"], new["velocity"].flip(-1) * torch.tensor([-1, 1]))
    torch.testing.assert_close(same, reward)


def test_agents_at_one_point_stay_there():
    env = Spread(agents=2)
    state = {**env.reset(RNG, 1), "position": torch.zeros(1, 2, 2)}
    new, _, _ = env.step(state, torch.zeros(1, 2, dtype=torch.int64), RNG)
    assert not new["velocity"].any()


def test_starts_are_anywhere():
    state = Reference().reset(RNG, 4000)
    for name in ("position", "landmarks"):
        assert -1 <= float(state[name].min()) < -0.99
        assert 0.99 < float(state[name].max()) < 1
        assert float(state[name].mean((0, 1)).abs().max()) < 0.03
    assert torch.bincount(state["goal"].flatten()).min() > 0.3 * 8000
    assert torch.equal(state["colour"].sort(-1).values, torch.arange(3).expand(4000, 3))
    assert torch.bincount(state["colour"][:, 0]).min() > 0.3 * 4000


@pytest.mark.parametrize(
    ("kind", "given", "line"),
    [
        (Spread, {"agents": 10**9}, "agents must be a whole number of at most 1,000"),
        (Spread, {"seats": 10**9}, "seats must be a whole number of at most 10,000"),
        (Spread, {"agents": 1}, "agents must be a whole number of at least 2; found 1"),
        (Spread, {"local_ratio": 1.5}, r"local_ratio must lie in \[0, 1\]; found 1.5"),
        (Spread, {"talk": EXTRAS + 1}, "talk must be a whole number of at most 11; found 12"),
        (SpeakerListener, {"landmarks": 6}, "landmarks must be a whole number of at most 5; found 6"),
        (SpeakerListener, {"talk": -1}, "talk must be a whole number of at least 0; found -1"),
        (Reference, {"local_ratio": -0.1}, r"local_ratio must lie in \[0, 1\]; found -0.1"),
        (Reference, {"choices": 4}, "choices must be at least 5, which reference has; found 4"),
    ],
)
def test_refusals(kind, given, line):
    with pytest.raises(PerdureError, match=line):
        kind(**given)


# ---- mpe2 ---------------------------------------------------------------------------------------------


def exact(numbers):
    return torch.tensor([numbers], dtype=torch.float64)


def copied(world):
    """Return the state of a world of mpe2's, a copy of one."""
    agents, landmarks = world.agents, world.landmarks
    state = {
        "position": exact([a.state.p_pos.tolist() for a in agents]),
        "velocity": exact([a.state.p_vel.tolist() for a in agents]),
        "landmarks": exact([mark.state.p_pos.tolist() for mark in landmarks]),
        "said": torch.full((1, len(agents)), -1),
        "colour": torch.arange(len(landmarks)).unsqueeze(0),
    }
    goals = [landmarks.index(a.goal_b) for a in agents if getattr(a, "_goal_b", None) is not None]
    return {**state, "goal": torch.tensor([goals])} if goals else state


def flat(table, name, agent):
    """Return what an agent's table says, in the order and the numbers of mpe2's observations."""
    own, rest = table[0], table[1:]
    rest = rest[rest[:, PRESENT] > 0]
    agents, landmarks, goals = (
        rest[rest[:, KIND + KINDS.index(k)] > 0] for k in ("agent", "landmark", "goal")
    )
    # Theirs are the others in the order of their numbers.
    numbers = torch.tensor([(agent + 1 + k) % (len(agents) + 1) for k in range(len(agents))])
    agents = agents[numbers.argsort()]
    speed, marks = own[MORE : MORE + 2], landmarks[:, PLACE:MORE].flatten()
    dark, symbols = {"spread": (0, 2), "speaker-listener": (0.15, 3), "reference": (0.25, 10)}[name]
    said = agents[:, -symbols:].flip(1).flatten()
    goal = dark + 0.5 * goals[:, MORE + 2 : MORE + 5].flatten()
    if name == "spread":
        return torch.cat([speed, own[PLACE:MORE], marks, agents[:, PLACE:MORE].flatten(), said])
    return torch.cat([speed, marks, goal, said]) if len(landmarks) else goal


@pytest.mark.parametrize(
    ("module", "env", "given"),
    [
        ("simple_spread_v3", Spread(), {}),
        ("simple_spread_v3", Spread(agents=6, local_ratio=0.3), {"N": 6, "local_ratio": 0.3}),
        ("simple_speaker_listener_v4", SpeakerListener(talk=3), {}),
        ("simple_reference_v3", Reference(talk=10, local_ratio=0.2), {"local_ratio": 0.2}),
    ],
)
def test_it_goes_on_as_mpe2_does(module, env, given):
    pytest.importorskip("pettingzoo")
    pytest.importorskip("mpe2")
    theirs = pytest.importorskip(f"mpe2.{module}").parallel_env(max_cycles=STEPS, **given)
    theirs.reset(seed=3)
    world, draws = theirs.unwrapped.world, torch.Generator().manual_seed(0)
    most = torch.tensor([int(theirs.action_space(agent).n) for agent in theirs.agents])
    actions = (torch.rand(STEPS, EPISODES, len(most), generator=draws) * most).long()
    starts, lives = [], []
    for episode in range(EPISODES):
        theirs.reset()
        starts.append(copied(world))
        for action in actions[:, episode].tolist():
            taken = dict(zip(theirs.possible_agents, action, strict=True))
            seen, rewards, ended, cut, _ = theirs.step(taken)
            assert not any(ended.values())
            lives.append((copied(world), exact(list(rewards.values())), [*seen.values()]))
        assert all(cut.values())
    theirs.close()
    # Ours live the same episodes side by side.
    state, collided = {k: torch.cat([start[k] for start in starts]) for k in starts[0]}, 0
    for t in range(STEPS):
        state, reward, ended = env.step(state, actions[t], RNG)
        assert not ended.any()
        worlds, wanted, seen = zip(*lives[t::STEPS], strict=True)
        for name in ("position", "velocity"):
            torch.testing.assert_close(state[name], torch.cat([w[name] for w in worlds]), rtol=0, atol=1e-8)
        torch.testing.assert_close(env.rewards(state), torch.cat(wanted), rtol=0, atol=1e-8)
        torch.testing.assert_close(reward, torch.cat(wanted).mean(1), rtol=0, atol=1e-8)
        for tables, others in zip(env.observe(state), seen, strict=True):
            for i, other in enumerate(others):
                mine = flat(tables[i], env.name, i)
                torch.testing.assert_close(mine, torch.from_numpy(other).double(), rtol=0, atol=1e-6)
        apart = torch.cdist(state["position"], state["position"]) + torch.eye(env.team)
        collided += int((apart < 0.3).any((1, 2)).sum())
    # Random moves led to contacts in dozens of the 1,000 steps.
    assert collided > 30 or env.name != "spread"
