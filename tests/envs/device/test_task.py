"""Tasks: parameters, seeds, what is on the phone before, and what counts as success."""

import hashlib
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from perdure import PerdureError
from perdure.envs.device import (
    Action,
    Device,
    Episode,
    Given,
    Phone,
    Slot,
    Task,
    get_task,
    template,
    templates,
)
from perdure.envs.device.goals import Add, Change, Remove
from perdure.envs.device.render import played
from perdure.envs.device.task import SLOTS, TEMPLATES, instance_seed

EVENT = "calendar.event"
ANY: Any = 3.5
MANY: Any = [3.5]
DONE = Action("status", goal_status="complete")


def test_an_instance_is_decided_by_seed_name_and_index():
    digest = hashlib.sha256(b"3_CalendarWhere_7").digest()
    assert instance_seed(3, "CalendarWhere", 7) == int.from_bytes(digest[:4], "big")
    phones = [Phone() for _ in range(2)]
    for phone in phones:
        get_task("CalendarWhere", 3, 7).initialize_task(phone)
    assert phones[0].contents == phones[1].contents
    goals = {get_task("CalendarWhere", seed, index).goal for seed in range(2) for index in range(4)}
    assert len(goals) > 4


def test_the_life_of_a_task():
    task, phone = get_task("CalendarMoveEvent"), Phone()
    title, date, before = (task.params[name] for name in ("title", "date", "before"))
    assert task.goal == f"Move the event {title} in the calendar to {date}."
    assert (task.name(), task.budget(), task.told()) == ("CalendarMoveEvent", 16, ("title", "date"))
    with pytest.raises(PerdureError, match="expected initialize_task first"):
        task.is_successful(phone)
    task.initialize_task(phone)
    (meant,) = [one for one in phone.records("calendar.event") if one["title"] == title]
    assert meant["date"] == before
    # No other record has the values of slots.
    assert all(one["date"] not in (date, before) for one in phone.records("calendar.event") if one != meant)
    row = phone.contents["calendar.event"].index(meant)
    phone.contents["calendar.event"][row] = {**meant, "date": date}
    assert task.is_successful(phone) == 0.0
    phone.do(DONE)
    assert task.is_successful(phone) == 1.0
    phone.contents["calendar.event"][row] = {**meant, "date": date, "place": "Elsewhere"}
    assert task.is_successful(phone) == 0.0
    task.tear_down(phone)
    assert phone.kept() == Phone().kept()


def test_answers_count_once_each_in_any_order(solved):
    _, _, first = solved("CalendarAllOn")
    titles = [first.task.params[name] for name in ("title", "second", "third")]
    for given, reward in (
        ([", ".join(titles)], 1.0), (titles[::-1], 1.0), (titles[:2], 0.0), ([*titles, titles[0]], 0.0),
        ([*titles, "Gym"], 0.0), ([], 0.0), ([first.task.params["date"]], 0.0),
    ):  # fmt: skip
        episode = Episode(get_task("CalendarAllOn"))
        assert episode.play([*(Action("answer", text=text) for text in given), DONE]) == reward, given


def test_an_episode_is_cut_at_its_budget():
    episode = Episode(get_task("SettingsWifi"))
    for i in range(10):
        assert not episode.over
        assert episode.left == 10 - i
        episode.step(Action("wait"))
    assert episode.over
    with pytest.raises(PerdureError, match="this one is over"):
        episode.step(DONE)


def test_hidden_slots_are_known_once_shown(solved):
    task = get_task("NotesFromEvent")
    episode, place = Episode(task), list(task.params).index("place")
    say = [(one.kind, one.slot) for one in episode.coding.actions].index(("answer_slot", place))
    assert episode.known == [True, True, False]
    episode.step(say)
    assert episode.phone.answers == []
    _, numbers, _ = solved("NotesFromEvent")
    for number in numbers[:2]:
        episode.step(number)
    assert episode.known == [True, True, True]
    episode.step(say)
    assert episode.phone.answers == [task.params["place"]]


