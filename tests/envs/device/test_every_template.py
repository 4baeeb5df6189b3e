"""What every template keeps: the oracle solves it in both forms, and nothing else passes for a solution."""

import re

import pytest
import torch

from perdure.core.random import Rng
from perdure.envs.device import Action, Device, Episode, get_task, templates
from perdure.envs.device.world import named

ZERO = torch.tensor(0)
INDICES = range(3)


@pytest.fixture(params=[*templates()])
def name(request):
    return request.param


def test_the_oracle_solves_it_within_its_budget(name):
    for index in INDICES:
        episode = Episode(get_task(name, index=index))
        assert episode.play(episode.oracle()) == 1.0, f"{name} {index}"
        # A budget is between once and five times what it takes.
        steps = episode.task.budget() - episode.left
        assert episode.task.budget() <= 5 * steps


def test_nothing_done_is_no_success(name):
    for index in INDICES:
        episode = Episode(get_task(name, index=index))
        assert episode.step(Action("status", goal_status="complete")) == 0.0


def test_all_but_the_declaration_is_no_success(name):
    episode = Episode(get_task(name))
    for action in episode.oracle():
        assert episode.step(action if action.action_type != "status" else Action("wait")) == 0.0


def test_success_declared_infeasible_is_none(name):
    episode = Episode(get_task(name))
    given = [a.action_type for a in episode.oracle() if not episode.over and episode.step(
        Action("status", goal_status="infeasible") if a.action_type == "status" else a) == 0.0]  # fmt: skip
    assert episode.over
    assert given[-1] == "status"


def test_a_record_lost_beside_is_no_success(name):
    for kind in ("calendar.event",):
        episode = Episode(get_task(name))
        for action in episode.oracle():
            if action.action_type == "status":
                rows = episode.phone.contents[kind]
                rows[next(i for i, one in enumerate(rows) if one is not None)] = None
            episode.step(action)
        assert episode.reward == 0.0


def test_the_batched_phone_agrees(name):
    env = Device(name, instances=len(INDICES))
    episodes = [Episode(task) for task in env.tasks]
    oracles = [iter(episode.oracle()) for episode in episodes]
    state, over = env.start(torch.arange(len(episodes))), torch.zeros(len(episodes), dtype=torch.bool)
    while not over.all():
        actions = [0 if episode.over else episode.number(next(oracle))
                   for episode, oracle in zip(episodes, oracles, strict=True)]  # fmt: skip
        state, reward, ended = env.step(state, torch.tensor(actions), Rng(ZERO, ZERO))
        for i, episode in enumerate(episodes):
            if not episode.over:
                assert episode.step(actions[i]) == float(reward[i])
                assert episode.over == bool(ended[i])
                torch.testing.assert_close(env.observe(state)[i], torch.from_numpy(episode.observe()))
        over |= ended
    assert all(episode.reward == 1.0 for episode in episodes)


def test_its_words(name):
    kind = templates()[name]
    assert re.fullmatch(r"[A-Z].*[.?]", kind.template)
    assert name.startswith(kind.app_names[0].capitalize())
    assert name in named(kind.app_names[0])
    goals = {get_task(name, index=index).goal for index in range(4)}
    assert len(goals) > 1 or not kind.told()
