"""What trained agents tell each other: messages do the work, and taken away it is a guess."""

import numpy as np
import pytest
import torch

from perdure import PerdureError, compare
from perdure.core.entities import MORE, PRESENT
from perdure.core.random import Rng
from perdure.engine.talked import another
from perdure.envs.multi_agent import Referential
from perdure.models.teams.passages import channel_of
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.recipes import TeamRecipe
from perdure.testing import tiny_model, tiny_stream, tiny_team, tiny_team_stream

OBJECTS = 3


@pytest.fixture(scope="module")
def trained():
    """A game of three objects that MCS has learned."""
    recipe = TeamRecipe(copies=128, horizon=1, passes=2, batch_size=128, lr=0.01, width=16)
    games = {"a game": Referential(objects=OBJECTS)}
    stream = acting("game", games, recipe, "domain", 5120, 200, best=1.0)
    results = compare(stream, "mcs", seeds=1, model="team-net(width=16)", quiet=True, keep=True)
    assert results.scores["mcs"].item() > 0.95
    return results.trained["mcs"]


def meant(messages):
    """The object that the sender sees to be meant, by its number."""
    return messages.observations[:, :, 0, 1, MORE + 1 :].argmax(-1)


def test_messages_do_the_work(trained):
    found = trained.messages(task=0, replica=0, episodes=200)
    scored = [episode.rewards.sum() for episode in trained.play("a game", episodes=200)]
    assert found.returns.tolist() == scored
    assert found.returns.mean() > 0.95
    # 200 episodes: a deviation of .033.
    assert abs(found.returns_shuffled.mean() - 1 / OBJECTS) < 0.13
    assert abs(found.returns_silent.mean() - 1 / OBJECTS) < 0.13


def test_the_senders_messages_tell_what_is_meant_and_the_receivers_do_not(trained):
    found = trained.messages()
    told = found.information(meant(found), agent=0)
    assert told.bits > 0.9 * told.entropy > 10 * told.control
    guessed = found.information(meant(found), agent=1)
    assert guessed.bits < guessed.control + 0.15
    assert found.messages.shape == (1, 100, 2, 16)
    assert found.links.shape == (1, 100, 2, 2)
    assert (found.links == [[0, 1], [1, 0]]).all()
    assert (found.bits == 2 * 16 * 32).all()
    assert found.actions.shape == (1, 100, 2)
    assert found.observations.shape == (1, 100, 2, 1 + OBJECTS, 24)
    assert (found.observations[..., 0, PRESENT] == 1).all()


def test_nothing_is_left_in_the_channel_and_twice_is_the_same(trained):
    one, two = trained.messages(episodes=5), trained.messages(episodes=20)
    assert type(channel_of(trained.module).passage).__name__ == "Passage"
    np.testing.assert_array_equal(one.messages, two.messages[:, :5])
    np.testing.assert_array_equal(one.returns_shuffled, two.returns_shuffled[:5])


def test_the_shuffle_is_all_that_differs(trained):
    """A receiver that hears another episode's sender does as it would have done there."""
    found = trained.messages(episodes=200)
    seed = torch.tensor(trained.seeds[0])
    order = another(Rng(seed, torch.zeros_like(seed), "shuffled/"), 200).numpy()
    told = meant(found)[0]
    right = told[order] == told
    # What is right elsewhere is right here where the same object is meant.
    np.testing.assert_array_equal(
        found.returns_shuffled[found.returns[order] > 0], right[found.returns[order] > 0]
    )


def test_everybody_hears_somebody_else():
    zero = torch.tensor(0)
    for n in (2, 3, 50):
        order = another(Rng(zero, zero), n)
        assert sorted(order.tolist()) == list(range(n))
        assert not (order == torch.arange(n)).any()


def test_rounds_lie_side_by_side_and_each_costs_bits():
    spec = "commnet(rounds=2)"
    results = compare(tiny_team_stream(1), spec, model=tiny_team, seeds=1, quiet=True, keep=True)
    found = results.trained[spec].messages()
    assert found.messages.shape == (1, 6, 2, 2 * 4)
    assert (found.bits == 2 * 2 * 4 * 32).all()
    assert not np.allclose(found.messages[..., :4], found.messages[..., 4:])
    assert (found.links == [[0, 1], [1, 0]]).all()


@pytest.mark.parametrize(
    ("spec", "stream", "model", "line"),
    [
        (
            "naive",
            tiny_stream(tasks=1),
            tiny_model,
            "a stream of environments to play in; found one of samples",
        ),
        (
            "naive",
            tiny_team_stream(1),
            tiny_team,
            "agents that talk (mcs, commnet, tarmac, dial); found silent",
        ),
        ("naive", tiny_team_stream(1), tiny_model, "expected agents of a team-net; found Sequential"),
        ("dial", tiny_team_stream(1, episodes=1), tiny_team, "expected 2 scored episodes or more"),
    ],
    ids=["samples", "silent", "no team", "one episode"],
)
def test_who_cannot_be_heard_is_told(spec, stream, model, line):
    results = compare(stream, spec, model=model, seeds=1, epochs=1, quiet=True, keep=True)
    with pytest.raises(PerdureError) as caught:
        results.trained[spec].messages()
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        ({"episodes": 201}, "episodes must be a whole number of at most 200; found 201"),
        ({"episodes": 0}, "episodes must be a whole number of at least 1; found 0"),
        ({"task": 1}, r"expected a task in \[0, 1\); found 1"),
        ({"task": "another"}, "unknown task 'another'"),
        ({"replica": 1}, r"expected a replica in \[0, 1\); found 1"),
    ],
)
def test_what_cannot_be_heard_is_refused(trained, ask, line):
    with pytest.raises(PerdureError, match=line):
        trained.messages(**ask)


@pytest.mark.parametrize("name", ["mcs(threshold=1.0)", "dial(bits=3)", "commnet"])
def test_what_is_sent_is_among_the_costs(name):
    stream = "spread-agents(tasks=2, steps=1, episodes=4)"
    results = compare(stream, ["naive", name], seeds=2, quiet=True, keep=True, model="team-net(width=8)")
    heard = [results.trained[name].messages(task=t, replica=k) for t in range(2) for k in range(2)]
    costs = results.costs[name]
    assert costs["bits_per_step"] == pytest.approx(np.mean([one.bits_per_step for one in heard]))
    rounds = 2 if name == "commnet" else 1
    assert costs["links_per_step"] == pytest.approx(rounds * np.mean([one.pairs_per_step for one in heard]))
    assert "bits_per_step" not in results.costs["naive"]


def test_there_are_as_many_steps_as_the_longest_episode_that_is_kept():
    stream = "skirmish-units(tasks=1, steps=1, episodes=20)"
    results = compare(stream, "mcs", seeds=1, quiet=True, keep=True, model="team-net(width=8)")
    lengths = []
    for episodes in (1, 2, 20):
        found = results.trained["mcs"].messages(episodes=episodes)
        assert len(found.messages) == len(found.links) == found.on.sum(0).max()
        lengths.append(len(found.messages))
    assert lengths[0] < lengths[2]


def test_samples_send_nothing():
    results = compare("split-digits | take(1)", "naive", seeds=1, epochs=1, quiet=True, keep=True)
    assert results.trained["naive"].talk_costs() == {}
