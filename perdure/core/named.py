"""Classes that a table knows by name, and objects that print as the text that builds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from perdure.core.errors import PerdureError, shown
from perdure.core.registry import Registry
from perdure.core.specs import write

C = TypeVar("C", bound=type)


@dataclass(frozen=True, repr=False)
class Named:
    """A frozen dataclass of numbers with a name: it prints as the spec that builds it."""

    name: ClassVar[str] = "named"

    def __repr__(self) -> str:
        """Return the spec that builds this: the name, and the fields that are not at their defaults."""
        given = [f for f in dataclasses.fields(self) if f.init]
        values = {f.name: getattr(self, f.name) for f in given}
        told = {f.name: values[f.name] for f in given if values[f.name] != f.default}
        return write(self.name, (), told)


def entering(
    table: Registry[Any], base: type, decorator: str, name: str, *, repr: bool = True
) -> Callable[[C], C]:
    """Return a decorator that makes a class a frozen dataclass of its fields, and enters it in a table.

    Parameters
    ----------
    table:
        Holds the class's arguments against their annotations from then on.
    base:
        What the class must derive from.
    decorator:
        What users call the decorator.
    name:
        What the class is called by from then on: ``name`` of the class and its objects.
    repr:
        Whether objects print as dataclasses do.

    Raises
    ------
    PerdureError
        For what is no such class, one that has another name already, and a name that is taken.
    """

    def enter(kind: Any) -> Any:
        if not (isinstance(kind, type) and issubclass(kind, base)):
            raise PerdureError(f"expected a class of {table.kinds} to call {name!r}; found {shown(kind)}")
        given = vars(kind).get("name", name)
        if given != name:
            raise PerdureError(f"{kind.__name__} is called {name!r} by @{decorator}; found name = {given!r}")
        kind.name = name  # type: ignore[attr-defined]
        made = kind if "__dataclass_params__" in vars(kind) else dataclass(frozen=True, repr=repr)(kind)
        return table.register(name)(made)

    return enter
