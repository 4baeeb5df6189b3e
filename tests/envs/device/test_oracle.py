"""The oracle on a small phone: ways that apps need, one by one, with the steps worked out by hand."""

from random import Random

import pytest

from perdure import PerdureError
from perdure.envs.device import Action, Given, Oracle, Phone, Slot, Task
from perdure.envs.device.goals import Add, Answer, Change, Number, Read, Remove, Set
from tests.envs.device.small_phone import PHONE, SONGS

MOODS = (Given("music.mood", name="calm"), Given("music.mood", name="loud"))


def solve(goals, setup=(), **slots):
    """Return what the oracle does for goals, and the phone afterwards."""
    kind = type("Mine", (Task,), {"goals": goals, "setup": setup, "schema": slots, "template": "Do it."})
    task, phone = kind(kind.generate_random_params(Random(3), PHONE), 3, PHONE), Phone(PHONE)
    task.initialize_task(phone)
    actions = []
    for action in Oracle(task, phone):
        actions.append(action)
        phone.do(action)
    assert task.is_successful(phone) == 1.0
    return actions, phone


def kinds(actions):
    return [action.action_type for action in actions]


SONG = Slot("music.song.name")
GIVEN = Given("music.song", name="{song}", mood="calm", liked=False)


def test_a_button_adds_a_record_made_of_another():
    actions, _ = solve((Add("music.entry", song="{song}", list="Party"),), (GIVEN,), song=SONG)
    # Open the app, songs, (down,) the song, the button.
    assert [kind for kind in kinds(actions) if kind != "scroll"] == ["click"] * 4 + ["status"]


def test_a_form_that_is_filled_in_partly():
    actions, _ = solve((Add("music.entry", "music/main", song="{song}", list="Mix"),), (GIVEN,), song=SONG)
    # The shortest way to a form for a new entry is that of the list.
    assert kinds(actions) == ["click"] * 4 + ["input_text", "click", "status"]


def test_a_field_is_set_from_the_open_record_or_typed():
    actions, phone = solve((Set("music.player", song="{song}"),), (GIVEN,), song=SONG)
    assert kinds(actions)[-3:] == ["click", "input_text", "status"]
    assert phone.one("music.player")["song"] == actions[-2].text


def test_the_shorter_of_a_button_and_a_picker_is_taken():
    actions, _ = solve((Set("music.player", mode="again"),))
    assert kinds(actions) == ["click"] * 3 + ["status"]


def test_records_are_changed_where_they_are_shown():
    actions, _ = solve(
        (Change("music.song", {"name": "{song}"}, mood="loud", liked=True),), (GIVEN,), song=SONG
    )
    assert [kind for kind in kinds(actions) if kind != "scroll"] == ["click"] * 5 + ["status"]


def test_how_many_by_way_of_a_row():
    actions, phone = solve((Number("music.song", mood="calm"),), MOODS)
    # The app, the moods, that one; its list tells the number.
    assert kinds(actions) == ["click"] * 3 + ["answer", "status"]
    assert phone.screen == "music/by"


def test_what_is_read_in_one_app_is_typed_in_another():
    slots = {"song": SONG, "text": Slot("notes.note.text")}
    given = (GIVEN, Given("notes.note", text="{text}"))
    actions, _ = solve((Read("notes.note", text="{text}"), Add("music.entry", song="{song}")), given, **slots)
    assert kinds(actions).count("input_text") == 1
    assert Action("open_app", app_name="Music") in actions


def test_an_answer_of_a_setting_and_of_records():
    actions, _ = solve(
        (Answer("music.player", "mode"), Answer("music.song", "mood", name="{song}")), (GIVEN,), song=SONG
    )
    assert [action.text for action in actions if action.action_type == "answer"] == ["once", "calm"]


def test_all_that_match_are_removed():
    setup = tuple(Given("music.entry", list="Party", song="{song}") for _ in range(3))
    actions, phone = solve((Remove("music.entry", song="{song}"),), setup, song=Slot("music.entry.song"))
    assert kinds(actions).count("click") == 2 + 3 * 3
    assert len(phone.records("music.entry")) == 2


def test_a_row_that_scrolls_is_found():
    # Ten songs: some are on the second page.
    asked = (Answer("music.song", "mood", name="{song}"),)
    slots = [Slot("music.song.name", among=(name,)) for name in SONGS[:5]]
    lengths = {len(solve(asked, (GIVEN,), song=slot)[0]) for slot in slots}
    assert lengths <= {5, 6}


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (Remove("music.song", name="{song}"), "a way to delete a record of music.song; found none"),
        (Add("music.song", name="Silver"), "a form for music.song; found none"),
        (Number("music.song", name="{song}"), "a list of music.song by name; found none"),
        (Change("music.song", {"name": "{song}"}, name="Silver"), "a form for music.song; found none"),
        (Answer("music.view", "mood"), "a screen that shows music.view.mood; found none"),
        (Set("music.player", mode="never"), "mode does not take 'never'"),
        (Set("music.playr", mode="once"), "unknown type of records 'music.playr'"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(goal, message):
    with pytest.raises(PerdureError, match=message):
        solve((goal,), (GIVEN,), song=SONG)
