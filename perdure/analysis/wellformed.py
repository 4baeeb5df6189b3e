"""What results must be made of: names that can be written, shapes that fit, settings that JSON can hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from perdure.analysis.film import is_film
from perdure.core.errors import PerdureError, shown, unknown

if TYPE_CHECKING:
    from perdure.analysis.record import Array, Record


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, numpy's too."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_list(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(type(item) is kind for item in value)


def _is_table(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(type(item) in kinds for item in value.values())


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) in (int, float) and item > 0 for item in value)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) in (int, float) for item in value)


def _is_each(value: Any) -> bool:
    return type(value) in (int, float) or _is_numbers(value)


def _is_tried(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_table(int, float), value))


def _is_matrix(value: Any, size: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == size
        and all(_is_numbers(row) and len(row) == size for row in value)
    )


def _is_info(value: Any) -> bool:
    """Whether matrices of correlations have a row and a column for each of the tasks that are named."""
    if not isinstance(value, dict):
        return False
    tasks, found = value.get("tasks", []), [value[key] for key in CORRELATIONS if key in value]
    return _is_list(str)(tasks) and all(_is_matrix(matrix, len(tasks)) for matrix in found)


# With what a run went; those of an earlier release say less of it.
WAYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "threads": (lambda value: type(value) is int, "a whole number"),
    "versions": (_is_table(str), "texts by package"),
}


def _is_ways(value: Any) -> bool:
    return _is_list(dict)(value) and all(
        key not in way or fits(way[key]) for way in value for key, (fits, _) in WAYS.items()
    )


# What a stream may say of the tasks that it names, each with each.
CORRELATIONS = ("task_correlation", "label_correlation")
# What is read of a configuration and of a strategy's extras, where it is there; the rest is only shown.
CONFIG = {
    "seeds": (_is_list(int), "a list of whole numbers"),
    "tasks": (_is_list(str), "a list of names"),
    "kinds": (_is_table(str), "texts by strategy"),
    "strategies": (_is_table(str), "texts by strategy"),
    "failed": (_is_table(str), "texts by strategy"),
    **WAYS,
    "earlier": (_is_ways, "a list of tables of threads and versions"),
    "by_strategy": (_is_table(dict), "tables of settings by strategy"),
    "class_names": (_is_list(str), "a list of names"),
    "bounds": (_is_list(str), "a list of names"),
    "together": (_is_list(str), "a list of names"),
    "info": (_is_info, "a table, whose correlations are square, one row for each name under `tasks`"),
    "higher_is_better": (
        lambda value: isinstance(value, bool) or _is_list(bool)(value),
        "true or false, or one for each task",
    ),
    "test_sizes": (_is_sizes, "a list of positive numbers"),
}
# What a stream of worlds says of its tasks, for all of them or for each.
INFO = {
    **dict.fromkeys(("best", "worst", "threshold"), (_is_each, "a number, or one for each task")),
    "world_steps_per_step": (
        lambda value: _is_each(value) and _is_sizes(value if isinstance(value, list) else [value]),
        "a positive number, or one for each task",
    ),
}
EXTRAS = {
    "diverged": (_is_list(int), "a list of seeds"),
    "chosen": (_is_table(int, float), "numbers by name"),
    "film": (is_film, "pictures of episodes, PNG as base64, with their stage, task, steps and score"),
    "report": (_is_table(dict), "tables by part of the strategy"),
    "tried": (_is_tried, "a list of numbers by name"),
    **dict.fromkeys(
        ("parameters_per_stage", "pass_flops", "training_flops"), (_is_numbers, "a list of numbers")
    ),
}


def _check_values(what: str, values: Any, forms: Mapping[str, tuple[Callable[[Any], bool], str]]) -> None:
    if not isinstance(values, dict):
        raise PerdureError(f"expected {what} to be a table; found {shown(values)}")
    for key, (fits, words) in forms.items():
        if key in values and not fits(values[key]):
            raise PerdureError(f"expected {what}[{key!r}] to be {words}; found {shown(values[key])}")


def check_config(config: Any) -> None:
    """Refuse settings of a wrong kind."""
    _check_values("config", config, CONFIG)


def check(results: Record) -> None:
    """Refuse names that cannot be written, shapes that do not fit, and settings of a wrong kind."""
    for name in results.scores:
        check_name(name)
    for what in (results.untrained, results.curves, results.costs, results.extras, results.confusions):
        for name in what:
            if name not in results.scores:
                raise unknown("strategy", name, results.scores)
    check_config(results.config)
    _check_values("config['info']", results.config.get("info", {}), INFO)
    for name, extras in results.extras.items():
        _check_values(f"extras[{name!r}]", extras, EXTRAS)
        missing = [k for k in extras.get("chosen", {}) if any(k not in p for p in extras.get("tried", []))]
        if missing:
            raise PerdureError(
                f"expected every point that {name!r} tried to have {missing[0]!r}, which was chosen; found "
                "one without"
            )
    if not _is_list(str)(results.warnings):
        raise PerdureError(f"expected warnings to be a list of texts; found {shown(results.warnings)}")
    _check_shapes(results)
    for name in results.extras:
        _check_film(name, results)
    for name, value in results.confusions.items():
        _check_confusion(name, value, results)


def _check_shapes(results: Record) -> None:
    """Refuse scores that are not those of each seed, stage and task."""
    seeds, tasks = len(results.config.get("seeds", [])), len(results.config.get("tasks", []))
    higher = results.config.get("higher_is_better", True)
    if isinstance(higher, list) and len(higher) != tasks:
        raise PerdureError(
            f"expected config['higher_is_better'] to be one, or one for each of the {tasks} tasks; found "
            f"{len(higher)}"
        )
    for name, value in results.scores.items():
        if value.shape not in ((seeds, tasks, tasks), (seeds, 1, tasks)):
            raise PerdureError(
                f"expected scores of {name!r} with the shape [{seeds} seeds, {tasks} stages or 1, "
                f"{tasks} tasks]; found {list(value.shape)}"
            )
    for name, value in results.untrained.items():
        if value.shape != (seeds, tasks):
            raise PerdureError(
                f"expected untrained scores of {name!r} with the shape [{seeds} seeds, {tasks} tasks]; "
                f"found {list(value.shape)}"
            )
    for name, curve in results.curves.items():
        if curve.scores.shape[::2] != (seeds, tasks):
            raise PerdureError(
                f"expected a curve of {name!r} over {seeds} seeds and {tasks} tasks; found "
                f"{list(curve.scores.shape)}"
            )
        beyond = [stage for stage in curve.stage.tolist() if not 0 <= stage < tasks]
        if beyond:
            raise PerdureError(
                f"expected a curve of {name!r} with stages from 0 to {tasks - 1}; found {beyond[0]}"
            )


def _check_film(name: str, results: Record) -> None:
    stages, tasks = results.scores[name].shape[1:]
    for strip in results.extras[name].get("film", {}).get("strips", []):
        if not (0 <= strip["stage"] < stages and 0 <= strip["task"] < tasks):
            raise PerdureError(
                f"expected pictures of {name!r} after stages below {stages} in tasks below {tasks}; found "
                f"stage {strip['stage']}, task {strip['task']}"
            )


def _check_confusion(name: str, value: Array, results: Record) -> None:
    seeds, stages = results.scores[name].shape[:2]
    if value.ndim != 4 or value.shape[:2] != (seeds, stages) or value.shape[2] != value.shape[3]:
        raise PerdureError(
            f"expected confusions of {name!r} with the shape [{seeds} seeds, {stages} stages, classes, "
            f"classes]; found {list(value.shape)}"
        )
    if not (np.isfinite(value) & (value >= 0)).all():
        raise PerdureError(f"expected confusions of {name!r} that are counts, 0 or more; found others")


def check_name(name: object) -> None:
    """Refuse what cannot be written in files and on terminals."""
    if not isinstance(name, str) or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise PerdureError(
            "expected names of strategies without control characters and halves of characters; found "
            f"{name!a}"
        )