@pytest.mark.parametrize("name", ["SportsFurthest", "CalendarFirstAfter", "RecipesQuickest", "CalendarWhere"])
def test_what_is_asked_for_is_not_pointed_out(name, solved):
    # Whoever knew which of the texts on a screen is the hidden one could answer without comparing any.
    task = get_task(name)
    episode, (_, numbers, _) = Episode(task), solved(name)
    told = [slot in task.told() for slot in task.params]
    hidden = [k for k, known in enumerate(told) if not known]
    for number in numbers:
        assert episode.known == told
        elements = episode.coding.elements(episode.observe())
        assert not elements[:, [*(-2 * SLOTS + k for k in hidden), *(-SLOTS + k for k in hidden)]].any()
        episode.step(number)
    assert episode.reward == 1.0
    answers = [i for i, one in enumerate(episode.coding.actions) if one.kind == "answer_slot"]
    again = Episode(task)
    for number in numbers[:-2]:
        again.step(number)
    for k in hidden:
        again.step(answers[k])
    assert again.phone.answers == []


@pytest.mark.parametrize(
    ("name", "params", "line"),
    [
        ("SettingsWifi", {"state": "on", "before": "on"}, "and before that differ; found 'on' twice"),
        ("CalendarMoveEvent", {"title": "Gym", "date": "Nov 2", "before": "Nov 2"}, "that differ"),
        ("BrowserPrice", {"product": "Lamp", "price": "3,50 euros"}, "expected price without commas"),
        ("CalendarWhere", {"title": "Gym", "place": ""}, "expected place without commas and outer blanks"),
        ("CalendarWhere", {"title": "Gym", "place": " a "}, "expected place without commas and outer blanks"),
        ("CalendarWhere", {"title": "a\nb", "place": "a"}, "expected title without .* in one line"),
        ("SettingsWifi", {"state": "maybe", "before": "on"}, "that is one of on, off; found 'maybe'"),
        ("CalendarMoveEvent", {"title": "Gym", "date": "Nov 31", "before": "Nov 2"}, "found 'Nov 31'"),
    ],
)
def test_parameters_that_make_no_task_are_refused(name, params, line):
    with pytest.raises(PerdureError, match=line):
        templates()[name](params)


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda: get_task(ANY), "unknown task 3.5"),
        (lambda: get_task(MANY), r"unknown task \[3.5\]"),
        (lambda: Phone().records(MANY), "unknown type of records"),
        (lambda: Phone().one(EVENT), "a type that there is one record of; found 'calendar.event'"),
        (lambda: Phone().add("nope", {}), "unknown type of records 'nope'"),
        (lambda: Phone(ANY), "declared must be a Catalogue; found 3.5"),
        (lambda: Episode(get_task("SettingsWifi")).number(ANY), "expected an Action; found 3.5"),
        (lambda: number(Action("input_text", index=3, text="on")), "expected an action that has a number"),
        (lambda: number(Action("input_text", text="on")), "expected an action that has a number"),
        (lambda: Action("input_text", text="a", clear_text=ANY), "clear_text must be True or False"),
        (lambda: Action("click", index=1, text=ANY), "text must be a text; found 3.5"),
        (lambda: Action("click", index=1, app_name=ANY), "app_name must be a text; found 3.5"),
    ],
)
def test_what_is_none_of_it_is_refused(ask, line):
    with pytest.raises(PerdureError, match=line):
        ask()


def number(action):
    return Episode(get_task("SettingsWifi")).number(action)


def test_seeds_are_whole_numbers():
    with pytest.raises(PerdureError, match="seed must be a whole number of at least 0; found 'x'"):
        templates()["SettingsWifi"]({"state": "on", "before": "off"}, "x")


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_a_value_of_a_field_is_in_one_stretch_only(parts):
    found = {}
    for name, kind in templates().items():
        for slot in kind.divided(parts):
            each = kind.schema[slot].cut(get_task(name).catalogue, parts)
            for part, text in ((part, text) for part, texts in enumerate(each) for text in texts):
                # Words of no field stand for themselves.
                field = kind.schema[slot].of or f"{name}.{slot}"
                assert found.setdefault((field, text), part) == part, (name, slot, text)
    assert len(found) > 500


