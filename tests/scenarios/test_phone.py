"""Streams on the simulated phone: what changes from task to task, and that an oracle solves all of it."""

import numpy as np
import pytest
import torch

from perdure import PerdureError, check_stream
from perdure.core.random import Rng
from perdure.envs.device import Action, Device, Episode, Phone, get_task, render, templates
from perdure.envs.device.versions import versioned
from perdure.envs.device.world import named
from perdure.scenarios import get
from perdure.scenarios.generators import device

RNG = Rng(torch.tensor(0), torch.tensor(0))
STREAMS = [
    f"device-{what}(tasks=2, app='{app}', instances=1, episodes=1)"
    for what in ("parameters", "screens") for app in ("contacts", "clock")
]  # fmt: skip


def tasks_of(spec):
    """The instances that a stream's tasks are scored on, task by task."""
    return [[one for part in (task.val, task.test) for one in part.env.tasks] for task in get(spec).tasks]


@pytest.mark.parametrize("spec", STREAMS)
def test_the_oracle_solves_every_instance_of_every_task(spec):
    # Those that are learned from are solved too: the generator refuses others. All templates: below.
    for tasks in tasks_of(spec):
        for task in tasks:
            episode = Episode(task)
            assert episode.play(episode.oracle()) == 1.0, f"{task.name()}: {task.goal}"


@pytest.mark.parametrize(
    ("spec", "each"),
    [
        ("device-templates(tasks=2, app='notes', instances=1, episodes=50)", 50),
        ("device-apps(tasks=2, instances=1, episodes=100)", 6),
        ("device-layouts(tasks=1, app='SettingsWifi', instances=1, episodes=7)", 7),
    ],
)
def test_episodes_are_scored_on_as_many_instances(spec, each):
    for task in get(spec).tasks:
        for part in (task.val, task.test):
            texts = {(one.name(), *one.params.values(), one.seed) for one in part.env.tasks}
            assert len(texts) == len(part.env.tasks) >= part.episodes
            assert part.env.instances >= each


@pytest.mark.parametrize("of", [{"part": 2, "parts": 3}, {"version": 1}])
@pytest.mark.parametrize("app", device.by_size())
def test_the_oracle_solves_every_template(app, of):
    for name in named(app):
        episode = Episode(get_task(name, 7, **of))
        assert episode.play(episode.oracle()) == 1.0, name
        if "version" in of:
            # Another order of what is on a page makes no way longer.
            usual = Episode(get_task(name, 7))
            usual.play(usual.oracle())
            assert episode.left == usual.left, name


@pytest.mark.parametrize("of", [{"part": 1, "parts": 2}, {"version": 1}, {"version": 3, "layout": 2}])
def test_both_phones_show_and_do_the_same(of):
    env = Device("notes", instances=1, **of)
    episodes, state = [Episode(task) for task in env.tasks], env.start(torch.arange(len(env.tasks)))
    plans = [[*numbers(Episode(task))] for task in env.tasks]
    places = device.layout(env.layout)
    for t in range(max(map(len, plans))):
        seen = env.observe(state).numpy()
        chosen = [plan[min(t, len(plan) - 1)] for plan in plans]
        state, reward, ended = env.step(state, places.undone[torch.tensor(chosen)], RNG)
        for i, episode in enumerate(episodes):
            if not episode.over:
                np.testing.assert_allclose(seen[i], episode.observe()[places.seen], atol=1e-6)
                assert episode.step(chosen[i]) == float(reward[i])
                assert episode.over == bool(ended[i])
    assert all(episode.reward == 1.0 for episode in episodes)


def numbers(episode):
    for action in episode.oracle():
        yield episode.number(action)
        episode.step(action)


@pytest.mark.parametrize("spec", [spec for spec in STREAMS if "clock" in spec])
def test_they_keep_the_contract(spec):
    check_stream(get(spec))


# ---- parameters ---------------------------------------------------------------------------------------


