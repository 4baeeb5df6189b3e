"""What metrics need beside a strategy's own scores, and how to say that it was not measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from perdure.analysis.diverged import cleared, kept
from perdure.analysis.metrics import matrix, worlds
from perdure.analysis.metrics.matrix import Array, Undefined, mean
from perdure.analysis.metrics.registry import METRICS, lookup
from perdure.analysis.statistics import Gap, paired_gap
from perdure.core.errors import PerdureError, unknown

if TYPE_CHECKING:
    from perdure.analysis.record import Curve, Record

Need = Callable[["Record", str], Any]
# Needs that are scores, ``[..., task]``: metrics get them so that higher is better.
SCORES = (
    "scores", "stages", "untrained", "joint", "joint_above_naive", "single", "naive", "reference", "curve",
    "own_curve", "threshold",
)  # fmt: skip
# Kinds of strategies that learn with the data of all tasks so far, or each task alone, as no learner of a
# stream can: what they reach bounds the others. Configurations name their own under "bounds".
BOUNDS = ("joint", "cumulative", "single")


def evaluate(results: Record, metric: str, strategy: str, dialect: str = "paper") -> Array:
    """Compute a metric of a strategy from the arrays that it needs, or say which of them is missing.

    NaN for the seeds that diverged, the strategy's own or those of a baseline: everything that averages,
    compares or draws metrics leaves them out. Where lower scores are better, changes of scores are those of
    the negated ones, so that a gain is a gain; levels are in the scores' own sign.
    """
    check_strategy_name(results, strategy)
    function, needs = lookup(metric, dialect)
    values = cleared(results, strategy, _call(function, needs, results, metric, strategy))
    return -values if METRICS[metric].level and (_turn(results, metric) < 0).any() else values


def check_strategy_name(results: Record, strategy: str) -> None:
    """Refuse the name of a strategy that was not run."""
    if strategy not in results.scores:
        raise unknown("strategy", strategy, results.scores)


def signs(results: Record) -> Array:
    """What the scores of each task are multiplied with so that higher is better, 1 or -1, ``[task]``."""
    higher = results.config.get("higher_is_better", True)
    return np.where(np.broadcast_to(higher, len(results.tasks)), 1.0, -1.0)


def prefers_higher(results: Record, metric: str) -> bool:
    """Whether the larger number of a metric is the better one for these results."""
    entry = METRICS[metric]
    return bool((signs(results) > 0).all()) if entry.level else entry.higher_is_better


def _turn(results: Record, metric: str) -> Array:
    """Signs for a metric; a level over tasks that differ in their direction is that of scores as they are."""
    found = signs(results)
    return np.ones_like(found) if METRICS[metric].level and len(set(found)) > 1 else found


def against_single(results: Record, strategy: str) -> tuple[Array, Array]:
    """Differences of a strategy's scores to single-task ones, and these ones' size, ``[replica, task]``.

    Positive differences are gains, also where lower scores are better.
    """
    check_strategy_name(results, strategy)
    found: tuple[Array, Array] = _call(
        matrix.against_single, ("scores", "single"), results, "multi_task_gain", strategy
    )
    return found


def confusion(results: Record, strategy: str) -> Array:
    """Confusion matrices of a strategy, ``[replica, stage, class, class]``, NaN where a replica diverged."""
    check_strategy_name(results, strategy)
    if strategy not in results.confusions:
        raise PerdureError(
            f"expected confusion matrices of {strategy!r}; found none: they are measured where every task "
            "has classes"
        )
    return cleared(results, strategy, results.confusions[strategy])


def parts(results: Record, metric: str, strategy: str, dialect: str) -> tuple[Array, Array] | None:
    """Numerators and denominators of a metric that is a mean of ratios, ``[replica, task]``; else None."""
    _, needs = lookup(metric, dialect)
    function = METRICS[metric].parts
    return None if function is None else _call(function, needs, results, metric, strategy)


def censored(results: Record, metric: str, strategy: str) -> Array | None:
    """Whether a metric is a lower bound only, 1 or 0, ``[replica]``; None where none can be."""
    function = METRICS[metric].censored
    return None if function is None else compute(results, function, METRICS[metric].needs, metric, strategy)


def compute(
    results: Record, function: Callable[..., Array], needs: tuple[str, ...], metric: str, strategy: str
) -> Array:
    """Call a function of the arrays that ``needs`` names, ``[replica, ...]``; NaN where a replica diverged.

    What is missing is told as what ``metric`` misses.
    """
    check_strategy_name(results, strategy)
    return cleared(results, strategy, _call(function, needs, results, metric, strategy))


def _call(
    function: Callable[..., Any], needs: tuple[str, ...], results: Record, metric: str, strategy: str
) -> Any:
    turn = _turn(results, metric)
    try:
        found = ((need, NEEDS[need](results, strategy)) for need in needs)
        return function(*(value * turn if need in SCORES else value for need, value in found))
    except PerdureError as error:
        raise type(error)(f"{metric} of {strategy!r}: {error}") from None


def kind_of(results: Record, strategy: str) -> str:
    """Kind of a strategy (``"ewc"``): what the configuration says, or its name up to a bracket."""
    kinds = results.config.get("kinds", {})
    return str(kinds.get(strategy, strategy.split("(")[0].strip()))


def baseline(results: Record, *kinds: str) -> str | None:
    """Name of the first strategy of the first of ``kinds`` that was run, if any was."""
    for kind in kinds:
        for name in results.scores:
            if kind_of(results, name) == kind:
                return name
    return None


def is_bound(results: Record, strategy: str) -> bool:
    """Whether what a strategy reaches bounds the others, with which it does not compete."""
    kinds = kind_of(results, strategy).split("+")
    return strategy in results.config.get("bounds", ()) or any(kind in BOUNDS for kind in kinds)


def rivals(results: Record) -> tuple[list[str], list[str]]:
    """Name the strategies that compete: learners of one task after the other, and of several at once.

    Who learns several tasks at once (in one stage, or named under "together" in the configuration) sees what
    no learner of a stream does, and competes with its like only. Bounds do not compete.
    """
    named = results.config.get("together", ())
    each = [name for name in results.strategies if not is_bound(results, name)]
    together = [name for name in each if name in named or one_stage(results, name)]
    return [name for name in each if name not in together], together


def above_naive(results: Record) -> Gap | None:
    """How far joint is above naive, in the direction that is better; None where one of them was not run."""
    names = [baseline(results, kind) for kind in ("joint", "naive")]
    if None in names:
        return None
    joint, naive = (mean(kept(results, name)[:, -1] * signs(results)) for name in names if name is not None)
    return paired_gap(joint, naive)


def one_stage(results: Record, strategy: str) -> bool:
    """Whether the strategy learned several tasks in one stage, as joint and single-task learners do."""
    shape = results.scores[strategy].shape
    return bool(shape[1] == 1 and shape[2] > 1)


def _stages(results: Record, strategy: str) -> Any:
    if one_stage(results, strategy):
        raise Undefined(
            "expected scores after every task; found one stage: it is defined for strategies that learn "
            "task after task"
        )
    return kept(results, strategy)


def _untrained(results: Record, strategy: str) -> Any:
    if strategy not in results.untrained:
        raise PerdureError(
            "expected the scores of the untrained model; found none: score every task before training and "
            f"put them in results.untrained[{strategy!r}]"
        )
    return results.untrained[strategy]


def _final(*kinds: str) -> Need:
    def need(results: Record, strategy: str) -> Any:
        name = baseline(results, *kinds)
        if name is None:
            raise PerdureError(
                f"expected a {' or '.join(kinds)} baseline; found only {', '.join(results.scores)}: add "
                f"{kinds[0]!r} to the strategies"
            )
        return kept(results, name)[:, -1]

    return need


def _joint_above_naive(results: Record, strategy: str) -> Any:
    joint = _final("joint")(results, strategy)
    gap = above_naive(results)
    if gap is not None and not gap.clear:
        raise PerdureError(
            "expected joint clearly above naive (the interval of their difference above 0); found a "
            f"difference of {gap}: train joint longer"
        )
    return joint


def _curve(results: Record, strategy: str) -> Curve:
    if strategy not in results.curves:
        raise PerdureError("expected an evaluation curve; found none: run with eval_every set")
    return results.curves[strategy]


def _kept_curve(results: Record, strategy: str) -> Any:
    return cleared(results, strategy, _curve(results, strategy).scores)


def _staged_curve(results: Record, strategy: str) -> Any:
    _stages(results, strategy)
    return _kept_curve(results, strategy)


def _own_curve(results: Record, strategy: str) -> Any:
    """Scores while each task was learned by itself: also those of single, whose models learn one each."""
    curve = _curve(results, strategy)
    if one_stage(results, strategy) and not curve.stage.any():
        raise Undefined(
            "expected evaluations while each task was learned; found one stage for all: it is defined for "
            "strategies that learn task after task"
        )
    return _kept_curve(results, strategy)


def _single(results: Record) -> tuple[str, Curve]:
    name = baseline(results, "single")
    if name is None or name not in results.curves:
        raise PerdureError(
            "expected the evaluation curve of a single baseline; found none: add 'single' to the strategies "
            "and run with eval_every set"
        )
    return name, results.curves[name]


def _single_stage(results: Record, strategy: str) -> Any:
    stage = _single(results)[1].stage
    for task in sorted({*range(len(results.tasks))} - {*stage.tolist()}):
        raise PerdureError(
            "expected evaluations of the single baseline while it learned each task; found none for "
            f"{results.tasks[task]!r}: runs of earlier versions do not say when it was learned; else use a "
            "smaller eval_every"
        )
    return stage


def _normal(results: Record, strategy: str) -> Any:
    if worlds.is_share(results, signs(results)) and worlds.told(results, "best") is None:
        raise Undefined(
            f"expected scores to be brought to [0, 1]; found {results.config['metric']}, which lies there: "
            "it is the average accuracy"
        )
    return worlds.normalised(results, kept(results, strategy)[:, -1:], signs(results))


def _sizes(results: Record, strategy: str) -> Any:
    if "test_sizes" not in results.config:
        raise PerdureError(
            "expected the number of test samples of every task; found none: put them in "
            "results.config['test_sizes']"
        )
    return results.config["test_sizes"]


def _per_stage(key: str) -> Need:
    def need(results: Record, strategy: str) -> Any:
        found = results.extras.get(strategy, {}).get(key)
        if found is None:
            raise PerdureError(
                f"expected one number per stage in results.extras[{strategy!r}][{key!r}]; found none: it was "
                "not recorded"
            )
        return np.tile(np.asarray(found, dtype=np.float64), (len(results.seeds), 1))

    return need


NEEDS: dict[str, Need] = {
    "scores": kept,
    "stages": _stages,
    "untrained": _untrained,
    "joint": _final("joint"),
    "joint_above_naive": _joint_above_naive,
    "single": _final("single"),
    "naive": _final("naive"),
    "reference": _final("joint", "single"),
    "curve": _staged_curve,
    "curve_stage": lambda results, strategy: _curve(results, strategy).stage,
    "normal": _normal,
    "normal_curve": lambda results, strategy: worlds.normalised(
        results, _staged_curve(results, strategy), signs(results)
    ),
    "normal_single_curve": lambda results, strategy: worlds.normalised(
        results, _kept_curve(results, _single(results)[0]), signs(results)
    ),
    "single_stage": _single_stage,
    "own_curve": _own_curve,
    "curve_steps": lambda results, strategy: worlds.steps(results, _curve(results, strategy)),
    "threshold": lambda results, strategy: worlds.thresholds(results, signs(results)),
    "sizes": _sizes,
    "parameters_per_stage": _per_stage("parameters_per_stage"),
    "pass_flops": _per_stage("pass_flops"),
    "training_flops": _per_stage("training_flops"),
}
