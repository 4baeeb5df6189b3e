"""What the rows of results are called."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

from perdure.analysis.wellformed import check_name
from perdure.core.errors import PerdureError, shown
from perdure.strategies.contract.composition import parts
from perdure.strategies.contract.registry import get
from perdure.strategies.contract.strategy import Strategy, spell


def name_strategies(
    given: Strategy | str | Sequence[Strategy | str] | Mapping[str, Strategy | str],
) -> dict[str, Strategy]:
    """Build the strategies that are given, and name each.

    The name is the label of a table, or the text that was typed; of a strategy object it is ``str(strategy)``
    with every parameter in which the strategies of its kind differ, at its default or not.

    Raises
    ------
    PerdureError
        For a text that names no strategy, a name that cannot be written, and what is given twice.

    >>> from perdure.strategies import EWC
    >>> list(name_strategies(["ewc(20)", EWC(1.0), EWC(20.0) + EWC(3.0)]))
    ['ewc(20)', 'ewc(strength=1.0)', 'ewc + ewc(strength=3.0)']
    >>> list(name_strategies({"weak": EWC(1.0)}))
    ['weak']
    """
    rows: list[tuple[str | None, Strategy | str]]
    if isinstance(given, Mapping):
        rows = [(_label(key), one) for key, one in given.items()]
    else:
        rows = [(None, one) for one in ([given] if isinstance(given, str | Strategy) else given)]
    built = [get(one) if isinstance(one, str) else one for _, one in rows]
    named: dict[str, Strategy] = {}
    for (label, one), strategy in zip(rows, built, strict=True):
        name = label or (_typed(one) if isinstance(one, str) else _spelled(strategy, built))
        check_name(name)
        if name in named:
            raise PerdureError(f"expected different strategies; found {name!r} twice")
        named[name] = strategy
    _check_different(named)
    return named


def _label(key: str) -> str:
    if not key.strip():
        raise PerdureError(f"expected a label for every strategy, such as 'weak'; found {shown(key)}")
    return key.strip()


def _typed(text: str) -> str:
    # Files may break lines within a text; a name is one line.
    return re.sub(r"\s*[\n\r\t]\s*", " ", text.strip())


def _spelled(strategy: Strategy, others: Iterable[Strategy]) -> str:
    """Return the strategy's text with every parameter in which others of the same parts differ."""
    kinds = [type(part) for part in parts(strategy)]
    rivals = [parts(other) for other in others if [type(part) for part in parts(other)] == kinds]
    texts = []
    for i, part in enumerate(parts(strategy)):
        differing = {
            field.name
            for field in dataclasses.fields(part)
            for rival in rivals
            if getattr(rival[i], field.name) != getattr(part, field.name)
        }
        texts.append(spell(part, differing) if differing else str(part))
    return " + ".join(texts)


def _check_different(named: Mapping[str, Strategy]) -> None:
    """Refuse one strategy under two names: checkpoints are kept by what a strategy does."""
    seen: dict[str, str] = {}
    for name, strategy in named.items():
        spec = str(strategy)
        if spec in seen:
            raise PerdureError(
                f"expected different strategies; found {seen[spec]!r} and {name!r}, which are the same"
            )
        seen[spec] = name
