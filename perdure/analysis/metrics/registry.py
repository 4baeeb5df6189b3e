"""The metrics by name: what each needs, which way is better, and what other libraries mean by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from perdure.analysis.metrics import curves, dialects, steps
from perdure.analysis.metrics import matrix as metrics
from perdure.analysis.metrics.matrix import Array
from perdure.core.errors import PerdureError, unknown

Function = Callable[..., Array]


class Metric(NamedTuple):
    """A metric of results.

    Parameters
    ----------
    function:
        Takes the arrays that ``needs`` names, in that order, and returns one number per replica.
    needs:
        Keys of :data:`perdure.analysis.metrics.needs.NEEDS`.
    higher_is_better:
        Whether the larger number is the better one.
    label:
        What tables and figures call it.
    formula:
        The definition, in plain text.
    parts:
        Of a mean of ratios over tasks whose denominators may be near zero for some seed: the function that
        gives numerators and denominators, ``[replica, task]``. Tables then divide means over seeds.
    level:
        Whether the number is itself a score, which is better in the direction in which scores are; others
        are changes of scores, and shares.
    censored:
        Of a number that may be a lower bound only: the function that tells of which replicas it is, 1 or 0.
    digits:
        How many decimals tables show.
    """

    function: Function
    needs: tuple[str, ...]
    higher_is_better: bool
    label: str
    formula: str
    parts: Callable[..., tuple[Array, Array]] | None = None
    level: bool = False
    censored: Callable[..., Array] | None = None
    digits: int = 3


METRICS: dict[str, Metric] = {
    "average_accuracy": Metric(
        metrics.average_accuracy, ("scores",), True, "Average accuracy", "mean_j R[T,j]", level=True
    ),
    "average_performance": Metric(
        metrics.average_performance,
        ("normal",),
        True,
        "Average performance",
        "mean_j r[T,j], r = (R - worst) / (best - worst)",
    ),
    "average_incremental_accuracy": Metric(
        metrics.average_incremental_accuracy,
        ("stages",),
        True,
        "Average incremental accuracy",
        "mean_t mean_{j<=t} R[t,j]",
        level=True,
    ),
    "pooled_incremental_accuracy": Metric(
        metrics.pooled_incremental_accuracy,
        ("stages", "sizes"),
        True,
        "Average incremental accuracy (pooled)",
        "mean_t sum_{j<=t} n_j R[t,j] / sum_{j<=t} n_j",
        level=True,
    ),
    "learning_accuracy": Metric(
        metrics.learning_accuracy, ("stages",), True, "Learning accuracy", "mean_j R[j,j]", level=True
    ),
    "forgetting": Metric(
        metrics.forgetting, ("stages",), False, "Forgetting", "mean_{j<T} (max_{l<T} R[l,j] - R[T,j])"
    ),
    "backward_transfer": Metric(
        metrics.backward_transfer, ("stages",), True, "Backward transfer", "mean_{j<T} (R[T,j] - R[j,j])"
    ),
    "forward_transfer": Metric(
        metrics.forward_transfer,
        ("stages", "untrained"),
        True,
        "Forward transfer",
        "mean_{j>=2} (R[j-1,j] - b_j)",
    ),
    "intransigence": Metric(
        metrics.intransigence, ("stages", "reference"), False, "Intransigence", "mean_j (a*_j - R[j,j])"
    ),
    "gap_closed": Metric(
        metrics.gap_closed,
        ("scores", "naive", "joint_above_naive"),
        True,
        "Gap closed",
        "(ACC - ACC naive) / (ACC joint - ACC naive), means over seeds divided",
        metrics.gap_closed_parts,
    ),
    "multi_task_gain": Metric(
        metrics.multi_task_gain,
        ("scores", "single"),
        True,
        "Multi-task gain (%)",
        "(100/T) sum_t (M_t - S_t) / |S_t|, means over seeds divided",
        metrics.multi_task_gain_parts,
        digits=1,
    ),
    "safeness": Metric(metrics.safeness, ("scores", "single"), True, "Safeness", "min_t (M_t - S_t)"),
    "isolated_forgetting": Metric(
        metrics.isolated_forgetting,
        ("stages",),
        False,
        "Isolated forgetting",
        "mean_{j<i} (R[i-1,j] - R[i,j]) / max_l |R[l,j]|",
    ),
    "zero_shot_transfer": Metric(
        metrics.zero_shot_transfer,
        ("stages", "untrained"),
        True,
        "Zero-shot transfer",
        "mean_{j>i} (R[i,j] - R[i-1,j]) / max_l |R[l,j]|",
    ),
    "anytime_average_accuracy": Metric(
        curves.anytime_average_accuracy,
        ("curve", "curve_stage"),
        True,
        "Anytime average accuracy",
        "mean over evaluations of the mean over seen tasks",
        level=True,
    ),
    "min_accuracy": Metric(
        curves.min_accuracy,
        ("curve", "curve_stage"),
        True,
        "min-ACC",
        "mean_{j<T} min score on task j since learned",
        level=True,
    ),
    "worst_case_accuracy": Metric(
        curves.worst_case_accuracy,
        ("curve", "curve_stage"),
        True,
        "WC-ACC",
        "A(current) / T + (1 - 1/T) min-ACC",
        level=True,
    ),
    "windowed_forgetting": Metric(
        curves.windowed_forgetting,
        ("curve", "curve_stage"),
        False,
        "WF10",
        "mean_j largest drop inside 10 evaluations",
    ),
    "windowed_plasticity": Metric(
        curves.windowed_plasticity,
        ("curve", "curve_stage"),
        True,
        "WP10",
        "mean_j largest rise inside 10 evaluations",
    ),
    "rl_forward_transfer": Metric(
        curves.rl_forward_transfer,
        ("normal_curve", "curve_stage", "normal_single_curve", "single_stage"),
        True,
        "Forward transfer (AUC)",
        "mean_j (AUC_j - AUC^b_j) / (1 - AUC^b_j) of scores in [0, 1], means over seeds divided",
        curves.rl_forward_transfer_parts,
    ),
    "rl_forgetting": Metric(
        curves.rl_forgetting,
        ("normal_curve", "curve_stage"),
        False,
        "Forgetting (curve)",
        "mean_j (score at the end of task j - score at the end), of scores in [0, 1], means of the last 5 "
        "evaluations of a stage, or of all where there are fewer",
    ),
    "steps_to_threshold": Metric(
        steps.steps_to_threshold,
        ("own_curve", "curve_stage", "curve_steps", "threshold"),
        False,
        "Steps to threshold",
        "mean_j min(steps of task j's own stage until its score reaches the threshold, steps of the stage)",
        censored=steps.censored,
        digits=0,
    ),
    "model_size_efficiency": Metric(
        metrics.model_size_efficiency,
        ("parameters_per_stage",),
        True,
        "Model size efficiency",
        "min(1, mean_i theta_1 / theta_i)",
    ),
    "compute_efficiency": Metric(
        metrics.compute_efficiency,
        ("pass_flops", "training_flops"),
        True,
        "Compute efficiency",
        "min(1, mean_i Ops(one pass over Tr_i) / Ops(training on Tr_i))",
    ),
}

Definition = tuple[Function, tuple[str, ...]]


def _as_the_paper(*names: str) -> dict[str, Definition]:
    """Return the papers' definitions of some metrics."""
    return {name: METRICS[name][:2] for name in names}


