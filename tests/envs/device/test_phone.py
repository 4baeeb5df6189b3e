"""The readable phone, used by hand."""

import pytest

from perdure import PerdureError
from perdure.envs.device import Action, App, Phone, render
from perdure.envs.device.catalogue import Catalogue
from perdure.envs.device.declare import Effect, Item, Of, One, Record, add, put, set_one
from perdure.envs.device.fields import Bool, Choice, Date, Int, Text, Time
from perdure.envs.device.screens import Detail, Form, Info, List, New, Page, crud

NOTES = App(
    "notes",
    "My notes",
    records=(
        Record("note", {
            "name": Text("Ideas", "Plans"), "folder": Choice("Home", "Work"), "pages": Int(1, 9),
            "day": Date(), "hour": Time(), "done": Bool(),
        }),
        Record("photo", {"mode": Text("plain", "night")}, capacity=2, noise=(0, 1)),
        One("view", {"folder": Text("Home", "Work")}, view=True),
        One("camera", {"flash": Bool(), "mode": Choice("plain", "night")}),
    ),
    screens=(
        *crud("note", "Notes", ("name", "folder"), search="name", changes=("done",),
              actions={"To work": put("note.list", folder="Work")},
              buttons={"More": "more", "Folders": "folders"}),
        Page("more", "More", ("camera.flash", "camera.mode"), links={"About": "about"},
             buttons={"Shoot": add("photo", mode=Of("camera", "mode")),
                      "Night": set_one("camera", mode="night")}),
        List("folders", "note", "Folder", ("name",), set_one("view", "note.list", folder=Of("row", "folder")),
             where=("folder", Of("view", "folder")), controls=("view.folder",)),
        Info("about", "About", ("Version 1", Of("camera", "mode")), up="more"),
    ),
)  # fmt: skip


def notes():
    return Phone(Catalogue([NOTES]))


def one(*screens):
    return Catalogue([App("a", "A", (Record("r", {"t": Text()}),), screens)])


@pytest.fixture
def phone():
    phone = notes()
    for i in range(10):
        phone.add("notes.note", {"name": f"Note {i}", "folder": "Work" if i % 2 else "Home"})
    return phone


def do(phone, *actions):
    for kind, given in actions:
        phone.do(Action(kind, **given))
    return [element.text for element in phone.elements()]


def click(index):
    return "click", {"index": index}


def kind(text, **given):
    return "input_text", {"text": text, "clear_text": True, **given}


OPEN = "open_app", {"app_name": "my NOTES"}
BACK: tuple[str, dict[str, str]] = "navigate_back", {}


def test_a_list_scrolls_by_pages(phone):
    assert do(phone, OPEN)[:6] == ["Notes", "10", "Add", "Search", "More", "Folders"]
    assert do(phone)[6:] == [f"Note {i}" for i in range(8)]
    down = do(phone, ("scroll", {"direction": "down"}))
    assert down[6:] == ["Note 8", "Note 9"]
    assert do(phone, ("scroll", {"direction": "down"})) == down
    assert do(phone, ("swipe", {"direction": "up"})) == down
    assert do(phone, ("swipe", {"direction": "down"}))[6:] == [f"Note {i}" for i in range(8)]
    assert [e.scrollable for e in phone.elements()] == [False] * 6 + [True] * 8
    assert phone.elements()[6].description == "Home"


def test_a_form_is_filled_in_and_saved(phone):
    assert do(phone, OPEN, click(2)) == ["Note form", "Save", "", "Home", "1", "Nov 1", "09:00", "Done"]
    # Nothing is in focus, so nothing is typed; what a field does not take is not typed either.
    assert do(phone, kind("Ideas"))[2] == ""
    do(phone, click(2), kind("Any text"), ("input_text", {"text": " more"}))
    do(phone, click(4), kind("10"), click(4), kind("7"))
    do(phone, kind("Nov 31", index=5), kind("Nov 30", index=5), kind("23:15", index=6))
    assert do(phone)[2:7] == ["Any text more", "Home", "7", "Nov 30", "09:00"]
    assert do(phone, click(3)) == ["Folder", "Home", "Work"]
    assert do(phone, click(2))[2:4] == ["Any text more", "Work"]
    assert not phone.elements()[7].checked
    do(phone, click(7))
    assert phone.elements()[7].checked
    assert do(phone, click(1))[1] == "11"
    assert phone.records("notes.note")[-1] == {
        "name": "Any text more", "folder": "Work", "pages": 7, "day": "Nov 30", "hour": "09:00", "done": True,
    }  # fmt: skip


