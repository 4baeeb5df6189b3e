"""Runs put together, and parts of them: what ``Results.join`` and ``Results.select`` return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perdure.analysis.notes import doubts
from perdure.analysis.record import Record
from perdure.analysis.statistics import seed_warnings
from perdure.core.errors import PerdureError, shown, unknown

# Fields and settings that hold something for each strategy, and those that name some.
FIELDS = ("scores", "untrained", "curves", "costs", "extras", "trained", "confusions")
TABLES, LISTS = ("strategies", "kinds", "failed", "by_strategy"), ("bounds", "together")
# Settings that make scores comparable; without a fingerprint the name of the stream has to do.
AGREE = ("fingerprint", "setting", "tasks", "seeds", "metric", "higher_is_better", "test_sizes")


def selected(results: Record, names: Sequence[str]) -> Record:
    """Return the results of some strategies, in the order in which they are named."""
    for name in names:
        if name not in results.scores:
            raise unknown("strategy", name, results.scores)
    return renamed(results, {name: name for name in names})


def joined(first: Record, second: Record) -> Record:
    """Put the strategies of two runs on one stream side by side.

    Settings in which the runs differ go to ``config["by_strategy"]``, and a warning names them.
    """
    _check_agreement(first, second)
    names = _names(first, second)
    one, two = (renamed(run, new) for run, new in zip((first, second), names, strict=True))
    settings = {**_settings(one), **_settings(two)}
    for of in settings.values():
        of["stream"] = one.config.get("stream", "")
    common = {
        key: value
        for key, value in next(iter(settings.values())).items()
        if all(key in of and of[key] == value for of in settings.values())
    }
    special = {name: {k: v for k, v in of.items() if k not in common} for name, of in settings.items()}
    tables = {key: {**_table(one, key), **_table(two, key)} for key in TABLES[:2]}
    failed = {**_table(one, "failed"), **_table(two, "failed")}
    failed = {name: why for name, why in failed.items() if name not in settings}
    lists = {key: [*one.config.get(key, []), *two.config.get(key, [])] for key in LISTS}
    more = {
        **tables,
        "failed": failed,
        **lists,
        "by_strategy": special if any(special.values()) else {},
    }
    return Record(
        **{field: {**getattr(one, field), **getattr(two, field)} for field in FIELDS},
        config=common | {key: value for key, value in more.items() if value},
        warnings=[*one.warnings, *two.warnings],
    )


def _table(run: Record, key: str) -> dict[str, Any]:
    return dict(run.config.get(key, {}))


def _settings(run: Record) -> dict[str, dict[str, Any]]:
    """All that was set for each strategy, whether for all of its run or for it alone."""
    shared = {key: value for key, value in run.config.items() if key not in (*TABLES, *LISTS)}
    return {name: {**shared, **_table(run, "by_strategy").get(name, {})} for name in run.scores}


def _check_agreement(first: Record, second: Record) -> None:
    known = "fingerprint" in first.config or "fingerprint" in second.config
    for key in AGREE if known else ("stream", *AGREE):
        one, two = first.config.get(key), second.config.get(key)
        if one != two:
            raise PerdureError(
                f"expected two runs on the same stream; found that they differ in {key}: {shown(one)} and "
                f"{shown(two)}"
            )


def _names(first: Record, second: Record) -> list[dict[str, str]]:
    """Names of the strategies of both runs when joined: with their parameters where names come twice."""
    both = [name for name in first.scores if name in second.scores]
    runs = (first, second)
    for name in both:
        one, two = (_table(run, "strategies").get(name) for run in runs)
        if one == two:
            with_it = f" with the parameters {one}" if one not in (None, name) else ""
            raise PerdureError(
                f"expected two runs of different strategies; found {shown(name)} in both{with_it}: leave it "
                "out of one with select"
            )
    names = [
        {name: _table(run, "strategies").get(name, name) if name in both else name for name in run.scores}
        for run in runs
    ]
    new = [name for of in names for name in of.values()]
    for name in new:
        if new.count(name) > 1:
            raise PerdureError(
                f"expected strategies whose names or parameters differ; found {shown(name)} twice: leave one "
                "out with select"
            )
    return names


def renamed(results: Record, names: Mapping[str, str]) -> Record:
    """Keep the strategies in ``names``, under new names; what failed stays told."""
    names = {**names, **{name: name for name in _table(results, "failed") if name not in names}}

    def of(table: Mapping[str, Any]) -> dict[str, Any]:
        return {new: table[old] for old, new in names.items() if old in table}

    config = {key: of(value) if key in TABLES else value for key, value in results.config.items()}
    config |= {key: list(of({name: name for name in results.config.get(key, [])})) for key in LISTS}
    said = {*seed_warnings(results.seeds), *doubts(results)}  # said anew of what the new results hold
    lines = [_told(line, results, names) for line in results.warnings if line not in said]
    return Record(
        **{field: of(getattr(results, field)) for field in FIELDS},
        config={key: value for key, value in config.items() if value or key not in (*TABLES, *LISTS)},
        warnings=[line for line in lines if line],
    )


def _told(line: str, results: Record, names: Mapping[str, str]) -> str:
    """Return a warning under a strategy's new name; nothing where it is about one that was left out."""
    for name in (*results.scores, *_table(results, "failed")):
        if line.startswith(f"{name}: "):
            return names[name] + line.removeprefix(name) if name in names else ""
    return line
