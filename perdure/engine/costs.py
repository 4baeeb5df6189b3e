"""What a run costs: seconds by purpose, steps, samples, operations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import torch


@dataclass
class Costs:
    """What a run cost: seconds by purpose for all replicas, the rest for one replica."""

    seconds: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    steps_apart: int = 0
    samples_seen: int = 0
    flops: float = 0.0
    stages: list[float] = field(default_factory=list)

    def end_stage(self) -> None:
        """Note the operations so far."""
        self.stages.append(self.flops)

    def per_stage(self, one_pass: list[float]) -> dict[str, list[float]]:
        """Return the operations of each stage: of ``one_pass`` over its own data, and of all its training.

        Nothing where no operation was counted.
        """
        if not self.flops:
            return {}
        return {"pass_flops": one_pass, "training_flops": [b - a for a, b in pairwise([0.0, *self.stages])]}


class Clock:
    """Splits the time since it was made among purposes; ``other`` is what no purpose claims."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._purpose, self._since = "other", time.perf_counter()

    @contextmanager
    def during(self, costs: Costs, purpose: str) -> Iterator[None]:
        """Count the time spent inside for ``purpose``, and no longer for the one around it."""
        outer = self.switch(costs, purpose)
        try:
            yield
        finally:
            self.switch(costs, outer)

    def switch(self, costs: Costs, purpose: str) -> str:
        """Count from now on for another purpose, and return the one before."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        before, now = self._purpose, time.perf_counter()
        costs.seconds[before] = costs.seconds.get(before, 0.0) + now - self._since
        self._purpose, self._since = purpose, now
        return before
