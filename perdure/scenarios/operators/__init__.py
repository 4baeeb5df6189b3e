"""Functions from streams to streams; ``OPERATORS`` holds them by name."""

from perdure.core.registry import Registry
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.operators.boundaries import blur
from perdure.scenarios.operators.order import concat, repeat, take
from perdure.scenarios.operators.samples import imbalance, limit, noise_labels

# `concat` takes a second stream: perdure.scenarios.registry enters it, in a form that takes a name.
OPERATORS: Registry[Stream] = Registry("operator", "perdure.scenarios")
for _operator in (blur, repeat, take, imbalance, limit, noise_labels):
    OPERATORS.register(_operator.__name__)(_operator)

__all__ = ["OPERATORS", "blur", "concat", "imbalance", "limit", "noise_labels", "repeat", "take"]
