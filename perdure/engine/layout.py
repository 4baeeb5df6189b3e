"""How the samples of a phase of several tasks are laid out: a batch of each, or rows with a label of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from perdure.core.net import takes_task
from perdure.engine.step import Program
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.shared_rows import shared_rows
from perdure.strategies.contract.composition import acting, overrides
from perdure.strategies.contract.phase import Phase

if TYPE_CHECKING:
    from perdure.engine.engine import Engine

# Hooks that read samples, and would meet several labels of each.
READING = ("batch", "begin_task", "accumulate", "end_task")


@dataclass(frozen=True, eq=False)
class Layouts:
    """The phases that learn several tasks from rows which these share: one forward pass serves all of them.

    That takes tasks with the very same inputs and outputs of their own, a model that answers for all tasks at
    once, and strategies that read no single label (:attr:`Strategy.reads_all_labels`). Elsewhere each step
    draws a batch of every task, and the losses are the same means over other samples.

    Parameters
    ----------
    engine:
        Whose program runs the phases.
    """

    engine: Engine
    _found: dict[tuple[str, str, tuple[int, ...]], tuple[Part, Program] | None] = field(
        default_factory=dict, init=False, repr=False
    )

    def _shared(self, phase: Phase) -> tuple[Part, Program] | None:
        key = (phase.name, phase.part, phase.tasks)
        if key not in self._found:
            self._found[key] = self._find(phase)
        return self._found[key]

    def _find(self, phase: Phase) -> tuple[Part, Program] | None:
        readers = [
            p
            for p in acting(self.engine.composition, phase.name)
            if not p.reads_all_labels and any(overrides(p, hook) for hook in READING)
        ]
        if not phase.batch_per_task or readers or takes_task(self.engine.program.module):
            return None
        found = shared_rows(self.engine.stream, phase.tasks, phase.part)
        if found is None:
            return None
        part, objective = found
        # All outputs are open: the objective hands each task those that are its own.
        return part, replace(self.engine.program, objective=objective, masks=None)

    def rows(self, phase: Phase) -> Part | None:
        """Return the samples that the tasks of a phase share, with a label of each, where they do."""
        found = self._shared(phase)
        return None if found is None else found[0]

    def of(self, phase: Phase) -> Program:
        """Return what runs the steps of a phase."""
        found = self._shared(phase)
        return self.engine.program if found is None else found[1]

    def separate(self, phase: Phase) -> bool:
        """Tell whether each step of a phase draws a batch of every task."""
        return phase.batch_per_task and self._shared(phase) is None

    def samples(self, tasks: Sequence[int], phase: Phase) -> int:
        """Return how many training samples some tasks of a phase have together."""
        shared = self.rows(phase)
        return sum(len(self.engine.stream[t].train) for t in tasks) if shared is None else len(shared)
