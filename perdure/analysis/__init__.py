"""Analysis: pure functions of the score tensor, honest statistics, figures and a report.

Nothing here imports another room of Perdure, and importing it loads neither pandas nor matplotlib.
"""

from perdure.analysis.messages import (
    Information,
    Messages,
    Understood,
    codes_of,
    mutual_information,
    understood,
)
from perdure.analysis.metrics.confusion import per_class_accuracy
from perdure.analysis.metrics.curves import (
    anytime_average_accuracy,
    area_under_curve,
    min_accuracy,
    rl_forgetting,
    rl_forward_transfer,
    windowed_forgetting,
    windowed_plasticity,
    worst_case_accuracy,
)
from perdure.analysis.metrics.matrix import (
    average_accuracy,
    average_incremental_accuracy,
    average_over_seen,
    average_performance,
    backward_transfer,
    compute_efficiency,
    forgetting,
    forgetting_so_far,
    forward_transfer,
    gap_closed,
    intransigence,
    isolated_forgetting,
    isolated_forgetting_matrix,
    learning_accuracy,
    model_size_efficiency,
    multi_task_gain,
    plasticity,
    pooled_incremental_accuracy,
    safeness,
    zero_shot_transfer,
    zero_shot_transfer_matrix,
)
from perdure.analysis.metrics.registry import DIALECTS, METRICS, Metric
from perdure.analysis.metrics.steps import environment_steps, steps_to_threshold, time_to_threshold
from perdure.analysis.notes import notes
from perdure.analysis.outliers import outlier_auroc
from perdure.analysis.plots.film import plot_filmstrip, write_gif
from perdure.analysis.plots.messages import plot_bits, plot_links
from perdure.analysis.plots.pareto import plot_front
from perdure.analysis.plots.sensitivity import plot_sensitivity
from perdure.analysis.results import Curve, Results, load
from perdure.analysis.statistics import (
    bootstrap_band,
    bootstrap_interval,
    holm,
    interquartile_mean,
    paired_test,
    performance_profile,
    probability_of_improvement,
    seed_warnings,
)
from perdure.analysis.store import check_out

__all__ = [
    "DIALECTS",
    "METRICS",
    "Curve",
    "Information",
    "Messages",
    "Metric",
    "Results",
    "Understood",
    "anytime_average_accuracy",
    "area_under_curve",
    "average_accuracy",
    "average_incremental_accuracy",
    "average_over_seen",
    "average_performance",
    "backward_transfer",
    "bootstrap_band",
    "bootstrap_interval",
    "check_out",
    "codes_of",
    "compute_efficiency",
    "environment_steps",
    "forgetting",
    "forgetting_so_far",
    "forward_transfer",
    "gap_closed",
    "holm",
    "interquartile_mean",
    "intransigence",
    "isolated_forgetting",
    "isolated_forgetting_matrix",
    "learning_accuracy",
    "load",
    "min_accuracy",
    "model_size_efficiency",
    "multi_task_gain",
    "mutual_information",
    "notes",
    "outlier_auroc",
    "paired_test",
    "per_class_accuracy",
    "performance_profile",
    "plasticity",
    "plot_bits",
    "plot_filmstrip",
    "plot_front",
    "plot_links",
    "plot_sensitivity",
    "pooled_incremental_accuracy",
    "probability_of_improvement",
    "rl_forgetting",
    "rl_forward_transfer",
    "safeness",
    "seed_warnings",
    "steps_to_threshold",
    "time_to_threshold",
    "understood",
    "windowed_forgetting",
    "windowed_plasticity",
    "worst_case_accuracy",
    "write_gif",
    "zero_shot_transfer",
    "zero_shot_transfer_matrix",
]
