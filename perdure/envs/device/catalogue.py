"""All apps of a phone as one: types of records, screens, and where one gets from each of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from copy import copy
from functools import cached_property, lru_cache

from perdure.core.errors import PerdureError, unknown
from perdure.envs.device.declare import App, Item, Layout, Of, One, Record, go
from perdure.envs.device.fields import Field, Text
from perdure.envs.device.screens import Search, outer, searching

# So many icons stand on the home screen itself; all are behind "Apps".
DOCK = 4


class Catalogue:
    """Everything that a phone is declared with.

    Parameters
    ----------
    apps:
        The apps, each with a name of its own.

    Raises
    ------
    PerdureError
        For names that are there twice, and effects that lead to no screen, or write where nothing is.
    """

    def __init__(self, apps: Iterable[App]) -> None:
        self.apps = {app.name: app for app in sorted(apps, key=lambda app: app.name)}
        self.records: dict[str, Record] = {}
        self.layouts: dict[str, Layout] = {}
        for layout in _shell(list(self.apps.values())):
            self.layouts[layout.name] = layout
        for app in self.apps.values():
            self._enter(app)
        for layout in self.layouts.values():
            self._check(layout)

    def _enter(self, app: App) -> None:
        searches = [one.name for one in app.screens if isinstance(one, Search)]
        views = [One(searching(name), {"query": Text()}, view=True) for name in searches]
        whole = App(app.name, app.title, (*app.records, *views), app.screens)
        for record in whole.records:
            self.records[outer(app, record.name)] = record
        for one in app.screens:
            for layout in one.layouts(whole):
                if layout.name in self.layouts:
                    raise PerdureError(f"expected screens with different names; found {layout.name} twice")
                self.layouts[layout.name] = layout

    def _check(self, layout: Layout) -> None:
        layout.check()
        effects = [effect for item in layout.items for effect in (item.click, item.hold) if effect]
        for name in (layout.up, *(effect.go for effect in effects if effect.go)):
            if name not in self.layouts:
                raise unknown(f"screen that {layout.name} leads to", name, self.layouts)
        for effect in effects:
            for target, source in effect.puts:
                # A button may open the form of another type of records: what drafts have is not known here.
                for of in (target, source):
                    if isinstance(of, Of) and of.place != "draft":
                        self.field(of, layout, effect.adds)

    def with_layouts(self, layouts: Iterable[Layout]) -> Catalogue:
        """Return the same apps with other layouts of some screens."""
        other = copy(self)
        other.layouts = {**self.layouts, **{layout.name: layout for layout in layouts}}
        for layout in other.layouts.values():
            other._check(layout)
        return other

    # ---- what is where --------------------------------------------------------------------------------

    def type_of(self, of: Of, layout: Layout, adds: str = "") -> str:
        """Return the type of the record that a field of a screen belongs to."""
        inner = {"record": layout.record, "draft": layout.record, "new": adds}
        inner["row"] = layout.rows.record if layout.rows else ""
        return inner.get(of.place, of.place)

    def field(self, of: Of, layout: Layout, adds: str = "") -> Field:
        """Return the declaration of a field of a screen."""
        name = self.type_of(of, layout, adds)
        if name not in self.records:
            raise unknown(f"record of {layout.name}", name, self.records)
        if of.name not in self.records[name].fields:
            raise unknown(f"field of {name}", of.name, self.records[name].fields)
        return self.records[name].fields[of.name]

    def main(self, app: str) -> str:
        """Return the screen that an app opens with."""
        return self.apps[app].main

    def app(self, name: str) -> str | None:
        """Return the app that is called so, by its name or its title, in whatever case."""
        plain = name.casefold()
        return next(
            (app.name for app in self.apps.values() if plain in (app.name, app.title.casefold())), None
        )

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """Types whose records tasks are about: all but what is only looked at."""
        return tuple(name for name, one in self.records.items() if not (isinstance(one, One) and one.view))


def _shell(apps: list[App]) -> list[Layout]:
    """Return the home screen and the list of apps."""
    icons = tuple(Item("ImageView", app.title, click=go(app.main)) for app in apps)
    every = Item("Button", "Apps", click=go("apps"))
    return [
        Layout("home", "home", "Home", "home", (Item("TextView", "Home"), every), icons[:DOCK]),
        Layout("apps", "home", "Apps", "home", (Item("TextView", "Apps"),), icons),
    ]


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """Return the phone's declarations: one app of each file of ``perdure.envs.device.apps``."""
    import perdure.envs.device.apps as folder

    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    files = [importlib.import_module(f"{folder.__name__}.{name}") for name in names]
    return Catalogue([file.APP for file in files])