def test_going_back_saves_nothing(phone):
    before = phone.kept()
    do(phone, OPEN, click(2), click(2), kind("Lost"), BACK)
    assert phone.kept() == before
    assert do(phone, click(2))[2] == ""


def test_a_record_is_changed_and_deleted(phone):
    assert do(phone, OPEN, click(7))[:4] == ["Note", "Edit", "Delete", "To work"]
    do(phone, click(9))
    assert phone.records("notes.note")[1]["done"] is True
    do(phone, click(1), click(2), kind("New name"), click(1))
    assert phone.records("notes.note")[1]["name"] == "New name"
    do(phone, click(6), click(3))
    assert phone.records("notes.note")[0]["folder"] == "Work"
    assert do(phone, click(7), click(2)) == ["Delete this note?", "Cancel", "OK"]
    assert do(phone, click(1))[0] == "Note"
    assert do(phone, click(2), click(2))[6:8] == ["Note 0", "Note 2"]
    assert len(phone.records("notes.note")) == 9
    # A new one takes the first free place.
    do(phone, click(2), click(2), kind("Again"), click(1))
    assert [one["name"] for one in phone.records("notes.note")][:3] == ["Note 0", "Again", "Note 2"]


def test_a_search_shows_what_equals_its_text(phone):
    assert do(phone, OPEN, click(3))[:3] == ["Search", "10", ""]
    assert do(phone, click(2), kind("Note 4")) == ["Search", "1", "Note 4", "Note 4"]
    assert do(phone, kind("note"))[1] == "0"
    # Going on from another page: what is gone is not scrolled to.
    do(phone, kind(""), ("scroll", {"direction": "down"}))
    assert do(phone)[3:] == ["Note 8", "Note 9"]
    assert do(phone, kind("Note 4"))[3:] == ["Note 4"]
    # The search forgets.
    assert do(phone, BACK, click(3))[2] == ""


def test_a_row_may_write_and_a_list_may_be_by_a_field(phone):
    assert do(phone, OPEN, click(5))[:3] == ["Folder", "10", ""]
    do(phone, click(4))
    assert phone.one("notes.view") == {"folder": "Work"}
    assert do(phone, click(5))[1:] == ["5", "Work", "Note 1", "Note 3", "Note 5", "Note 7", "Note 9"]


def test_records_without_a_form_up_to_the_capacity(phone):
    do(phone, OPEN, click(4), click(1), click(2), click(1), click(1))
    assert [one["mode"] for one in phone.records("notes.photo")] == ["plain", "night"]
    assert do(phone, click(5)) == ["About", "Version 1", "night"]
    assert [do(phone, BACK)[0] for _ in range(3)] == ["More", "Notes", "Home"]


def test_points_and_places(phone):
    do(phone, OPEN)
    left, top, right, bottom = phone.elements()[2].box
    assert do(phone, ("click", {"x": left, "y": top}))[0] == "Note form"
    do(phone, BACK, ("click", {"x": right - 1, "y": bottom - 1}))
    assert phone.screen == "notes/note.form"
    boxes = [element.box for element in phone.elements()]
    assert len(set(boxes)) == len(boxes)
    assert all(0 <= a < c <= 1080 and 0 <= b < d <= 2400 for a, b, c, d in boxes)


def test_what_is_not_there_does_nothing(phone):
    do(phone, OPEN)
    before = render(phone)
    for action in (
        click(-1), click(99), click(0), ("long_press", {"index": 6}), ("click", {"x": 5, "y": 2399}),
        kind("x"), kind("x", index=0), kind("x", index=50), ("open_app", {"app_name": "nothing"}),
        ("scroll", {"direction": "left"}), ("keyboard_enter", {}), ("wait", {}),
    ):  # fmt: skip
        do(phone, action)
        assert render(phone) == before
    do(phone, click(2), click(2), ("keyboard_enter", {}), kind("x"))
    assert phone.elements()[2].text == ""
    do(phone, ("double_tap", {"index": 2}), kind("x"))
    assert phone.elements()[2].focused


