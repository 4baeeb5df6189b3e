"""Several objectives side by side: of a sample's labels, and of a stream's tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from perdure.core.batch import CLOSED, Batch
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.objective import Objective, same


@dataclass(frozen=True)
class Targets(Objective):
    """Several labels for each sample, ``[n, targets]``: real numbers and classes side by side, some missing.

    Loss j is that of the j-th objective, meaned over the samples whose j-th label is there; the sum of them
    is minimised. The score is the mean of the targets' scores.

    Parameters
    ----------
    each:
        Objective of each target.
    outputs:
        How many outputs each target reads, one behind the other.
    """

    each: tuple[Objective, ...]
    outputs: tuple[int, ...]
    real: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(self.each) != len(self.outputs) or len(self.each) < 2:
            raise PerdureError(
                f"expected the objectives of two targets or more, and their outputs; found {len(self.each)} "
                f"objectives and {len(self.outputs)} numbers of outputs"
            )

    @property
    def metric(self) -> str:  # type: ignore[override]
        """Name of the score: that of all targets, or theirs side by side."""
        return _metric(self.each)

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether a higher score is a better one."""
        return all(one.higher_is_better for one in self.each)

    @property
    def targets(self) -> int:
        return len(self.each)

    @property
    def reads(self) -> int:
        return sum(self.outputs)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Loss of each label, ``[n, targets]``."""
        return self._stack(output, batch, lambda one, out, own: one.loss(out, own))

    def surprise(self, output: Tensor, batch: Batch) -> Tensor:
        """``-log p`` of each label, ``[n, targets]``."""
        return self._stack(output, batch, lambda one, out, own: one.surprise(out, own))

    def score(self, output: Tensor, batch: Batch) -> Tensor:
        """What each target's score adds up, and which labels are there, ``[n, targets * width]``."""
        widths = [one.width(n) or 1 for one, n in zip(self.each, self.outputs, strict=True)]

        def one(objective: Objective, out: Tensor, own: Batch) -> Tensor:
            found = objective.score(out, own)
            found = found.unsqueeze(-1) if found.ndim == 1 else found
            # As exact as the objective made it: R2 is a difference of large sums.
            exact = torch.promote_types(found.dtype, output.dtype)
            filled = nn.functional.pad(found.to(exact), (0, max(widths) - found.shape[-1]))
            there = (own.weight > 0).to(exact).unsqueeze(-1)
            return torch.cat([filled, torch.ones_like(there)], -1) * there

        return self._stack(output, batch, one).flatten(1)

    def by_target(self, sums: Tensor) -> Tensor:
        """Score of each target, ``[..., targets]``, from the sums over a task's samples."""
        blocks = sums.reshape(*sums.shape[:-1], self.targets, -1)
        scores = []
        for j, (one, n) in enumerate(zip(self.each, self.outputs, strict=True)):
            own, there = blocks[..., j, : one.width(n) or 1], blocks[..., j, -1]
            scores.append(one.total(own, there).to(sums.dtype))
        return torch.stack(scores, -1)

    def total(self, sums: Tensor, count: Tensor) -> Tensor:
        return self.by_target(sums).mean(-1)

    def _stack(
        self, output: Tensor, batch: Batch, function: Callable[[Objective, Tensor, Batch], Tensor]
    ) -> Tensor:
        found = []
        for j, (one, out) in enumerate(
            zip(self.each, torch.split(output, list(self.outputs), -1), strict=True)
        ):
            y = batch.y[:, j]
            own = batch.with_rows(y=y if one.real else y.long(), weight=batch.weight[:, j])
            found.append(function(one, out, own))
        return torch.stack(found, 1)


