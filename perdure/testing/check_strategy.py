"""The contract that every strategy keeps, for users to run on their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from torch import nn

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.stream import Stream
from perdure.strategies.baselines.naive import Naive
from perdure.strategies.contract.composition import parts
from perdure.strategies.contract.external import External
from perdure.strategies.contract.strategy import Strategy
from perdure.testing.company import Bystander, Reversed
from perdure.testing.form import check_form
from perdure.testing.models import tiny_model, tiny_norm, tiny_team
from perdure.testing.promises import Broken, first_line
from perdure.testing.runs import CLOSE, Builder, Place, Ran, Stop, anew, check_external, check_same
from perdure.testing.streams import tiny_stream, tiny_team_stream
from perdure.testing.watched import Watched

Level = Literal["quick", "full"]
Check = Callable[[Strategy, Place], None]
Case = tuple[str, Stream, Builder, Check]


def check_strategy(
    strategy: Strategy,
    stream: Stream | None = None,
    *,
    model: Builder | nn.Module | None = None,
    level: Level = "full",
) -> None:
    """Refuse a strategy that does not keep the contract of strategies, at the first promise broken.

    Checked are: that it is a frozen dataclass that its name builds again; hooks that leave their arguments
    alone, draw from ``rng`` only, and return what they should, finite, with a state of fixed structure,
    shapes and types; that the order of the names in what it returns does not matter; that it maps over
    replicas, is recorded, and that a replica learns the same alone and unrecorded; that a run which goes on
    from a checkpoint gives the same as one that was not stopped.

    The full level checks besides: that padding (weight 0) does not count; that two runs give the same bytes;
    that ``+ naive`` changes nothing, nor does, in front, a strategy that has all hooks and lets everything
    pass.

    A strategy may refuse a stream or a model with a ``PerdureError`` before any training. One that refuses
    all of the tiny streams is checked on one of a team, whose agents it may let talk.

    Parameters
    ----------
    strategy:
        What to check.
    stream:
        Where; default: tiny streams, of every setting, of one task, of tasks that differ in size, with a last
        batch of one sample, and one with a model with batch norm. At the quick level: the first of them that
        the strategy takes, with two tasks instead of three.
    model:
        Builds the model, of the input shape and the number of outputs; default: a small perceptron.
    level:
        ``"full"``, or ``"quick"``: the checks that find most, on one stream, in a fifth of the time.

    Raises
    ------
    PerdureError
        With one line that says which promise, where, and what was found.
    """
    if not isinstance(strategy, Strategy):
        raise Broken(f"expected a Strategy; found {type(strategy).__name__}")
    if level not in get_args(Level):
        raise PerdureError(f"level must be 'quick' or 'full'; found {level!r}")
    check_form(strategy)
    cases = awkward_cases(level) if stream is None else [("the stream given", stream, tiny_model, _thorough)]
    refusals = _refusals(strategy, cases, model, level)
    if stream is None and len(refusals) == len(cases):
        team: list[Case] = [("a stream of a team", tiny_team_stream(), tiny_team, _thorough)]
        if not _refusals(strategy, team, model, level):
            return
    if len(refusals) == len(cases):
        raise refusals[0]


def _refusals(
    strategy: Strategy, cases: Sequence[Case], model: Builder | nn.Module | None, level: Level
) -> list[PerdureError]:
    """Check a strategy in all places, at the quick level until it takes one; return its refusals."""
    refusals: list[PerdureError] = []
    for name, tiny, builder, check in cases:
        place = Place(f"{strategy} on {name}", tiny, model or builder)
        try:
            if isinstance(strategy, External):
                check_external(strategy, place)
            else:
                (_quick if level == "quick" else check)(strategy, place)
        except Broken:
            raise
        except PerdureError as refusal:
            refusals.append(refusal)
        except Exception as error:
            raise Broken(f"{place.where}: {type(error).__name__}: {first_line(error)}") from error
        else:
            if level == "quick":
                break
    return refusals


def awkward_cases(level: Level = "full") -> list[Case]:
    """Return name, stream, model and what is checked there, of the places where strategies are checked."""
    sizes = (5, 7, 3) if level == "full" else (5, 7)
    return [
        ("tasks of different sizes", tiny_stream("domain", sizes), tiny_model, _thorough),
        (
            "a task-incremental stream with batch norm",
            tiny_stream("task", (10, 8)),
            tiny_norm,
            _like_others,
        ),
        ("a class-incremental stream", tiny_stream("class", (5, 8, 3)), tiny_model, _like_others),
        ("a joint stream", tiny_stream("joint", (6, 9)), tiny_model, _alone),
        ("one task", tiny_stream("task", (9,), 3), tiny_model, _alone),
    ]


def _alone(strategy: Strategy, place: Place) -> None:
    """Look at every hook of a run by itself."""
    place.alone(strategy, _watched(strategy, place))


def _like_others(strategy: Strategy, place: Place) -> None:
    """Look at every hook, and compare a replica with one of three."""
    alone = place.alone(strategy, _watched(strategy, place))
    _check_among(alone, place.mapped(strategy), place)


def _quick(strategy: Strategy, place: Place) -> None:
    """Check all that one run by itself, its continuation and one of three replicas can tell."""
    stops: list[Stop] = []
    alone = place.alone(strategy, _watched(strategy, place), stops)
    turned = place.mapped(strategy, Reversed(parts(strategy)))
    try:
        _check_among(alone, turned, place)
    except Broken:
        # Which promise is it? Three replicas whose names come in order tell.
        together = place.mapped(strategy)
        _check_among(alone, together, place)
        _check_turned(together, turned, place)
        raise
    _check_resumed(strategy, alone, stops[-1], place)


def _thorough(strategy: Strategy, place: Place) -> None:
    """Check everything."""
    stops: list[Stop] = []
    alone = place.alone(strategy, _watched(strategy, place), stops)
    together = place.mapped(strategy)
    _check_among(alone, together, place)
    _check_resumed(strategy, alone, stops[-1], place)
    # What must change nothing is done at once; where something does change, one by one.
    company = Bystander() + strategy
    altered = place.alone(company, dataclasses.replace(_watched(company, place), alter_padding=True))
    try:
        check_same(alone, altered, CLOSE, f"{place.where}: padding, and a strategy in front, change nothing")
    except Broken:
        _check_padding(strategy, alone, place)
        _check_passed(strategy, alone, place)
        raise
    beside = strategy + Naive()
    turned = place.mapped(beside, Reversed(parts(beside)))
    try:
        check_same(together, turned, 0.0, f"{place.where}: names in another order, `+ naive`, change nothing")
    except Broken:
        _check_turned(together, place.mapped(strategy, Reversed(parts(strategy))), place)
        _check_beside(strategy, together, place)
        raise


def _check_padding(strategy: Strategy, alone: Ran, place: Place) -> None:
    altered = place.alone(strategy, dataclasses.replace(_watched(strategy, place), alter_padding=True))
    check_same(alone, altered, CLOSE, f"{place.where}: samples of weight 0 are padding and must not count")


def _check_passed(strategy: Strategy, alone: Ran, place: Place) -> None:
    company = Bystander() + strategy
    passed = place.alone(company, _watched(company, place))
    check_same(
        alone, passed, CLOSE, f"{place.where}: a strategy in front that lets all pass must change nothing"
    )


def _check_beside(strategy: Strategy, together: Ran, place: Place) -> None:
    try:
        beside = place.mapped(strategy + Naive())
        check_same(together, beside, 0.0, f"{place.where}: `+ naive` must change nothing")
    except Broken:
        again = place.mapped(strategy)
        check_same(together, again, 0.0, f"{place.where}: two runs must give the same")
        raise


def _check_resumed(strategy: Strategy, whole: Ran, stop: Stop, place: Place) -> None:
    """Go on from a stop as another process would, and end where the whole run did."""
    rest = Watched(anew(strategy), where=place.where, outputs=place.stream.outputs)
    resumed = place.alone(strategy, rest, since=stop)
    promise = "a run that goes on from a checkpoint must give the same: what hooks remember lies in the state"
    check_same(whole, resumed, 0.0, f"{place.where}: {promise}")


def _check_among(alone: Ran, together: Ran, place: Place) -> None:
    promise = "a replica must learn the same alone, unrecorded, as among three"
    check_same(alone, together.last(), CLOSE, f"{place.where}: {promise}")


def _check_turned(together: Ran, turned: Ran, place: Place) -> None:
    promise = "the order of names in what hooks return must not matter"
    check_same(together, turned, 0.0, f"{place.where}: {promise}")


def _watched(strategy: Strategy, place: Place) -> Watched:
    return Watched(parts(strategy), where=place.where, outputs=place.stream.outputs)
