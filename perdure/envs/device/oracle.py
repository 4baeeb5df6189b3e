"""A policy that solves every task: it knows the declarations, and looks at the elements."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perdure.core.errors import PerdureError
from perdure.envs.device.actions import Action
from perdure.envs.device.declare import Effect, Flip, Item, Layout, Of
from perdure.envs.device.fields import Value
from perdure.envs.device.goals import matching
from perdure.envs.device.phone import Element, Phone
from perdure.envs.device.task import Task

Steps = Iterator[Action]
# Elements that change the field to which they are bound.
TURNED = ("EditText", "Switch")


@dataclass(frozen=True)
class Move:
    """One step of a way: an app is opened, back, or an element clicked, of the record's row or not."""

    to: str
    app: str = ""
    item: Item | None = None
    in_row: bool = False


class Oracle:
    """Gives the actions of a task, one after the other, each from what the phone shows by then.

    Parameters
    ----------
    task:
        The task, initialised on the phone.
    phone:
        Where whoever asks for the actions carries them out.

    Examples
    --------
    >>> from perdure.envs.device import get_task
    >>> task, phone = get_task("SettingsWifi"), Phone()
    >>> task.initialize_task(phone)
    >>> for action in Oracle(task, phone):
    ...     phone.do(action)
    >>> task.is_successful(phone)
    1.0
    """

    def __init__(self, task: Task, phone: Phone) -> None:
        self.task, self.phone, self.catalogue, self.params = task, phone, phone.catalogue, task.params

    def __iter__(self) -> Steps:
        for goal in self.task.goals:
            yield from goal.steps(self)
        yield Action("status", goal_status="complete")

    # ---- what goals ask for ---------------------------------------------------------------------------

    def add(self, record: str, values: dict[str, Value], screen: str = "") -> Steps:
        """Add a record: at once where a button does just that, or with the form; from a screen, if told."""
        if screen:
            yield from self.go(screen)
        whole = {**self.catalogue.records[record].defaults(), **values}
        for layout, item in self._items():
            if item.click is None or item.click.adds != record:
                continue
            for place in self._places(layout.record):
                if self._adds(item.click, layout.record, place, whole):
                    yield from self.go(layout.name, layout.record, place)
                    yield from self._click(self._is(item))
                    return
        yield from self.go(self._form(record))
        yield from self._fill(values)

    def change(self, record: str, place: int, values: dict[str, Value]) -> Steps:
        """Change a record: right where it is shown if that can be done there, or with the form."""
        if all(self._ways(Of("record", name), value, record) for name, value in values.items()):
            for name, value in values.items():
                yield from self.put(Of("record", name), value, record, place)
            return
        yield from self.go(self._form(record), record, place)
        yield from self._fill(values)

    def remove(self, record: str, place: int) -> Steps:
        """Delete a record."""
        for layout, item in self._items():
            if item.click and item.click.deletes and layout.record == record:
                yield from self.go(layout.name, record, place)
                yield from self._click(self._is(item))
                return
        raise PerdureError(f"expected a way to delete a record of {record}; found none")

    def read(self, record: str, place: int) -> Steps:
        """Look at a record."""
        name = next(iter(self.catalogue.records[record].fields))
        yield from self._show(record, place, name)

    def answer(self, record: str, place: int | None, field: str) -> Steps:
        """Answer what a field holds, where it is shown."""
        yield from self._show(record, place, field)
        held = self.phone.contents[record][place or 0] or {}
        text = self.catalogue.records[record].fields[field].show(held[field])
        yield Action("answer", text=text)

    def count(self, record: str, field: str, value: Value) -> Steps:
        """Answer how many records have a value, as a list of these tells."""
        for layout in self.catalogue.layouts.values():
            where = layout.rows.where if layout.rows and layout.rows.record == record else None
            if where and where[0] == field and (isinstance(where[1], Of) or where[1] == value):
                if isinstance(where[1], Of):
                    yield from self.put(where[1], value)
                yield from self.go(layout.name)
                yield Action("answer", text=str(len(matching(self.phone.contents, record, {field: value}))))
                return
        raise PerdureError(f"expected a list of {record} by {field}; found none")

    def put(self, of: Of, value: Value, record: str = "", place: int | None = None) -> Steps:
        """Make a field have a value, the shortest way there is."""
        held = self._held(of, record, place)
        if held == value and type(held) is type(value):
            return
        ways = self._ways(of, value, record)
        found = [(self._way(layout.name, record, place), item, i) for i, (layout, item) in enumerate(ways)]
        # Where one has to type, that is a step more; of equally long ways, the one that writes least beside.
        reached = [
            (len(way) + (item.kind == "EditText"), len(item.click.puts) if item.click else 0, i)
            for way, item, i in found if way is not None
        ]  # fmt: skip
        if not reached:
            raise PerdureError(f"expected a way to set {of.place}.{of.name} to {value}; found none")
        layout, item = ways[min(reached)[-1]]
        yield from self.go(layout.name, record, place)
        if layout.rows is not None and item is layout.rows.item and item.click is not None:
            source = dict(item.click.puts)[of]
            name = source.name if isinstance(source, Of) else ""
            other = matching(self.phone.contents, layout.rows.record, {name: value})[0]
            yield from self._click(self._is_row(item, layout.rows.record, other))
            return
        yield from self._click(self._is(item))
        if item.kind == "EditText":
            text = self.catalogue.field(of, self.phone.layout).show(value)
            yield Action("input_text", text=text, clear_text=True)

    # ---- ways -----------------------------------------------------------------------------------------

    def go(self, screen: str, record: str = "", place: int | None = None) -> Steps:
        """Go to a screen, with a record open if one is told."""
        way = self._way(screen, record, place)
        if way is None and record:
            yield from self._unfilter(record, place)
            way = self._way(screen, record, place)
        if way is None:
            raise PerdureError(f"expected a way from {self.phone.screen} to {screen}; found none")
        for move in way:
            if move.app:
                yield Action("open_app", app_name=self.catalogue.apps[move.app].title)
            elif move.item is None:
                yield Action("navigate_back")
            elif move.in_row and place is not None:
                yield from self._click(self._is_row(move.item, record, place))
            else:
                yield from self._click(self._is(move.item))

    def _way(self, screen: str, record: str, place: int | None) -> list[Move] | None:
        """Return the shortest way to a screen, by what is declared."""
        start = self.phone.screen
        # The open record is the one that is told, or the form is for a new one.
        ready = not self.phone.layout.record or (bool(record) and self.phone.open == place)
        ready = ready or (not record and self.phone.layout.record != "" and self.phone.open is None)
        before: dict[tuple[str, bool], tuple[tuple[str, bool], Move] | None] = {(start, ready): None}
        queue = deque(before)
        while queue:
            node = queue.popleft()
            if node == (screen, True):
                return _traced(before, node)
            for move, is_ready in self._moves(node, record, place):
                after = (move.to, is_ready)
                if after not in before:
                    before[after] = (node, move)
                    queue.append(after)
        return None

    def _moves(self, node: tuple[str, bool], record: str, place: int | None) -> Iterator[tuple[Move, bool]]:
        """Give the single steps from a screen, and whether what is open is right then."""
        layout, ready = self.catalogue.layouts[node[0]], node[1]
        if ready:
            for item in (*layout.pinned, *layout.content):
                if item.click and item.click.go and self._is_harmless(item.click, record):
                    yield Move(item.click.go, item=item), True
            if layout.rows and record and layout.rows.record == record and self._is_listed(layout, place):
                effect = layout.rows.item.click
                if effect and effect.go and effect.opens == "row":
                    yield Move(effect.go, item=layout.rows.item, in_row=True), True
        for app in self.catalogue.apps:
            yield Move(self.catalogue.main(app), app=app), True
        up = self.catalogue.layouts[layout.up]
        yield Move(layout.up), ready or not up.record

    def _is_harmless(self, effect: Effect, record: str) -> bool:
        """Tell whether a click only leads on, and to what is open already or to a new record."""
        if effect.deletes or effect.adds or (record and effect.opens == "none"):
            return False
        if not record and any(isinstance(s, Of) and s.place == "record" for _, s in effect.puts):
            return False
        kept = set(self.catalogue.kept) | {"record", "row"}
        filling = {target.place for target, _ in effect.puts}
        copies = all(isinstance(source, Of) and source.place == "record" for _, source in effect.puts)
        drafts = "draft" not in filling or effect.opens == "none" or copies
        return not filling & kept and drafts

    def _is_listed(self, layout: Layout, place: int | None) -> bool:
        rows = layout.rows
        if rows is None or rows.where is None:
            return True
        name, source = rows.where
        wanted = self._held(source, "", None) if isinstance(source, Of) else source
        held = self.phone.contents[rows.record][place] if place is not None else None
        return held is not None and wanted in ("", held[name])

    def _unfilter(self, record: str, place: int | None) -> Steps:
        """Make a list show a record that it hides."""
        for layout in self.catalogue.layouts.values():
            rows = layout.rows
            held = self.phone.contents[record][place] if place is not None else None
            if rows and rows.record == record and rows.where and isinstance(rows.where[1], Of) and held:
                yield from self.put(rows.where[1], held[rows.where[0]])
                return

    def _ways(self, of: Of, value: Value, record: str) -> list[tuple[Layout, Item]]:
        """Return the elements that make a field have a value."""
        return [
            (layout, item) for layout, item in self._items()
            if (of.place not in ("record", "draft") or layout.record == record)
            and (item.bound == of if item.kind in TURNED else self._puts(layout, item, of, value))
        ]  # fmt: skip

    def _puts(self, layout: Layout, item: Item, of: Of, value: Value) -> bool:
        effect = item.click
        if effect is None or effect.opens == "none":
            return False
        for target, source in effect.puts:
            if target == of and isinstance(source, Of) and source.place == "row" and layout.rows:
                rows = self.phone.contents[layout.rows.record]
                return any(one is not None and one[source.name] == value for one in rows)
            if target == of and not isinstance(source, Of | Flip):
                return source == value and type(source) is type(value)
        return False

    def _items(self) -> Iterator[tuple[Layout, Item]]:
        for layout in self.catalogue.layouts.values():
            yield from ((layout, item) for item in layout.items)

    def _form(self, record: str) -> str:
        for layout in self.catalogue.layouts.values():
            if layout.kind == "form" and layout.record == record:
                return layout.name
        raise PerdureError(f"expected a form for {record}; found none")

    def _places(self, record: str) -> list[int | None]:
        """Return the places of a type's records; for none, that no record need be open."""
        if not record:
            return [None]
        return [i for i, one in enumerate(self.phone.contents[record]) if one is not None]

    def _adds(self, effect: Effect, record: str, place: int | None, whole: dict[str, Value]) -> bool:
        """Tell whether an effect adds just such a record, while another one is open."""
        puts = {target.name: source for target, source in effect.puts if target.place == "new"}
        held = {name: self._held(s, record, place) if isinstance(s, Of) else s for name, s in puts.items()}
        return held == whole

    def _fill(self, values: dict[str, Value]) -> Steps:
        """Fill in the form that is open, and save."""
        record, form = self.phone.layout.record, self.phone.layout
        for name, value in values.items():
            yield from self.put(Of("draft", name), value, record, self.phone.open)
        save = next(item for item in form.pinned if item.click and item.click.opens == "saved")
        yield from self._click(self._is(save))

    def _show(self, record: str, place: int | None, field: str) -> Steps:
        """Go where a field of a record is shown, and scroll to it."""
        one = place is None
        of = Of(record if one else "record", field)
        for layout, item in self._items():
            if of in (item.text, item.bound) and (
                one or (layout.record == record and layout.kind == "detail")
            ):
                yield from self.go(layout.name, "" if one else record, place)
                yield from self._look(self._is(item))
                return
        raise PerdureError(f"expected a screen that shows {record}.{field}; found none")

    def _held(self, of: Of, record: str, place: int | None) -> Value | None:
        if of.place == "draft":
            return self.phone.draft.get(of.name)
        if of.place == "record":
            held = self.phone.contents[record][place] if place is not None else None
            return None if held is None else held[of.name]
        if of.place in ("row", "new"):
            return None
        return (self.phone.contents[of.place][0] or {})[of.name]

    # ---- elements -------------------------------------------------------------------------------------

    def _is(self, item: Item) -> Callable[[Element], bool]:
        """Tell an element by its class and text, or by its label where the text is what it holds."""

        def same(element: Element) -> bool:
            if isinstance(item.text, Of):
                return element.class_name == item.kind and element.details == item.details
            return element.class_name == item.kind and element.text == item.text

        return same

    def _is_row(self, item: Item, record: str, place: int) -> Callable[[Element], bool]:
        """Tell the row of a record by all that it shows."""
        held, kind = self.phone.contents[record][place] or {}, self.catalogue.records[record]
        shown = [
            kind.fields[of.name].show(held[of.name])
            for of in (item.text, *item.details)
            if isinstance(of, Of)
        ]
        return lambda element: element.class_name == "ListItem" and [element.text, *element.details] == shown

    def _look(self, wanted: Callable[[Element], bool]) -> Iterator[Action]:
        """Scroll until an element is seen: down to the end, then up."""
        for direction in ("down", "up"):
            while not any(map(wanted, self.phone.elements())) and self.phone.can_scroll(direction):
                yield Action("scroll", direction=direction)

    def _click(self, wanted: Callable[[Element], bool]) -> Steps:
        yield from self._look(wanted)
        found = [element.index for element in self.phone.elements() if wanted(element)]
        if not found:
            raise PerdureError(f"expected an element on {self.phone.screen} that is not there")
        yield Action("click", index=found[0])


def _traced(
    before: dict[tuple[str, bool], tuple[tuple[str, bool], Move] | None], node: tuple[str, bool]
) -> list[Move]:
    """Return the moves that led to a node."""
    moves: list[Move] = []
    while (step := before[node]) is not None:
        node, move = step
        moves.append(move)
    return moves[::-1]