def test_halves_by_hand():
    spec = "device-parameters(tasks=2, app='CalendarAddEvent', instances=30, episodes=1)"
    found = [{name: set() for name in ("title", "date", "time")} for _ in range(2)]
    for half in range(2):
        for index in range(30):
            for name, text in get_task("CalendarAddEvent", 0, index, part=half, parts=2).params.items():
                found[half][name].add(text)
    days = [{int(text.removeprefix("Nov ")) for text in half["date"]} for half in found]
    assert days[0] <= set(range(1, 16))
    assert days[1] <= set(range(16, 31))
    assert max(found[0]["time"]) < "12:00" <= min(found[1]["time"])
    for name in found[0]:
        assert found[0][name]
        assert not found[0][name] & found[1][name]
    # The same in all halves: templates, and what is on the phone besides.
    assert {task.name() for tasks in tasks_of(spec) for task in tasks} == {"CalendarAddEvent"}


def test_what_shares_its_values_is_cut_only_as_far_as_they_do_for_all():
    kind = templates()["SmsReplyToAll"]
    people = [name for name, slot in kind.schema.items() if slot == kind.schema["contact"]]
    assert len(people) == 3
    most = len(kind.schema["contact"].texts(Phone().catalogue)) // 3
    assert set(people) <= set(kind.divided(most))
    assert not set(people) & set(kind.divided(most + 1))
    for part in range(most):
        params = get_task("SmsReplyToAll", 0, 0, part=part, parts=most).params
        assert len({params[name] for name in people}) == 3
    # In one part nothing is cut.
    assert kind.divided(1) == ()
    assert get_task("SmsReplyToAll").params == get_task("SmsReplyToAll", part=0, parts=1).params


def test_templates_that_cannot_be_cut_are_left_out():
    every, cut = named("settings"), named("settings", 2)
    assert "SettingsWifi" in set(every) - set(cut)
    assert Device("settings", instances=1, parts=2).tasks[0].name() in cut
    for build in (lambda: get("device-parameters(app='SettingsWifi')"), lambda: named("calendar", 500)):
        with pytest.raises(PerdureError, match="must have parameters with enough values for"):
            build()
    for build in (
        lambda: get_task("CalendarAddEvent", part=2, parts=2),
        lambda: Device("calendar", part=2, parts=2),
    ):
        with pytest.raises(PerdureError, match="part must be a whole number of at most 1; found 2"):
            build()


# ---- screens ------------------------------------------------------------------------------------------


def test_what_a_version_changes_and_what_not():
    usual, other = (get_task("CalendarAddEvent", version=number).catalogue for number in (0, 1))
    assert usual.records is other.records
    added = 0
    for name, layout in usual.layouts.items():
        changed = other.layouts[name]
        pages = [(layout.content[at : at + 8], changed.content[at : at + 8]) for at in (0, 8, 16, 24)]
        assert all(sorted(map(repr, one)) == sorted(map(repr, two)) for one, two in pages)
        new = [item for item in changed.pinned if item not in layout.pinned]
        assert sorted(map(repr, layout.pinned)) == sorted(map(repr, set(changed.pinned) - set(new)))
        assert [item.text for item in new] in ([], ["Apps"])
        assert (changed.rows, changed.up, changed.record) == (layout.rows, layout.up, layout.record)
        added += len(new)
    assert 0.3 < added / len(usual.layouts) < 0.7
    assert any(other.layouts[name].content != layout.content for name, layout in usual.layouts.items())


def test_each_version_is_its_own_and_the_first_is_the_usual_one():
    usual, zero, *others = (opened(Phone(declared)) for declared in (None, *map(versioned, range(4))))
    assert usual == zero
    assert len({zero, *others}) == 4


def opened(phone):
    phone.do(Action("open_app", app_name="Settings"))
    return render(phone)


def test_the_new_button_leads_to_the_apps():
    phone = Phone(get_task("SettingsWifi", version=1).catalogue)
    phone.screen = next(
        name for name, one in phone.catalogue.layouts.items()
        if one.app and "Apps" in [item.text for item in one.pinned]
    )  # fmt: skip
    at = next(element.index for element in phone.elements() if element.text == "Apps")
    phone.do(Action("click", index=at))
    assert phone.screen == "apps"
