"""The table of strategies is the folder."""

import importlib
import pkgutil
from dataclasses import FrozenInstanceError, dataclass, field, is_dataclass

import pytest

import perdure.strategies as room
from perdure import PerdureError
from perdure.strategies import STRATEGIES, Composition, External, Strategy, get, strategy
from perdure.testing import tiny_stream


def defined():
    """Every strategy class that a module of the folder defines, but for the contract's own."""
    found = {}
    for info in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
        module = importlib.import_module(info.name)
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == info.name
            if own and issubclass(value, Strategy) and not issubclass(value, Composition):
                found[value.__qualname__] = value
    # What only others of the folder are made from has no name.
    bases = {base for kind in found.values() for base in kind.__mro__[1:]}
    unnamed = {kind for kind in found.values() if kind in bases and "name" not in vars(kind)}
    return {name: k for name, k in found.items() if k not in (Strategy, External) and k not in unnamed}


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


SEVERAL = ("clr(pretrain=2)", "merge(rule=atlas)", "merge(pretrain=1, pretrain_on=all)")


@pytest.mark.parametrize("spec", [*STRATEGIES, *SEVERAL])
def test_who_learns_several_tasks_at_once_says_so(spec):
    kind, stream = get(spec), tiny_stream("task", tasks=2)
    if isinstance(kind, External):
        return  # asked by the same phases, and checked with its own library
    phases = kind.phases(stream)
    several = sum(p.stage for p in phases) > 1 and any(len(p.tasks) > 1 for p in phases)
    assert several == (kind.together or spec == "cumulative")


def test_what_is_exported_is_there_once():
    assert len(set(room.__all__)) == len(room.__all__)
    assert [name for name in room.__all__ if not hasattr(room, name)] == []


# ---- the decorator ------------------------------------------------------------------------------------


def slow():
    @strategy("slow")
    class Slow(Strategy):
        rate: float = 0.01

    return Slow


def test_one_decorator_registers_names_and_freezes(table):
    kind = slow()
    assert get("slow(rate=0.5)") == kind(0.5)
    assert str(kind(0.5) + get("naive")) == "slow(rate=0.5) + naive"
    assert kind.name == "slow"
    with pytest.raises(FrozenInstanceError):
        kind().rate = 1.0
    with pytest.raises(PerdureError, match="slow: rate must be a number; found 'fast'"):
        kind(rate="fast")


def test_the_same_class_defined_again_takes_its_own_place(table):
    first, second = slow(), slow()
    assert table.maker("slow") is second is not first
    with pytest.raises(PerdureError, match="strategy 'slow' is registered already"):

        @strategy("slow")
        class Other(Strategy):
            pass


def test_a_class_with_an_init_of_its_own_keeps_it(table):
    @strategy("doubled")
    class Doubled(Strategy):
        rate: float = 1.0

        def __init__(self, rate: float = 1.0) -> None:
            object.__setattr__(self, "rate", 2 * rate)

    assert get("doubled(rate=3)").rate == 6
    assert get("doubled") == Doubled(1.0)


def test_a_frozen_dataclass_may_be_decorated(table):
    @strategy("plain")
    @dataclass(frozen=True)
    class Plain(Strategy):
        rates: tuple[float, ...] = field(default=(1.0,))

    assert get("plain").rates == (1.0,)


def test_what_cannot_be_registered_is_said(table):
    with pytest.raises(
        PerdureError, match="expected a class of strategies to call 'x'; found the class dict"
    ):
        strategy("x")(dict)
    with pytest.raises(PerdureError, match="Cold is called 'cold' by @strategy; found name = 'icy'"):

        @strategy("cold")
        class Cold(Strategy):
            name = "icy"

    assert not {"x", "cold"} & set(table)
