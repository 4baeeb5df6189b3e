"""Streams of tasks: sources, generators, operators, and the checks that a stream must pass."""

from perdure.scenarios import sources
from perdure.scenarios.contract.check_stream import check_stream
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.generators import (
    adult_two_targets,
    cartpole_physics,
    covariance_alignment,
    critical_periods,
    from_arrays,
    from_datasets,
    multitab_bench,
    permuted,
    r_mtgb,
    rotated,
    split,
    table_targets,
)
from perdure.scenarios.operators import blur, concat, imbalance, limit, noise_labels, repeat, take
from perdure.scenarios.registry import STREAMS, get, names, register
from perdure.scenarios.source import SOURCES, Source
from perdure.scenarios.sources.image_dataset import ImageFiles
from perdure.scenarios.sources.sentences import tokenize
from perdure.scenarios.sources.tables import table

__all__ = [
    "SOURCES",
    "STREAMS",
    "Classification",
    "ImageFiles",
    "Objective",
    "Part",
    "Regression",
    "Source",
    "Stream",
    "Targets",
    "Task",
    "adult_two_targets",
    "blur",
    "cartpole_physics",
    "check_stream",
    "concat",
    "covariance_alignment",
    "critical_periods",
    "from_arrays",
    "from_datasets",
    "get",
    "imbalance",
    "limit",
    "multitab_bench",
    "names",
    "noise_labels",
    "permuted",
    "r_mtgb",
    "register",
    "repeat",
    "rotated",
    "sources",
    "split",
    "table",
    "table_targets",
    "take",
    "tokenize",
]
