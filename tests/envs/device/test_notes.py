"""Notes: a merge worked out by hand, what does not pass for one, folders."""

import pytest

from perdure.envs.device import Action, Episode, get_task, templates
from tests.envs.device.hands import click, start

MERGE = {
    "merged": "Diary", "title": "Speech", "other": "Dream", "first": "Ring twice",
    "second": "Never on a Sunday",
}  # fmt: skip


def write(episode, label, text):
    click(episode, label)
    episode.step(Action("input_text", text=text, clear_text=True))


def declare(episode):
    return episode.step(Action("status", goal_status="complete"))


def merged(second="Never on a Sunday", away=("Speech", "Dream")):
    """Return the episode after both notes were made one by hand."""
    episode = Episode(templates()["NotesMerge"](MERGE, seed=5))
    start(episode, "notes")
    click(episode, "Speech")
    assert "Ring twice" in [one.text for one in episode.phone.elements()]
    episode.step(Action("navigate_back"))
    click(episode, "Add")
    for label, text in (("Title", "Diary"), ("First line", "Ring twice"), ("Second line", second)):
        write(episode, label, text)
    click(episode, "Save")
    for title in away:
        click(episode, title, "Delete", "OK")
    return episode


def test_two_notes_merged_by_hand():
    episode = merged()
    titles = [note["title"] for note in episode.phone.records("notes.note")]
    assert "Diary" in titles
    assert not {"Speech", "Dream"} & {*titles}
    assert episode.phone.records("notes.note")[-1] == {
        "title": "Diary", "folder": "", "date": "Nov 15", "kind": "Plain text", "first": "Ring twice",
        "second": "Never on a Sunday", "third": "", "pinned": False,
    }  # fmt: skip
    # Notes, Speech, back, Add, three times two, Save, twice three, the declaration.
    assert declare(episode) == 1.0
    assert episode.task.budget() - episode.left == 18


@pytest.mark.parametrize("wrong", [{"second": "Ring twice"}, {"away": ("Speech",)}, {"away": ()}])
def test_a_merge_that_is_not_whole_is_none(wrong):
    assert declare(merged(**wrong)) == 0.0


def test_the_line_of_the_other_note_can_be_typed_once_it_was_seen():
    episode = Episode(templates()["NotesMerge"](MERGE, seed=5))
    known = dict(zip(episode.task.params, episode.known, strict=True))
    assert known == {"merged": True, "title": True, "other": True, "first": False, "second": False}
    start(episode, "notes")
    click(episode, "Dream")
    known = dict(zip(episode.task.params, episode.known, strict=True))
    assert (known["first"], known["second"]) == (False, True)


def test_another_note_changed_beside_is_no_success():
    for key, value in (("pinned", True), ("folder", "Ideas"), ("third", "")):
        episode = Episode(get_task("NotesRename"))
        for action in episode.oracle():
            if action.action_type == "status":
                rows = episode.phone.contents["notes.note"]
                at = next(i for i, one in enumerate(rows) if one is not None and one[key] != value)
                rows[at] = {**rows[at], key: value}
            episode.step(action)
        assert episode.reward == 0.0


def test_a_folder_shows_its_own_notes_and_can_be_deleted():
    params = {"title": "Speech", "folder": "Work", "other": "Ideas"}
    episode = Episode(templates()["NotesDelete"](params, seed=1))
    start(episode, "notes")
    click(episode, "Folders", "Work")
    shown = [(one.text, *one.details[:1]) for one in episode.phone.elements()]
    assert shown[1] == ("1", "records")
    assert shown[-1] == ("Speech", "Work")
    click(episode, "This folder")
    assert [(one.text, one.details) for one in episode.phone.elements()][-1] == ("Work", ("Name",))
    click(episode, "Delete", "OK")
    assert sorted(one["name"] for one in episode.phone.records("notes.folder")) == [
        "Archive", "Ideas", "Private", "School", "Travel",
    ]  # fmt: skip


def test_a_new_note_is_in_the_folder_that_is_looked_at():
    episode = Episode(get_task("NotesTidyUp"))
    start(episode, "notes")
    click(episode, "Folders", "School", "Add")
    assert ("School", ("Folder",)) in [(one.text, one.details) for one in episode.phone.elements()]


def test_how_many_is_not_always_the_same():
    numbers = set()
    for index in range(8):
        episode = Episode(get_task("NotesHowMany", index=index))
        numbers |= {*episode.task.answers}
    assert len(numbers) > 1
