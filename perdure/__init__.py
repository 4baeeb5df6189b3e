"""Perdure: a laboratory for continual and multi-task learning.

>>> from perdure import compare
>>> results = compare("split-digits", ["naive", "joint"], seeds=2, quiet=True)
>>> results.scores["naive"].shape  # replica, stage, task
(2, 5, 5)
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.analysis import Results, load
    from perdure.core.errors import PerdureError
    from perdure.experiment import compare
    from perdure.scenarios import check_stream
    from perdure.sensitivity import measure_sensitivity
    from perdure.testing.check_env import check_env
    from perdure.testing.check_strategy import check_strategy
    from perdure.training import Training

__all__ = [
    "PerdureError",
    "Results",
    "Training",
    "check_env",
    "check_strategy",
    "check_stream",
    "compare",
    "load",
    "measure_sensitivity",
]

_PLACES = {
    "PerdureError": "perdure.core.errors",
    "Results": "perdure.analysis",
    "Training": "perdure.training",
    "check_env": "perdure.testing",
    "check_strategy": "perdure.testing",
    "check_stream": "perdure.scenarios",
    "compare": "perdure.experiment",
    "load": "perdure.analysis",
    "measure_sensitivity": "perdure.sensitivity",
}


_ROOMS = ("analysis", "envs", "models", "optim", "scenarios", "strategies", "testing")


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `import perdure` is instant, and `perdure --help` needs no torch.
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    if name in _ROOMS:
        return import_module(f"perdure.{name}")
    if name == "__version__":
        return version("perdure")
    raise AttributeError(f"module 'perdure' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "__version__", "__doc__"])