_STAGES, _POOLED = ("stages",), ("stages", "sizes")

# What each library computes under a metric's name; see dialects.py. What is missing is refused.
DIALECTS: dict[str, dict[str, Definition]] = {
    "paper": _as_the_paper(*METRICS),
    "avalanche": {
        "average_accuracy": (dialects.average_accuracy_avalanche, ("scores", "sizes")),
        "forgetting": (dialects.forgetting_avalanche, _STAGES),
        **_as_the_paper("backward_transfer", "forward_transfer"),
    },
    "mammoth": {
        "forgetting": (dialects.forgetting_mammoth, _STAGES),
        **_as_the_paper("average_accuracy", "backward_transfer", "forward_transfer"),
    },
    "pilot": {
        "average_incremental_accuracy": (metrics.pooled_incremental_accuracy, _POOLED),
        "forgetting": (dialects.forgetting_mammoth, _STAGES),
    },
    "capymoa": {
        "backward_transfer": (dialects.backward_transfer_capymoa, _STAGES),
        "forward_transfer": (dialects.forward_transfer_capymoa, _STAGES),
        **_as_the_paper("average_accuracy", "average_incremental_accuracy", "anytime_average_accuracy"),
    },
    "continuum": {
        "forgetting": (dialects.forgetting_continuum, _STAGES),
        "backward_transfer": (dialects.backward_transfer_continuum, _STAGES),
        "forward_transfer": (dialects.forward_transfer_continuum, _STAGES),
        **_as_the_paper("model_size_efficiency"),
    },
    "libcontinual": {
        "forgetting": (dialects.forgetting_libcontinual, _STAGES),
        "backward_transfer": (dialects.backward_transfer_continuum, _STAGES),
        **_as_the_paper("average_accuracy", "average_incremental_accuracy"),
    },
}


def defined(dialect: str = "paper") -> dict[str, Definition]:
    """Return what a dialect defines, by the name of the metric."""
    if dialect not in DIALECTS:
        raise unknown("dialect", dialect, DIALECTS)
    return DIALECTS[dialect]


def lookup(name: str, dialect: str = "paper") -> Definition:
    """Return the function of metric ``name`` in ``dialect`` and what it needs.

    A metric that the dialect's library does not compute is refused.
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    known = defined(dialect)
    if name not in known:
        raise PerdureError(
            f"expected a metric that the dialect {dialect!r} defines ({', '.join(known)}); found {name!r}"
        )
    return known[name]
