"""What one replica learns from in one step, and what a step counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from perdure.core.random import Rng

Params = dict[str, Tensor]
State = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one replica learns from in one step.

    Parameters
    ----------
    x, y:
        Inputs ``[n, ...]`` and labels ``[n]``.
    task:
        Index of the task that each sample belongs to, ``[n]`` int64.
    weight:
        Weight of each sample in the loss, ``[n]``: 0 marks padding.
    current:
        Index of the task being learned, a 0-d int64 tensor (the last one when there are several).
    rng:
        The random numbers of this step.
    phase:
        Name of the phase.
    slot:
        Entry of the loss vector that each sample counts in, ``[n]``; ``None`` when there is one loss.
    entries:
        Length of the loss vector.
    joined:
        Who put how many samples behind the incoming ones: the scope of its random numbers, and the count.
    place:
        While measuring, how many samples of the phase came before these, a 0-d tensor.
    """

    x: Tensor
    y: Tensor
    task: Tensor
    weight: Tensor
    current: Tensor
    rng: Rng
    phase: str = "learn"
    slot: Tensor | None = None
    entries: int = 1
    joined: tuple[tuple[str, int], ...] = ()
    place: Tensor | None = None
    # What `join` made, and of what: tells whether the incoming samples are still as they came.
    _whole: tuple[Tensor, ...] = field(default=(), repr=False)
    _front: tuple[Tensor, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return self.y.shape[0]

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
        n = self.fresh
        x, task = self.front
        slot = None if self.slot is None else self.slot[:n]
        return replace(self, x=x, y=self.y[:n], task=task, weight=self.weight[:n], slot=slot, joined=())

    def join(self, x: Tensor, y: Tensor, task: Tensor, weight: Tensor) -> Batch:
        """Return the batch with more samples behind its own."""
        whole = (torch.cat([self.x, x]), torch.cat([self.task, task]))
        return replace(
            self,
            x=whole[0],
            y=torch.cat([self.y, y]),
            task=whole[1],
            weight=torch.cat([self.weight, weight]),
            slot=None if self.slot is None else torch.cat([self.slot, torch.zeros_like(task)]),
            joined=(*self.joined, (self.rng.scope, y.shape[0])),
            _whole=whole,
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
