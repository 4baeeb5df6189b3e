"""Kinds of screens, which apps are declared with; each says what layouts it comes down to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from perdure.core.errors import unknown
from perdure.envs.device.declare import (
    App,
    Count,
    Effect,
    Flip,
    Item,
    Layout,
    Of,
    Record,
    Rows,
    Screen,
    Source,
    set_one,
)
from perdure.envs.device.fields import Field


@dataclass(frozen=True)
class New:
    """Open a form for a new record; fields that are not given have their defaults.

    Values may come from the open record or a :class:`One`: ``{"contact": Of("record", "contact")}``.
    """

    form: str
    values: Mapping[str, Source] = field(default_factory=dict)


@dataclass(frozen=True)
class Edit:
    """Open a form for the open record."""

    form: str


Named = TypeVar("Named", bound=Source | Flip)
# What a button does: the screen that it opens, or more than that.
Act = str | Effect | New | Edit


@dataclass(frozen=True)
class List(Screen):
    """Records of a type, a row each.

    Parameters
    ----------
    name, title:
        What the app and its user call the screen.
    record:
        The type.
    shows:
        One to three fields: the text of a row, and its description.
    opens:
        The screen that a click on a row opens with the record, or what the click does besides; in its effect
        ``Of("row", ...)`` is the record.
    adds:
        The form of the button "Add".
    buttons:
        What more there is above the rows.
    controls:
        Fields of a :class:`One` above the rows, such as ``"view.folder"``.
    where:
        Only records whose field equals this: a value, or a field of a :class:`One`.
    up:
        Where going back leads; by default to the app's first screen, and from that one home.
    """

    name: str
    record: str
    title: str
    shows: tuple[str, ...]
    opens: Act = ""
    adds: str = ""
    buttons: Mapping[str, Act] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    where: tuple[str, Source] | None = None
    up: str = ""

    kind = "list"

    def layouts(self, app: App) -> list[Layout]:
        shown = tuple(Of("row", name) for name in self.shows)
        click = replace(resolve(app, self.opens), opens="row") if self.opens else None
        buttons = {**({"Add": New(self.adds)} if self.adds else {}), **self.buttons}
        controls, pickers = _controls(app, self.name, [Of(*c.split(".")) for c in self.controls])
        where = (self.where[0], _outside(app, self.where[1])) if self.where else None
        rows = Rows(outer(app, self.record), Item("ListItem", shown[0], shown[1:], click), where)
        counted = Item("TextView", Count(), ("records",))
        pinned = (_label(self.title), counted, *_buttons(app, buttons), *controls)
        name, up = screen(app, self.name), _up(app, self.name, self.up)
        return [Layout(name, self.kind, self.title, up, pinned, rows=rows), *pickers]


@dataclass(frozen=True)
class Search(Screen):
    """A text to look for, and the records whose field equals it; all while there is none.

    It has a :class:`One` of its own, ``find_<name>`` with the field ``query``, which :func:`searching` makes.
    """

    name: str
    record: str
    by: str
    shows: tuple[str, ...]
    opens: str
    up: str = ""

    def layouts(self, app: App) -> list[Layout]:
        query = f"{searching(self.name)}.query"
        inner = List(
            self.name, self.record, "Search", self.shows, self.opens, controls=(query,),
            where=(self.by, Of(*query.split("."))), up=self.up,
        )  # fmt: skip
        first, *rest = inner.layouts(app)
        return [replace(first, kind="search"), *rest]


@dataclass(frozen=True)
class Detail(Screen):
    """What the open record holds, and what can be done with it.

    Parameters
    ----------
    record:
        Its type.
    title:
        What the screen is called.
    edits:
        The form of the button "Edit".
    deletes:
        Where deleting leads to, behind the button "Delete" and a question; none: it cannot be deleted.
    changes:
        Fields that are changed right here.
    buttons:
        What more can be done.
    fields:
        Those that are shown; by default all.
    """

    name: str
    record: str
    title: str
    edits: str = ""
    deletes: str = ""
    changes: tuple[str, ...] = ()
    buttons: Mapping[str, Act] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    up: str = ""

    def layouts(self, app: App) -> list[Layout]:
        kind, sure = find(app, self.record), f"{self.name}.delete"
        buttons: dict[str, Act] = {"Edit": Edit(self.edits)} if self.edits else {}
        buttons |= {"Delete": sure} if self.deletes else {}
        content: list[Item] = []
        pickers: list[Layout] = []
        for name in self.fields or kind.fields:
            of = Of("record", name)
            if name in self.changes:
                (item,), more = _controls(app, self.name, [of], kind)
                pickers += more
            else:
                item = Item("TextView", of, (kind.label(name),))
            content.append(item)
        pinned = (_label(self.title), *_buttons(app, {**buttons, **self.buttons}))
        up = _up(app, self.name, self.up)
        own = Layout(
            screen(app, self.name),
            "detail",
            self.title,
            up,
            pinned,
            tuple(content),
            record=outer(app, self.record),
        )
        if not self.deletes:
            return [own, *pickers]
        removes = Effect(go=self.deletes, deletes=True)
        asked = Confirm(sure, f"Delete this {self.record}?", removes, self.name, self.record)
        return [own, *pickers, *asked.layouts(app)]


@dataclass(frozen=True)
class Form(Screen):
    """Fields of a record to be filled in; the button "Save" writes them, going back does not.

    Parameters
    ----------
    record:
        Its type.
    title:
        What the screen is called.
    after:
        Where saving leads, and going back too.
    save:
        What the button says.
    """

    name: str
    record: str
    title: str
    after: str
    save: str = "Save"

    def layouts(self, app: App) -> list[Layout]:
        kind = find(app, self.record)
        content, pickers = _controls(app, self.name, [Of("draft", name) for name in kind.fields], kind)
        puts = tuple((Of("record", name), Of("draft", name)) for name in kind.fields)
        save = Item("Button", self.save, click=outside(app, Effect(go=self.after, puts=puts, opens="saved")))
        record = outer(app, self.record)
        pinned = (_label(self.title), save)
        own = Layout(
            screen(app, self.name),
            "form",
            self.title,
            screen(app, self.after),
            pinned,
            content,
            record=record,
        )
        return [own, *pickers]


@dataclass(frozen=True)
class Page(Screen):
    """Settings: fields of a :class:`One`, ``"display.brightness"``, and ways to further pages."""

    name: str
    title: str
    fields: tuple[str, ...] = ()
    buttons: Mapping[str, Act] = field(default_factory=dict)
    links: Mapping[str, Act] = field(default_factory=dict)
    up: str = ""

    def layouts(self, app: App) -> list[Layout]:
        controls, pickers = _controls(app, self.name, [Of(*f.split(".")) for f in self.fields])
        content = (*controls, *(replace(b, kind="ListItem") for b in _buttons(app, self.links)))
        pinned = (_label(self.title), *_buttons(app, self.buttons))
        up = _up(app, self.name, self.up)
        return [Layout(screen(app, self.name), "page", self.title, up, pinned, content), *pickers]


@dataclass(frozen=True)
class Info(Screen):
    """Lines to be read: texts, or fields of a :class:`One`, ``Of("about", "version")``, and buttons."""

    name: str
    title: str
    lines: tuple[str | Of, ...]
    buttons: Mapping[str, Act] = field(default_factory=dict)
    up: str = ""

    def layouts(self, app: App) -> list[Layout]:
        content = tuple(_line(app, line) for line in self.lines)
        pinned = (_label(self.title), *_buttons(app, self.buttons))
        up = _up(app, self.name, self.up)
        return [Layout(screen(app, self.name), "info", self.title, up, pinned, content)]


@dataclass(frozen=True)
class Confirm(Screen):
    """A question; "OK" does what was asked about, "Cancel" goes back."""

    name: str
    question: str
    effect: Effect
    up: str
    record: str = ""

    def layouts(self, app: App) -> list[Layout]:
        up = screen(app, self.up)
        content = (
            _label(self.question),
            Item("Button", "Cancel", click=Effect(go=up)),
            Item("Button", "OK", click=outside(app, self.effect)),
        )
        record = outer(app, self.record) if self.record else ""
        return [Layout(screen(app, self.name), "confirm", self.question, up, (), content, record=record)]


# ---- what stands for many -----------------------------------------------------------------------------


def crud(
    record: str, title: str, shows: tuple[str, ...], *, search: str = "", changes: tuple[str, ...] = (),
    actions: Mapping[str, Act] | None = None, buttons: Mapping[str, Act] | None = None, up: str = "",
) -> tuple[Screen, ...]:  # fmt: skip
    """Return the screens to list, read, add, change and delete records of a type.

    They are called ``<record>.list``, ``.detail`` and ``.form``; with the field ``search``, ``.search`` too.

    Parameters
    ----------
    record:
        The type.
    title:
        Of the list.
    shows:
        Fields of a row.
    search:
        The field that the button "Search" looks for.
    changes:
        Fields that can be changed without the form.
    actions:
        Further buttons of a record's screen.
    buttons:
        Further buttons of the list.
    up:
        Where going back from the list leads, if not to the app's first screen.
    """
    names = {kind: f"{record}.{kind}" for kind in ("list", "detail", "form", "search")}
    every: dict[str, Act] = {**(buttons or {})}
    if search:
        # A search begins with nothing to look for.
        every = {"Search": set_one(searching(names["search"]), names["search"], query=""), **every}
    listed, detail, form = names["list"], names["detail"], names["form"]
    screens: tuple[Screen, ...] = (
        List(listed, record, title, shows, detail, form, every, up=up),
        Detail(detail, record, record.capitalize(), form, listed, changes, actions or {}, up=listed),
        Form(form, record, f"{record.capitalize()} form", listed),
    )
    return (*screens, Search(names["search"], record, search, shows, detail, listed)) if search else screens


def searching(name: str) -> str:
    """Return the name of the :class:`One` that holds what a search looks for."""
    return f"find_{name.replace('.', '_')}"


# ---- names inside an app, and outside -----------------------------------------------------------------


def outer(app: App, name: str) -> str:
    """Return what a record type of the app is called outside."""
    return name if "." in name else f"{app.name}.{name}"


def screen(app: App, name: str) -> str:
    """Return what a screen of the app is called outside."""
    return name if "/" in name or not name else f"{app.name}/{name}"


def find(app: App, name: str) -> Record:
    """Return a record type by its name in the app."""
    for record in app.records:
        if record.name == name:
            return record
    raise unknown(f"record of {app.name}", name, [record.name for record in app.records])


def outside(app: App, effect: Effect) -> Effect:
    """Return an effect with names as they are outside the app."""
    puts = tuple((_outside(app, target), _outside(app, source)) for target, source in effect.puts)
    adds = outer(app, effect.adds) if effect.adds else ""
    if effect.adds:
        given = {target.name for target, _ in effect.puts if target.place == "new"}
        rest = {k: v for k, v in find(app, effect.adds).defaults().items() if k not in given}
        puts = (*puts, *((Of("new", name), value) for name, value in rest.items()))
    return replace(effect, go=screen(app, effect.go), puts=puts, adds=adds)


def resolve(app: App, act: Act) -> Effect:
    """Return what a button does."""
    if isinstance(act, str):
        return Effect(go=screen(app, act))
    if isinstance(act, Effect):
        return outside(app, act)
    form = next((one for one in app.screens if isinstance(one, Form) and one.name == act.form), None)
    if form is None:
        forms = [one.name for one in app.screens if isinstance(one, Form)]
        raise unknown(f"form of {app.name}", act.form, forms)
    kind = find(app, form.record)
    if isinstance(act, Edit):
        copied = tuple((Of("draft", name), Of("record", name)) for name in kind.fields)
        return Effect(go=screen(app, act.form), puts=copied)
    values = {**kind.defaults(), **act.values}
    filled = tuple((Of("draft", name), _outside(app, value)) for name, value in values.items())
    return Effect(go=screen(app, act.form), puts=filled, opens="none")


def _outside(app: App, value: Named) -> Named:
    if isinstance(value, Of) and value.place not in ("row", "record", "draft", "new"):
        return replace(value, place=outer(app, value.place))
    return value


def _up(app: App, name: str, up: str) -> str:
    """Return where going back from a screen leads."""
    first = app.screens[0].name
    return screen(app, up or first) if up or name != first else "home"


# ---- elements -----------------------------------------------------------------------------------------


def _label(text: str) -> Item:
    return Item("TextView", text)


def _line(app: App, line: str | Of) -> Item:
    if isinstance(line, str):
        return _label(line)
    return Item("TextView", _outside(app, line), (find(app, line.place).label(line.name),))


def _buttons(app: App, acts: Mapping[str, Act]) -> tuple[Item, ...]:
    return tuple(Item("Button", text, click=resolve(app, act)) for text, act in acts.items())


def _controls(
    app: App, name: str, fields: list[Of], record: Record | None = None
) -> tuple[tuple[Item, ...], list[Layout]]:
    """Return the elements that change some fields, and the screens that they pick values from."""
    items, pickers = [], []
    for of in fields:
        kind = record or find(app, of.place)
        field, label, target = kind.fields[of.name], kind.label(of.name), _outside(app, of)
        if field.way == "switch":
            items.append(Item("Switch", label, click=Effect(puts=((target, Flip()),)), bound=target))
        elif field.way == "edit":
            items.append(Item("EditText", target, (label,), bound=target))
        else:
            picker = _picker(app, name, target, field, label)
            picker = replace(picker, record=outer(app, record.name) if record else "")
            pickers.append(picker)
            items.append(Item("Spinner", target, (label,), click=Effect(go=picker.name), bound=target))
    return tuple(items), pickers


def _picker(app: App, name: str, target: Of, field: Field, label: str) -> Layout:
    back = screen(app, name)
    content = tuple(
        Item("ListItem", field.show(value), click=Effect(go=back, puts=((target, value),)))
        for value in field.values
    )
    return Layout(f"{back}:{target.name}", "picker", label, back, (_label(label),), content)