def test_after_the_status_nothing_happens(phone):
    do(
        phone,
        ("answer", {"text": "1, two "}),
        ("answer", {"text": "3"}),
        ("status", {"goal_status": "complete"}),
        OPEN,
    )
    assert (phone.answers, phone.status, phone.screen) == (["1", "two", "3"], "complete", "home")
    phone.reset()
    assert (phone.answers, phone.status, phone.records("notes.note")) == ([], None, [])


def test_a_long_press_has_an_effect_of_its_own():
    held = Item("Button", "Held", click=Effect(), hold=Effect(go="home"))

    class Held(Info):
        def layouts(self, app):
            (layout,) = super().layouts(app)
            return [type(layout)(**{**vars(layout), "pinned": (held,)})]

    phone = Phone(Catalogue([App("one", "One", (), (Held("first", "First", ("line",)),))]))
    assert do(phone, ("open_app", {"app_name": "one"}), click(0)) == ["Held", "line"]
    assert phone.elements()[0].long_clickable
    do(phone, ("long_press", {"index": 0}))
    assert phone.screen == "home"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("tap",), "unknown action 'tap': .*click"),
        (("click",), "click needs index, or x and y"),
        (("click", "1"), "index must be a whole number; found '1'"),
        (("click", None, 3), "needs index, or x and y"),
        (("scroll",), "scroll needs direction"),
        (("scroll", None, None, None, None, "out"), "one of up, down, left, right; found 'out'"),
        (("input_text",), "input_text needs text"),
        (("open_app",), "open_app needs app_name"),
        (("status", None, None, None, None, None, None, "done"), "one of complete, infeasible"),
    ],
)  # fmt: skip
def test_malformed_actions_are_refused(given, message):
    with pytest.raises(PerdureError, match=message):
        Action(*given)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: notes().do("click"), "expected an Action; found 'click'"),
        (lambda: notes().records("notes.nota"), "unknown type of records 'notes.nota': .*notes.note"),
        (lambda: notes().add("notes.note", {"nam": ""}), "unknown field of notes.note 'nam'"),
        (lambda: notes().add("notes.note", {"pages": 10}), "pages does not take 10"),
        (lambda: [p := notes(), *(p.add("notes.photo", {}) for _ in range(3))], "at most 2 records"),
        (lambda: Record("x", {}), "must have 1 to 10 fields; found 0"),
        (lambda: Record("x", {"a": Text()}, capacity=13), "capacity must be 1 to 12; found 13"),
        (lambda: Record("x", {"a": Text()}, noise=(3, 2)), "noise must be least and most"),
        (lambda: Text("a, b"), "without commas"),
        (lambda: Choice("a", "a"), "expected different values"),
        (lambda: Choice("a", "b", default="c"), "default must be one of a, b"),
        (lambda: Int(0, 10, 2, default=3), "default must lie on the way from 0 to 10; found 3"),
        (lambda: one(), "a must have screens; found none"),
        (lambda: one("x"), "a must have screens; found 'x'"),
        (lambda: one(Info("x", "X", (), {"Go": "y"})), "unknown screen .*'a/y'"),
        (lambda: one(Info("x", "X", ()), Info("x", "X", ())), "found a/x twice"),
        (lambda: one(Info("x", "X", (), {"Go": New("y")})), "unknown form of a 'y'"),
        (lambda: one(Form("x", "no", "X", "x")), "unknown record of a 'no'"),
        (lambda: one(Info("x", "X", (), dict.fromkeys("abcdefgh", "x"))), "at most 8 elements"),
        (lambda: one(Detail("x", "r", "X", buttons={"Put": put(u="1")})), "unknown field of a.r 'u'"),
        (lambda: one(List("x", "r", "X", ("t",), buttons={"New": add("r")})), "and show no rows"),
    ],
)  # fmt: skip
def test_declarations_that_are_none_are_refused(build, message):
    with pytest.raises(PerdureError, match=message):
        build()
