"""Random generators that belong to no replica: Python's and NumPy's, and torch's global one at the start."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from perdure.core.errors import PerdureError


@contextmanager
def no_foreign_draws(module: nn.Module) -> Iterator[None]:
    """Refuse draws from generators that are not torch's: a record would repeat the first draw for ever.

    A number that the model keeps and changes itself is a warning: a record knows its first value alone.
    """
    generators, numbers = _generators(module), _numbers(module)
    yield
    for name, state in _generators(module).items():
        if state != generators.get(name, state):
            raise PerdureError(
                f"the model or strategy draws from {name}, which cannot be each seed's own: "
                "draw with torch (a model) or from `batch.rng` (a strategy)"
            )
    changed = sorted(name for name, value in _numbers(module).items() if value != numbers.get(name, value))
    if changed:
        warnings.warn(
            f"the model changes {', '.join(changed)} in `forward`, and recorded steps keep the first value: "
            "make it a buffer",
            RuntimeWarning,
            stacklevel=3,
        )


@contextmanager
def seeded() -> Iterator[Callable[[int], None]]:
    """Give what seeds all global generators (torch, NumPy, Python), which are as before afterwards."""
    ours, theirs = random.getstate(), np.random.get_state()  # noqa: NPY002 (what models may draw from)

    # For devices that are not there torch would note each seed, and who asked for it, for later.
    known = torch.accelerator.is_available()
    seed_torch = torch.manual_seed if known else torch.default_generator.manual_seed

    def seed_all(seed: int) -> None:
        seed_torch(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)

    with torch.random.fork_rng(devices=[]):
        try:
            yield seed_all
        finally:
            random.setstate(ours)
            np.random.set_state(theirs)  # noqa: NPY002


def _generators(module: nn.Module) -> dict[str, Any]:
    """Return the states of Python's and NumPy's generators: the global ones, and those that the model has."""
    states: dict[str, Any] = {
        "Python's `random`": random.getstate(),
        "`numpy.random`": _frozen(np.random.get_state(legacy=True)),  # noqa: NPY002 (looked at, not drawn from)
    }
    for name, value in _attributes(module):
        if isinstance(value, random.Random):
            states[name] = value.getstate()
        elif isinstance(value, np.random.Generator):
            states[name] = _frozen(value.bit_generator.state)
        elif isinstance(value, np.random.RandomState):
            states[name] = _frozen(value.get_state(legacy=True))
    return states


def _frozen(state: Any) -> Any:
    """Return the state of a generator of NumPy's as something that can be compared."""
    if isinstance(state, np.ndarray):
        return state.tobytes()
    if isinstance(state, dict):
        return {k: _frozen(v) for k, v in state.items()}
    return tuple(_frozen(v) for v in state) if isinstance(state, tuple) else state


def _numbers(module: nn.Module) -> dict[str, int | float]:
    """Return the numbers that a model keeps in attributes, but for torch's own ``training``."""
    return {
        name: value
        for name, value in _attributes(module)
        if isinstance(value, int | float) and not name.endswith("`training`")
    }


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for part in module.modules():
        for key, value in vars(part).items():
            yield f"{type(part).__name__}'s `{key}`", value
