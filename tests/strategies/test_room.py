"""The table of strategies is the folder."""

import importlib
import pkgutil
from dataclasses import is_dataclass

import pytest

import perdure.strategies as room
from perdure.strategies import STRATEGIES, Composition, External, Strategy


def defined():
    """Every strategy class that a module of the folder defines, but for the contract's own."""
    found = {}
    for info in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == info.name
            if own and issubclass(value, Strategy) and not issubclass(value, Composition):
                found[value.__qualname__] = value
    return {name: kind for name, kind in found.items() if kind not in (Strategy, External)}


CLASSES = [pytest.param(value, id=name) for name, value in sorted(defined().items())]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_is_registered_exported_and_described(kind):
    assert "name" in vars(kind), "a strategy has a name of its own"
    assert STRATEGIES.maker(kind.name) is kind
    assert getattr(room, kind.__name__) is kind
    assert kind.__name__ in room.__all__
    assert is_dataclass(kind)
    assert len(vars(kind)["__doc__"].split()) > 5
    assert not vars(kind)["__doc__"].startswith(f"{kind.__name__}(")  # what a dataclass writes by itself


def test_every_name_stands_for_a_class_of_the_folder():
    assert {STRATEGIES.maker(name) for name in STRATEGIES} == set(defined().values())


def test_what_is_exported_is_there_once():
    assert len(set(room.__all__)) == len(room.__all__)
    assert [name for name in room.__all__ if not hasattr(room, name)] == []
