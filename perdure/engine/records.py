"""What a run has recorded, by key: mapped functions run as records, or as they are where they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from perdure.core.errors import PerdureError
from perdure.core.foreign_draws import no_foreign_draws
from perdure.engine.costs import Clock, Costs
from perdure.engine.flops import CountFlops
from perdure.engine.recording.trace import Traced
from perdure.engine.replicas import Mapper

# Records whose operations are no training.
SCORING = ("score", "episode")


@dataclass(eq=False)
class Records:
    """Runs mapped functions, recording each the first time, and counts their operations.

    Parameters
    ----------
    module:
        The architecture: its own generators must not be drawn from.
    mapper:
        What maps over replicas; without mapping there is nothing to record.
    device:
        Where the replicas are.
    clock, costs:
        Where the time of recording, and operations, are counted.
    """

    module: nn.Module
    mapper: Mapper
    device: torch.device
    clock: Clock
    costs: Costs
    made: dict[Any, Traced | None] = field(default_factory=dict)
    _flops: dict[Any, float] = field(default_factory=dict)  # of what runs unrecorded

    def loop(
        self, key: Any, body: Callable[..., Any], carry: Any, times: int, *shared: Any, first: int = 0,
        look: Callable[[Any], None] | None = None,
    ) -> Any:  # fmt: skip
        """Run ``carry = body(carry, *shared, at)`` so many times, recorded once: rollouts, and episodes.

        ``at`` is a 0-d tensor that counts from ``first``: what draws go by. ``look`` is shown what is carried
        after each step, and must copy what it keeps: the next step writes on it.
        """
        steps = torch.arange(first, first + times, device=self.device)
        for i in range(times):
            carry = self.run(key, body, (carry, *shared, steps[i]), first + i)
            if look is not None:
                look(carry)
        return carry

    def run(self, key: Any, mapped: Callable[..., Any], arguments: tuple[Any, ...], step: int = 0) -> Any:
        """Run a mapped function, recording it the first time; one that cannot be recorded runs as it is."""
        if self.mapper.enabled and key not in self.made:
            self.made[key] = self._record(key, mapped, arguments)
        record = self.made.get(key)
        if record is None:
            return self.unrecorded(key, mapped, arguments)
        with torch.no_grad():
            if key[0] not in SCORING:
                self.costs.flops += record.flops / self.mapper.replicas
            return record(*arguments, step=step)

    def _record(self, key: Any, mapped: Callable[..., Any], arguments: tuple[Any, ...]) -> Traced | None:
        """Record a function; ``None`` if what it does depends on values."""
        try:
            with self.clock.during(self.costs, "warmup"), no_foreign_draws(self.module):
                return Traced(mapped, arguments, donate=1)
        except PerdureError:
            raise
        except Exception as error:
            # A failure that is not about recording will show when the function runs.
            self.mapper.refuse(error, key)
            return None

    def unrecorded(self, key: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Run what has no record; its operations are counted the first time, and taken as the same after."""
        with torch.no_grad():
            if key in self._flops:
                result = function(*arguments)
            else:
                with CountFlops() as counted, no_foreign_draws(self.module):
                    result = function(*arguments)
                self._flops[key] = counted.total
        if key[0] not in SCORING:
            self.costs.flops += self._flops[key] / self.mapper.replicas
        return result

    def forget(self) -> None:
        """Let go of what records remember of a phase: its data, and the replicas as they were."""
        for record in self.made.values():
            if record is not None:
                record.forget()
