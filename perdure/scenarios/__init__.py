"""Streams of tasks: sources, generators, operators, and the checks that a stream must pass."""

from perdure.scenarios import sources
from perdure.scenarios.contract.check_stream import check_stream
from perdure.scenarios.contract.objective import Classification, Objective, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.generators import (
    acrobot_physics,
    adult_two_targets,
    alicebob_agents,
    cartpole_physics,
    catch_shift,
    covariance_alignment,
    critical_periods,
    device_apps,
    device_layouts,
    device_templates,
    from_arrays,
    from_datasets,
    grid_world_goals,
    gymnasium_ids,
    minigrid_five,
    mujoco_gravity,
    multitab_bench,
    pendulum_physics,
    permuted,
    r_mtgb,
    reacher_targets,
    reference_games,
    referential_games,
    rotated,
    skirmish_units,
    split,
    spread_agents,
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
    "acrobot_physics",
    "adult_two_targets",
    "alicebob_agents",
    "blur",
    "cartpole_physics",
    "catch_shift",
    "check_stream",
    "concat",
    "covariance_alignment",
    "critical_periods",
    "device_apps",
    "device_layouts",
    "device_templates",
    "from_arrays",
    "from_datasets",
    "get",
    "grid_world_goals",
    "gymnasium_ids",
    "imbalance",
    "limit",
    "minigrid_five",
    "mujoco_gravity",
    "multitab_bench",
    "names",
    "noise_labels",
    "pendulum_physics",
    "permuted",
    "r_mtgb",
    "reacher_targets",
    "reference_games",
    "referential_games",
    "register",
    "repeat",
    "rotated",
    "skirmish_units",
    "sources",
    "split",
    "spread_agents",
    "table",
    "table_targets",
    "take",
    "tokenize",
]
