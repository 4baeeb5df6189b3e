"""What every template keeps: the oracle solves it in both forms, and nothing else passes for a solution."""

import re

import pytest
import torch

from perdure.core.random import Rng
from perdure.envs.device import Action, Device, Episode, Phone, get_task, templates
from perdure.envs.device.catalogue import catalogue
from perdure.envs.device.goals import Add, Answer, Number, matching
from perdure.envs.device.world import named

ZERO = torch.tensor(0)
INDICES = range(3)


@pytest.fixture(params=[*templates()])
def name(request):
    return request.param


def test_the_oracle_solves_it_within_its_budget(name, solved):
    for index in INDICES:
        actions, _, episode = solved(name, index)
        assert episode.reward == 1.0, f"{name} {index}: {actions}"
        # A budget is no more than five times what it takes.
        assert len(actions) <= episode.task.budget() <= 5 * len(actions)


def test_what_is_no_success(name, solved):
    actions, _, _ = solved(name)
    *done, complete = actions
    infeasible, other = Action("status", goal_status="infeasible"), Action("answer", text="something else")
    # Nothing done; all but the declaration; another declaration; an answer that nobody asked for.
    for tried in ([complete], [*done, Action("wait")], [*done, infeasible], [*done, other, complete]):
        assert Episode(get_task(name)).play(tried) == 0.0
    # Nothing is flaky: the same actions succeed again.
    assert Episode(get_task(name)).play(actions) == 1.0


def test_what_is_lost_beside_is_no_success(name, solved):
    actions, _, _ = solved(name)
    episode = Episode(get_task(name))
    episode.play(actions[:-1])
    assert episode.task.is_successful(episode.phone) == 0.0
    kinds = [kind for kind in catalogue().kept if len(episode.phone.records(kind)) > 1]
    for kind in kinds:
        rows = episode.phone.contents[kind]
        place = next(i for i, one in enumerate(rows) if one is not None)
        kept, rows[place] = rows[place], None
        episode.phone.status = "complete"
        assert episode.task.is_successful(episode.phone) == 0.0
        rows[place] = kept
    assert episode.task.is_successful(episode.phone) == 1.0


# What is asked for is one more of what is there.
AGAIN = {"SmsSendAgain"}


def test_nothing_that_is_to_be_added_is_there_before(name):
    # At the 93rd, a marker at random was where one is to be set.
    for index in (*range(20), 93):
        task, phone = get_task(name, 0, index), Phone()
        task.initialize_task(phone)
        for goal in task.goals:
            told = {field for field, slots in goal.written().items() if slots}
            if isinstance(goal, Add) and told and name not in AGAIN:
                new = {key: v for key, v in goal.filled(task.catalogue, task.params).items() if key in told}
                assert not matching(phone.contents, goal.record, new), (index, task.goal, new)


def test_its_words(name):
    kind = templates()[name]
    assert re.fullmatch(r"[A-Z].*[.?]", kind.template)
    assert name.startswith(kind.app_names[0].capitalize())
    assert set(kind.app_names) <= set(catalogue().apps)
    assert name in named(kind.app_names[0])
    assert kind.__doc__.rstrip().endswith(".")
    goals = {get_task(name, index=index).goal for index in range(4)}
    assert len(goals) > 1 or not kind.told()
    asks = any(isinstance(goal, Answer | Number) for goal in kind.goals)
    assert asks == ("information_retrieval" in kind.tags)


@pytest.mark.parametrize("app", [*catalogue().apps])
def test_the_batched_phone_agrees(app, solved):
    names = [name for name, kind in templates().items() if kind.app_names[0] == app]
    env = Device(app, instances=2)
    plans = [solved(name, index)[1] for name in names for index in range(2)]
    assert [(task.name(), task.goal) for task in env.tasks] == [
        (name, solved(name, index)[2].task.goal) for name in names for index in range(2)
    ]
    state = env.start(torch.arange(len(plans)))
    for t in range(max(map(len, plans))):
        # Who has ended goes on to where nobody looks.
        actions = torch.tensor([plan[min(t, len(plan) - 1)] for plan in plans])
        state, reward, ended = env.step(state, actions, Rng(ZERO, ZERO))
        for i, plan in enumerate(plans):
            if t < len(plan):
                assert bool(ended[i]) == (t == len(plan) - 1) == bool(reward[i])
