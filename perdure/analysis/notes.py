"""What a reader of results must be told beside the numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from perdure.analysis import film
from perdure.analysis.diverged import OPENING, cleared, kept, sentence
from perdure.analysis.metrics import worlds
from perdure.analysis.metrics.curves import LAST
from perdure.analysis.metrics.matrix import average_accuracy
from perdure.analysis.metrics.needs import above_naive, baseline, is_bound, kind_of, one_stage, rivals, signs
from perdure.analysis.statistics import Gap, holm_note, paired_gap, smallest_p
from perdure.core.errors import PerdureError, shown

if TYPE_CHECKING:
    from perdure.analysis.record import Record

CHANCE_IN_CLASS_INCREMENTAL = ("ewc", "online-ewc", "si", "mas", "lwf")
BASELINES = {
    "naive": "gap closed is not reported",
    "joint": "gap closed is not reported",
    "single": "multi-task gain and safeness are not reported",
}


def notes(results: Record) -> list[str]:
    """Warnings of the run, baselines that are missing, and results that look like bugs but are not."""
    return [
        *told(results), *_direction(results), *_fields(results), *_missing(results), *_chance(results),
        *_worlds(results),
    ]  # fmt: skip


def told(results: Record) -> list[str]:
    """Warnings of the run, and which seeds diverged also where a run saved long ago does not say so."""
    said = any(line.startswith(OPENING) for line in results.warnings)
    return [*results.warnings, *([] if said else _diverged(results))]


def doubts(results: Record) -> list[str]:
    """What is doubtful about the numbers: each a line of ``results.warnings``."""
    return [
        *_diverged(results), *_gap(results), *_low_bounds(results), *_correction(results), *_edges(results),
        *_joined(results), *_continued(results),
    ]  # fmt: skip


def _diverged(results: Record) -> list[str]:
    return [text] if (text := sentence(results)) else []


def _gap(results: Record) -> list[str]:
    gap = above_naive(results)
    others = {kind_of(results, name) for name in rivals(results)[0]} - {"naive"}
    if gap is None or gap.clear or not others:
        return []
    return [
        f"Gap closed is not reported: joint is not clearly above naive (difference {gap}): train joint "
        "longer."
    ]


def _low_bounds(results: Record) -> list[str]:
    """Bounds that lie clearly below what they should bound: learners of one task after the other."""
    texts = []
    learners, _ = rivals(results)
    for bound in results.strategies:
        if not is_bound(results, bound) or not learners:
            continue
        others = [*learners, *_tighter(results, bound)]
        above = {name: gap for name in others if (gap := _lead(results, name, bound)).clear}
        if above:
            name = max(above, key=lambda n: above[n].mean)
            texts.append(
                f"{bound} lies below {name}, which it should bound, by {above[name]}: train it longer, in a "
                f"run of its own with more epochs{_epochs(results)}."
            )
    return texts


def _tighter(results: Record, bound: str) -> list[str]:
    """Bounds that learn task after task all the same (cumulative): what learns all at once bounds them."""
    if kind_of(results, bound) == "single" or not one_stage(results, bound):
        return []
    return [n for n in results.strategies if is_bound(results, n) and not one_stage(results, n)]


def _lead(results: Record, first: str, second: str) -> Gap:
    one, two = (average_accuracy(kept(results, name) * signs(results)) for name in (first, second))
    if not (one - two > 0).any():
        return Gap(0.0, 0.0, 0.0)  # no interval needs to be drawn
    return paired_gap(one, two)


def _epochs(results: Record) -> str:
    epochs = results.config.get("epochs")
    if not isinstance(epochs, int):
        return ""
    return f" (epochs={epochs * len(results.tasks)}, say; it was {epochs})"


def _correction(results: Record) -> list[str]:
    """Where not even comparing each strategy with one baseline can show anything."""
    if smallest_p(len(results.seeds)) > 0.05:
        return []  # said of the seeds already, without any correction
    note = holm_note(sum(map(len, rivals(results))) - 1, len(results.seeds))
    return [] if note is None else [note]


def _edges(results: Record) -> list[str]:
    """Choices of tuning at the edge of what was tried: a better one may lie outside."""
    texts = []
    for name in results.strategies:
        extras = results.extras.get(name, {})
        for key, value in extras.get("chosen", {}).items():
            tried = sorted({point[key] for point in extras.get("tried", [])})
            side = "largest" if value == tried[-1] else "smallest" if value == tried[0] else None
            if side is not None and len(tried) > 1 and not (side == "smallest" and value == 0):
                further = "larger" if side == "largest" else "smaller"
                texts.append(
                    f"{name}: tuning chose {key}={value:g}, the {side} that it tried: try {further} ones too."
                )
    return texts


def _joined(results: Record) -> list[str]:
    """Settings in which runs that were put together differ."""
    found = _values(results.config.get("by_strategy", {}).values(), shown)
    opening = "Strategies come from runs that differ in more than the strategy"
    return [f"{opening}: {_each(found)}."] if found else []


def _continued(results: Record) -> list[str]:
    """Threads and versions that the run was begun or continued with, where they differ from the last ones."""
    ways = [*results.config.get("earlier", []), results.config]
    # Runs of an earlier release do not say their threads.
    flat = [{k: v for k, v in way.items() if k == "threads"} | way.get("versions", {}) for way in ways]
    found = {key: values for key, values in _values(flat, str).items() if len(values) > 1}
    opening = "The run went on with other threads or versions than it was begun with"
    return [f"{opening}: {_each(found)}."] if found else []


def _values(tables: Iterable[Mapping[str, object]], text: Callable[[object], str]) -> dict[str, list[str]]:
    """Return what tables have under each key: the different values as texts, in their order."""
    found: dict[str, dict[str, None]] = {}
    for key, value in (pair for table in tables for pair in table.items()):
        found.setdefault(key, {})[text(value)] = None
    return {key: list(values) for key, values in found.items()}


def _each(found: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{key} ({', '.join(values)})" for key, values in found.items())


def _direction(results: Record) -> list[str]:
    found = signs(results)
    if (found > 0).all():
        return []
    if (found < 0).all():
        return [
            "Lower scores are better here: forgetting, transfer, gain and the like are those of the negated "
            "scores, so they read as ever; averages are of the scores as they are."
        ]
    names = [name for name, sign in zip(results.tasks, found, strict=True) if sign < 0]
    return [
        f"Lower scores are better for {', '.join(names)} only: forgetting, transfer, gain and the like take "
        "that into account; averages over the tasks mix both and have no direction."
    ]


def _fields(results: Record) -> list[str]:
    learners, together = rivals(results)
    if not learners or not together:
        return []
    return [
        f"{', '.join(together)} learned from several tasks at once, which {', '.join(learners)} could not: "
        "bold is what is clearly best in each of the two groups."
    ]


def _missing(results: Record) -> list[str]:
    texts = [
        f"No {kind} baseline was run: {effect}."
        for kind, effect in BASELINES.items()
        if baseline(results, kind) is None
    ]
    blind = [n for n in results.strategies if n not in results.untrained and not one_stage(results, n)]
    if blind:
        texts.append(
            f"Scores before training were not recorded for {', '.join(blind)}: forward and zero-shot "
            "transfer are not reported."
        )
    return texts


def _chance(results: Record) -> list[str]:
    """Methods without memory of the old classes' data, in the setting where they are known to fail."""
    if results.config.get("setting") != "class":
        return []
    found = [name for name in results.strategies if kind_of(results, name) in CHANCE_IN_CLASS_INCREMENTAL]
    if not found:
        return []
    return [
        f"{', '.join(found)}: EWC, SI, MAS and LwF near chance in class-incremental learning is expected, "
        "not a bug (van de Ven and Tolias 2019)."
    ]


