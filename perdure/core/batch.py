"""What one replica learns from in one step, and what a step counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.core.tree import forms

Params = dict[str, Tensor]
# Samples: tensors with one first axis, by name.
Rows = dict[str, Tensor]
State = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one replica learns from in one step.

    Parameters
    ----------
    rows:
        The samples: tensors with one first axis, by name. ``x [n, ...]`` are the inputs, ``y [n]`` or
        ``[n, targets]`` the labels, ``task [n]`` int64 the task that each sample belongs to, ``weight [n]``
        or ``[n, targets]`` the weight of each label in the loss: 0 marks padding, or a label that is missing.
        Worlds and memories may add others (actions, advantages, old outputs).
    current:
        Index of the task being learned, a 0-d int64 tensor (the last one when there are several).
    rng:
        The random numbers of this step.
    phase:
        Name of the phase.
    entries:
        Length of the loss vector. Where it is more than one, the row ``slot [n]`` says which entry each
        sample counts in.
    joined:
        Who put how many samples behind the incoming ones: the scope of its random numbers, and the count.
    place:
        While measuring, how many samples of the phase came before these, a 0-d tensor.
    losses:
        Once gradients are taken, the loss vector that they are of, ``[entries]``.
    """

    rows: Rows
    current: Tensor
    rng: Rng
    phase: str = "learn"
    entries: int = 1
    joined: tuple[tuple[str, int], ...] = ()
    place: Tensor | None = None
    losses: Tensor | None = None
    # What `join` made, and of what: tells whether the incoming samples are still as they came.
    _whole: tuple[Tensor, ...] = field(default=(), repr=False)
    _front: tuple[Tensor, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return f"Batch({forms(self.rows)})"

    def __len__(self) -> int:
        return len(self.rows["y"])

    @property
    def x(self) -> Tensor:
        """Inputs, ``[n, ...]``."""
        return self.rows["x"]

    @property
    def y(self) -> Tensor:
        """Labels, ``[n]`` or ``[n, targets]``."""
        return self.rows["y"]

    @property
    def task(self) -> Tensor:
        """The task that each sample belongs to, ``[n]`` int64."""
        return self.rows["task"]

    @property
    def weight(self) -> Tensor:
        """Weight in the loss, ``[n]`` or ``[n, targets]``."""
        return self.rows["weight"]

    @property
    def slot(self) -> Tensor | None:
        """Entry of the loss vector that each sample counts in, ``[n]``; ``None`` when there is one loss."""
        return self.rows.get("slot")

    @property
    def sample_weight(self) -> Tensor:
        """Weight of each sample, ``[n]``: the largest of its labels'."""
        return self.weight if self.weight.ndim == 1 else self.weight.amax(-1)

    def with_rows(self, **rows: Tensor) -> Batch:
        """Return the batch with other tensors in place of its own, or beside them."""
        return replace(self, rows={**self.rows, **rows})

    def like(self, rows: Rows) -> Batch:
        """Return a batch of other samples at the same moment: one loss, and nothing joined."""
        return replace(self, rows=rows, entries=1, joined=())

    @property
    def fresh(self) -> int:
        """How many samples came in from the stream; they lie before those that strategies joined."""
        return len(self) - sum(count for _, count in self.joined)

    @property
    def own(self) -> slice:
        """Where the samples lie that the strategy which asks has joined itself."""
        start = self.fresh
        for scope, count in self.joined:
            if scope == self.rng.scope:
                return slice(start, start + count)
            start += count
        return slice(start, start)

    @property
    def front(self) -> tuple[Tensor, Tensor]:
        """Inputs and tasks of the incoming samples: the very tensors, unless a strategy changed them."""
        if not self.joined:
            return self.x, self.task
        if self._whole and self.x is self._whole[0] and self.task is self._whole[1]:
            return self._front[0], self._front[1]
        return self.x[: self.fresh], self.task[: self.fresh]

    def head(self) -> Batch:
        """Return the batch without what strategies joined."""
        if not self.joined:
            return self
        x, task = self.front
        rows = {k: v[: self.fresh] for k, v in self.rows.items() if k not in ("x", "task")}
        return replace(self, rows={**rows, "x": x, "task": task}, joined=())

    def join(self, rows: Rows) -> Batch:
        """Return the batch with more samples behind its own.

        ``rows`` has all the names of the batch's own; ``slot`` may be left out, and is 0 then.
        """
        rows = {"slot": torch.zeros_like(rows["task"]), **rows} if self.slot is not None else rows
        if missing := [name for name in self.rows if name not in rows]:
            raise PerdureError(
                f"rows that are joined to a batch must hold {', '.join(self.rows)}; {missing[0]} is missing"
            )
        whole = {k: torch.cat([v, rows[k]]) for k, v in self.rows.items()}
        return replace(
            self,
            rows=whole,
            joined=(*self.joined, (self.rng.scope, len(rows["y"]))),
            _whole=(whole["x"], whole["task"]),
            _front=self.front,
        )


@dataclass
class Tally:
    """How many samples a step learns from: noted once, while it is recorded.

    Parameters
    ----------
    rows:
        Labels whose losses were taken and how many there are, by identity: the same batch counts once.
    times:
        How often what is being mapped is there.
    """

    rows: dict[int, tuple[Tensor, int]] = field(default_factory=dict)
    times: int = 1

    def note(self, y: Tensor) -> None:
        """Count the samples with these labels."""
        # The labels are kept with their count: a freed object's id may be given to another.
        self.rows[id(y)] = (y, self.times * len(y))

    @contextmanager
    def each(self, n: int) -> Iterator[None]:
        """Count what is noted inside ``n`` times."""
        self.times *= n
        try:
            yield
        finally:
            self.times //= n

    @property
    def total(self) -> int:
        """All samples noted."""
        return sum(count for _, count in self.rows.values())


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of ``values`` over the samples, ``sum(w v) / sum(w)``; 0 where all weights are."""
    return (values * (weight / weight.sum().clamp_min(1e-12))).sum()


# Stands for minus infinity on outputs that may not compete; finite, so that differences of outputs are.
CLOSED = -1e9


def weigh(rows: Rows, weight: Tensor) -> Rows:
    """Return samples with a weight each, ``[..., n]``, times that of their labels where these have some."""
    own = rows.get("weight")
    if own is None:
        return {**rows, "weight": weight}
    return {**rows, "weight": own * (weight if own.ndim == weight.ndim else weight.unsqueeze(-1))}
