"""Functions that make streams of sources and arrays, and streams of their own."""

from perdure.scenarios.generators.adult_two_targets import adult_two_targets
from perdure.scenarios.generators.arrays import from_arrays
from perdure.scenarios.generators.changed import permuted, rotated
from perdure.scenarios.generators.covariance_alignment import covariance_alignment
from perdure.scenarios.generators.critical_periods import critical_periods
from perdure.scenarios.generators.datasets import from_datasets
from perdure.scenarios.generators.device import (
    device_apps,
    device_layouts,
    device_parameters,
    device_screens,
    device_templates,
)
from perdure.scenarios.generators.divided import split
from perdure.scenarios.generators.drift import cartpole_drift, pendulum_drift
from perdure.scenarios.generators.goals import catch_shift, grid_world_goals, reacher_targets
from perdure.scenarios.generators.hosted import gymnasium_ids
from perdure.scenarios.generators.hosted_ready import minigrid_five, mujoco_gravity
from perdure.scenarios.generators.multitab_bench import multitab_bench
from perdure.scenarios.generators.physics import acrobot_physics, cartpole_physics, pendulum_physics
from perdure.scenarios.generators.r_mtgb import r_mtgb
from perdure.scenarios.generators.sizes import classic_control, grid_world_sizes
from perdure.scenarios.generators.table_targets import table_targets
from perdure.scenarios.generators.team_grids import alicebob_agents, skirmish_units
from perdure.scenarios.generators.teams import reference_games, referential_games, spread_agents

__all__ = [
    "acrobot_physics",
    "adult_two_targets",
    "alicebob_agents",
    "cartpole_drift",
    "cartpole_physics",
    "catch_shift",
    "classic_control",
    "covariance_alignment",
    "critical_periods",
    "device_apps",
    "device_layouts",
    "device_parameters",
    "device_screens",
    "device_templates",
    "from_arrays",
    "from_datasets",
    "grid_world_goals",
    "grid_world_sizes",
    "gymnasium_ids",
    "minigrid_five",
    "mujoco_gravity",
    "multitab_bench",
    "pendulum_drift",
    "pendulum_physics",
    "permuted",
    "r_mtgb",
    "reacher_targets",
    "reference_games",
    "referential_games",
    "rotated",
    "skirmish_units",
    "split",
    "spread_agents",
    "table_targets",
]
