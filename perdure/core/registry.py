"""Names for things that users can ask for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from perdure.core.checks import checked
from perdure.core.errors import SHOWN, PerdureError, near, shown, unknown
from perdure.core.plugins import load_plugins
from perdure.core.specs import parse, write

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from names to the functions or classes that build things of one kind.

    Parameters
    ----------
    kind:
        What the table holds, as error messages call it (``"strategy"``).
    group:
        The entry-point group whose plugins register here, such as ``"perdure.strategies"``. They are imported
        when a name is asked for that is not there, and when all names are.
    """

    def __init__(self, kind: str, group: str = "") -> None:
        self.kind, self.group = kind, group
        self.kinds = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        self._makers: dict[str, Callable[..., T]] = {}

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Enter the decorated function or class under ``name``.

        Its arguments are held against their annotations from then on, whoever calls it
        (:func:`perdure.core.checks.checked`). A name that is taken is refused, but for the same thing
        defined once more, as by a notebook's cell that is run again.
        """

        def enter(maker: Callable[..., T]) -> Callable[..., T]:
            if name in self._makers and _origin(self._makers[name]) != _origin(maker):
                raise PerdureError(f"{self.kind} {name!r} is registered already")
            self._makers[name] = checked(maker, name)
            return self._makers[name]

        return enter

    def __contains__(self, name: str) -> bool:
        if name not in self._makers:
            load_plugins(self.group)
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        load_plugins(self.group)
        return iter(sorted(self._makers))

    def maker(self, name: str) -> Callable[..., T]:
        """Return what builds ``name``; an unknown name is an error that lists the nearest ones."""
        if name not in self:
            raise unknown(self.kind, name, self)
        return self._makers[name]

    def make(self, name: str, /, *args: Any, **kwargs: Any) -> T:
        """Build ``name``; parameters that its maker does not take are an error."""
        if name not in self:
            meant = [write(one, args, kwargs) for one in near(name, self)]
            raise unknown(self.kind, name, self, [one for one in meant if len(one) <= SHOWN])
        maker = self.maker(name)
        signature = inspect.signature(maker)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            guess = _guess(name, args, kwargs, list(signature.parameters))
            allowed = ", ".join(signature.parameters) or "no parameters"
            hint = f"; did you mean {guess}?" if guess else ""
            raise PerdureError(f"{self.kind} {name!r}: {error}; it takes {allowed}{hint}") from None
        return maker(*args, **kwargs)

    def get(self, spec: str) -> T:
        """Build what ``"name"`` or ``"name(value, key=value)"`` says (:func:`perdure.core.specs.parse`)."""
        if not isinstance(spec, str):
            raise PerdureError(
                f"expected the name of a {self.kind}, such as {next(iter(self), '')!r}; found {shown(spec)}"
            )
        name, args, kwargs = parse(spec)
        return self.make(name, *args, **kwargs)


def _origin(maker: Callable[..., Any]) -> tuple[object, ...]:
    """Return where something was defined, by which it is known when it is defined again."""
    name = getattr(maker, "__qualname__", "<lambda>")
    return (id(maker),) if "<lambda>" in name else (maker.__module__, name)


def _guess(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], takes: list[str]) -> str | None:
    """Return the spec with every misspelt parameter put right, if there is one near each."""
    wrong = [key for key in kwargs if key not in takes]
    close = {key: near(key, [one for one in takes if one not in kwargs]) for key in wrong}
    if not wrong or not all(close.values()):
        return None
    guess = write(name, args, {close[key][0] if key in close else key: v for key, v in kwargs.items()})
    return guess if len(guess) <= SHOWN else None