def _worlds(results: Record) -> list[str]:
    """What results of reinforcement learning leave open: returns without a best one, too few evaluations."""
    found = [*_limits(results), *_evaluations(results), *_steps(results)] if worlds.is_world(results) else []
    return [*found, *(f"Pictures of what policies do are missing: {why}." for why in film.left_out(results))]


def _limits(results: Record) -> list[str]:
    """Why scores cannot be brought to [0, 1], if they cannot."""
    for name in results.strategies:
        curve = results.curves.get(name)
        found = [kept(results, name)] + ([] if curve is None else [cleared(results, name, curve.scores)])
        try:
            for scores in found:
                worlds.normalised(results, scores, signs(results))
        except PerdureError as error:
            return [
                "Average performance, forward transfer by area and curve forgetting are not all reported: "
                f"{error}."
            ]
    return []


def _evaluations(results: Record) -> list[str]:
    """Where curves are missing, or have fewer evaluations in a stage than stand for its end."""
    counts = {
        name: int(np.bincount(curve.stage, minlength=len(results.tasks)).min())
        for name, curve in results.curves.items()
        if not one_stage(results, name)
    }
    if not counts:
        return [
            "No evaluation curve was recorded: forward transfer by area, curve forgetting and steps to "
            "threshold are not reported (run with eval_every set)."
        ]
    return [
        f"{name}: a stage has {count} evaluations, fewer than the {LAST} that curve forgetting means over: "
        "early ones of learning count among them; use a smaller eval_every."
        for name, count in counts.items()
        if count < LAST
    ]


def _steps(results: Record) -> list[str]:
    """Why steps of the environment are not known, where the stream says something of them."""
    try:
        worlds.told(results, "world_steps_per_step")
    except PerdureError as error:
        return [f"Curves are not drawn along environment steps: {error}."]
    return []