def test_what_is_played_can_be_read():
    episode = Episode(get_task("SettingsWifi"))
    text = played(episode, episode.oracle())
    assert text.startswith("Turn Wi-Fi on.\n\nhome\n   0 Home\n")
    assert "> Action('click', index=" in text
    assert text.endswith("reward 1, 6 steps left")


def make(**given):
    base = {"template": "Do {title}.", "app_names": ("calendar",), "complexity": 2.0,
            "schema": {"title": Slot("calendar.event.title")},
            "goals": (Add("calendar.event", title="{title}"),)}  # fmt: skip
    return type("CalendarMine", (Task,), {**base, **given})


def test_own_templates(monkeypatch):
    monkeypatch.delitem(TEMPLATES, "CalendarMine", raising=False)
    mine = template(make())
    assert templates()["CalendarMine"] is mine
    monkeypatch.delitem(TEMPLATES, "CalendarMine")
    task, phone = mine(mine.generate_random_params(Random(0)), 5), Phone()
    task.initialize_task(phone)
    assert len(task.expected["calendar.event"]) == 12
    assert len(phone.records("calendar.event")) + 1 == sum(
        one is not None for one in task.expected["calendar.event"]
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: template(make(template="")), "must say its template"),
        (lambda: template(make(goals=())), "must say its goals"),
        (lambda: template(make(template="Do {tite}.")), "must have tite in its schema"),
        (lambda: template(make(difficulty="awful")), "must be easy, medium, hard"),
        (lambda: make()({"title": 3}), "takes title as texts"),
        (lambda: make()({}), "takes title as texts"),
        (lambda: get_task("CalendarWher"), "unknown task 'CalendarWher': did you mean CalendarWhere"),
        *(
            (lambda given={name: value}: get_task("SettingsWifi", **given), f"{name} must be a whole number")
            for name in ("seed", "index", "part", "parts", "version")
            for value in (-1, 1.5, "x", None, True)
        ),
        (lambda: Episode("SettingsWifi"), "expected a task, such as .*; found .SettingsWifi."),  # type: ignore[arg-type]
        (lambda: Device(instances=10**9), "instances must be a whole number of at most 10,000"),
        (lambda: Device("calender"), "unknown task 'calender': did you mean calendar"),
        (lambda: Device(instances=0), "instances must be a whole number of at least 1"),
        (lambda: begin(make(goals=(Remove("calendar.event", title="{title}"),))), "expected a record"),
        (lambda: begin(make(goals=(Change("calendar.event", {}, nope=1),))), "unknown field of event 'nope'"),
        (lambda: begin(make(goals=(Change(EVENT, {}, date="Nov 31"),))), "date does not take 'Nov 31'"),
        (lambda: begin(make(schema={"title": Slot("calendar.event.tite")})), "unknown field .*'tite'"),
        (lambda: begin(make(schema={"title": Slot("calendar.evnt.title")})), "unknown type of records"),
        (lambda: begin(make(setup=(Given("calendar.event", date=5),))), "date does not take 5"),
    ],
)  # fmt: skip
def test_what_is_no_task_is_refused(build, message, monkeypatch):
    monkeypatch.setattr("perdure.envs.device.task.TEMPLATES", dict(templates()))
    with pytest.raises(PerdureError, match=message):
        build()


@pytest.mark.parametrize("number", [3, np.int64(3), np.array(3), torch.tensor(3)])
def test_numbers_of_any_kind_are_actions(number):
    episode, plain = (Episode(get_task("SettingsWifi")) for _ in range(2))
    assert episode.step(number) == plain.step(3)
    assert episode.phone.screen == plain.phone.screen != "home"


def begin(kind):
    kind(kind.generate_random_params(Random(0))).initialize_task(Phone())
