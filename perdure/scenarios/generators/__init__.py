"""Functions that make streams of sources and arrays."""

from perdure.scenarios.generators.arrays import from_arrays
from perdure.scenarios.generators.changed import permuted, rotated
from perdure.scenarios.generators.datasets import from_datasets
from perdure.scenarios.generators.divided import split
from perdure.scenarios.generators.multitab_bench import multitab_bench

__all__ = ["from_arrays", "from_datasets", "multitab_bench", "permuted", "rotated", "split"]