@dataclass(frozen=True, eq=False)
class PerTask(Objective):
    """The objectives of a stream's tasks, each applied to the samples of its own tasks.

    Parameters
    ----------
    kinds:
        The different objectives.
    which:
        Place of each task's objective among them, ``[tasks]``.
    classes:
        Outputs of each task, ``[tasks]`` tuples.
    outputs:
        How many outputs the stream has.
    """

    kinds: tuple[Objective, ...]
    which: tuple[int, ...]
    classes: tuple[tuple[int, ...], ...]
    outputs: int

    @property
    def metric(self) -> str:  # type: ignore[override]
        """Name of the score: that of all tasks, or theirs side by side."""
        return _metric(self.kinds)

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether a higher score is a better one: where tasks differ in that, a note says so."""
        return all(kind.higher_is_better for kind in self.kinds)

    @property
    def targets(self) -> int:
        return self.kinds[0].targets

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        return self._each(output, batch, lambda kind, out, own: kind.loss(out, own))

    def surprise(self, output: Tensor, batch: Batch) -> Tensor:
        return self._each(output, batch, lambda kind, out, own: kind.surprise(out, own))

    def score(self, output: Tensor, batch: Batch) -> Tensor:
        width = max(kind.width(self.outputs) or 1 for kind in self.kinds)

        def one(kind: Objective, out: Tensor, own: Batch) -> Tensor:
            found = kind.score(out, own)
            found = found.unsqueeze(-1) if found.ndim == 1 else found
            return nn.functional.pad(found, (0, width - found.shape[-1]))

        return self._each(output, batch, one)

    def totals(self, sums: Tensor, counts: Tensor) -> Tensor:
        """Scores of all tasks, ``[..., tasks]``, from sums ``[..., tasks, width]`` and counts ``[tasks]``."""
        widths = [kind.width(self.outputs) or 1 for kind in self.kinds]
        scores = [
            self.kinds[k].total(sums[..., t, : widths[k]], counts[..., t]) for t, k in enumerate(self.which)
        ]
        return torch.stack([score.to(sums.dtype) for score in scores], -1)

    def _not_classes(self) -> list[bool]:
        """Tell of each output whether only tasks use it that read theirs alone: it competes with none."""
        competing = {
            c
            for k, own in zip(self.which, self.classes, strict=True)
            if self.kinds[k].reads is None
            for c in own
        }
        return [c not in competing for c in range(self.outputs)]

    def _each(
        self, output: Tensor, batch: Batch, function: Callable[[Objective, Tensor, Batch], Tensor]
    ) -> Tensor:
        """Apply ``function`` to the samples of each objective, with the outputs that it reads."""
        place = torch.tensor(self.which, device=output.device).index_select(0, batch.task)
        firsts = torch.tensor([min(own, default=0) for own in self.classes], device=output.device)
        first = firsts.index_select(0, batch.task).unsqueeze(-1)
        found: Tensor | None = None
        for i, kind in enumerate(self.kinds):
            mine = place == i
            # Labels of other kinds become 0, which every objective can read.
            y = torch.where(mine.view(-1, *(1,) * (batch.y.ndim - 1)), batch.y, torch.zeros_like(batch.y))
            if kind.reads is None:
                out = output.masked_fill(torch.tensor(self._not_classes(), device=output.device), CLOSED)
            else:
                out = output.gather(-1, first + torch.arange(kind.reads, device=output.device))
            each = function(kind, out, batch.with_rows(y=y if kind.real else y.long()))
            others = torch.zeros_like(each) if found is None else found
            found = torch.where(mine.view(-1, *(1,) * (each.ndim - 1)), each, others)
        assert found is not None
        return found


def together(objectives: Sequence[Objective], classes: Sequence[Sequence[int]], outputs: int) -> Objective:
    """Return the objective of a stream: that of all tasks where they share one, else theirs side by side."""
    kinds: list[Objective] = []
    which = []
    for objective in objectives:
        place = next((i for i, kind in enumerate(kinds) if same(kind, objective)), len(kinds))
        kinds += [objective] if place == len(kinds) else []
        which.append(place)
    if len(kinds) == 1 and kinds[0].reads in (None, outputs):
        return kinds[0]
    return PerTask(tuple(kinds), tuple(which), tuple(tuple(own) for own in classes), outputs)


def totals(objective: Objective, sums: Tensor, counts: Tensor) -> Tensor:
    """Scores of all tasks, ``[..., tasks]``, from sums ``[..., tasks, width]`` and counts ``[tasks]``."""
    if isinstance(objective, PerTask):
        return objective.totals(sums, counts)
    return objective.total(sums, counts)


def score_task(objective: Objective, task: int, output: Tensor, batch: Batch) -> Tensor:
    """Score of one task's samples, 0-d: what a learner that answers all of them at once is given."""
    sums = objective.score(output, batch)
    sums = (sums.unsqueeze(-1) if sums.ndim == 1 else sums).double().sum(0)
    count = torch.tensor(len(output), device=output.device)
    if not isinstance(objective, PerTask):
        return objective.total(sums, count)
    kind = objective.kinds[objective.which[task]]
    return kind.total(sums[: kind.width(objective.outputs) or 1], count)


def _metric(objectives: Sequence[Objective]) -> str:
    """Name the score of several objectives: that of all, or theirs side by side."""
    return " and ".join(dict.fromkeys(one.metric for one in objectives))
