"""Hierarchy of multi-gate experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.models.registry import check_widths
from perdure.models.sharing.bank import Bank
from perdure.models.sharing.home import Experts, Layer
from perdure.models.sharing.home import HoME as Module
from perdure.models.sharing.trunk import blocks, copies, widths
from perdure.strategies.contract.registry import strategy
from perdure.strategies.sharing.multitask import MultiTask

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("home")
class HoME(MultiTask):
    """Let groups of tasks, and then tasks, mix normed experts of their own and shared ones.

    Experts are ``E(x) = Swish(norm(F(x * 2 sigmoid(B A x))))`` with F a block of the model, and B starting
    at 0: no expert is dead, nor alone in what it sees. A unit u (a group, then a task, which sees what its
    group made) makes ``z_u = sum_e softmax(W_u x_u)_e E_e + sum_{e of u} self_u(x_u)_e E_e`` of its own and
    the shared experts; the self-gate, a softmax over its own experts or the sigmoid of a single one, keeps
    these in training whatever the first gate prefers. The first shared expert keeps the weights that the
    model has, which must be an ``nn.Sequential`` with two layers with weights below its head.

    Parameters
    ----------
    groups:
        The tasks of each group, by index: ``[[0, 1], [2]]``. ``None`` cuts the tasks, in their order, into
        two halves, the first not the smaller.
    own:
        Experts of each group, and of each task.
    shared:
        Experts that all groups share, and that all tasks share.
    rank:
        Rank of the feature gates' product ``B A``.
    towers:
        Widths of layers of each task's own, between the features and its head.

    Source: Wang et al., "HoME: hierarchy of multi-gate experts for multi-task learning at Kuaishou", arXiv
    2408.05430. Deviations: a layer norm in place of batch norm, whose statistics experts can't share; a task
    sees its group's features and not the shared ones beside them, as a block takes what the block before it
    gives; there are no experts of a group among those of its tasks.
    """

    groups: Sequence[Sequence[int]] | None = None
    own: int = 1
    shared: int = 1
    rank: int = 4
    towers: Sequence[int] | int = ()

    def __post_init__(self) -> None:
        for name in ("own", "shared", "rank"):
            check_whole(name, getattr(self, name))
        check_widths("towers", self.towers)

    def _group(self, tasks: int) -> list[int]:
        """Return the group of each task."""
        half = (tasks + 1) // 2
        groups = self.groups or [list(range(half)), list(range(half, tasks))][: 1 + (tasks > 1)]
        if sorted(t for group in groups for t in group) != list(range(tasks)) or not all(map(len, groups)):
            raise PerdureError(
                f"groups must hold each of the {tasks} tasks once, by index; found {self.groups}"
            )
        return [next(g for g, group in enumerate(groups) if t in group) for t in range(tasks)]

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        trunk, head = self.cut(model, stream, self.towers)
        parts = blocks(trunk, 2, self.name)
        first, second = widths(parts, stream.example()["x"], self.name)
        group = self._group(len(stream))
        meta = self._layer(parts[0], max(group) + 1, first, second, goes_on=True)
        last = self._layer(parts[1], len(stream), second, head.width, goes_on=False)
        return Module(meta, last, group, head)

    def _layer(self, part: nn.Module, units: int, width: int, features: int, goes_on: bool) -> Layer:
        made = copies(part, self.shared + self.own * units, self.name)
        rank = min(self.rank, width)
        own, shared = (
            Experts(Bank(some), width, features, rank) for some in (made[self.shared :], made[: self.shared])
        )
        return Layer(own, shared, units, width, goes_on)
