"""Learning to branch: which tasks share which blocks is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from perdure.core.batch import Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.net import Net
from perdure.models.registry import check_widths
from perdure.models.sharing.bank import Bank
from perdure.models.sharing.branching import Branching
from perdure.models.sharing.trunk import blocks, copies
from perdure.strategies.contract.phase import Phase, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.sharing.multitask import MultiTask

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

SEARCH = "search"
BRANCHES, SEARCHING = "branches.", "searching"


@strategy("learning-to-branch")
class LearningToBranch(MultiTask):
    """Learn a tree of blocks: search which block each takes its input from, then train the tree found.

    The model below its head is cut into blocks, one a level, and each level has several nodes, copies of its
    block. In the phase "search" a node mixes the nodes above it, and a task the last ones, by
    ``softmax((theta + gumbel noise) / temperature)``, drawn anew at each step; theta, which starts at 0, is
    trained with the weights. Then each takes the node of its largest theta alone, and the weights are
    trained from their start again, in a phase as long as any other strategy's. Nodes that lead to no task
    stay as they were drawn. Tasks that choose differently share what lies above. One level chooses among
    whole trunks.

    Parameters
    ----------
    levels:
        How many. More than one need a model that is an ``nn.Sequential`` with a layer with weights for each.
    nodes:
        Nodes of each level; ``None``: one a task.
    temperature:
        Of the softmax: the smaller, the nearer to a choice.
    search_epochs:
        Passes over the data while searching; ``None`` takes the run's.
    towers:
        Widths of layers of each task's own, between the features and its head.

    Source: Guo et al., "Learning to branch for multi-task learning", ICML 2020. Deviations: the temperature
    stays as it is, and theta is trained by the optimiser of the weights.
    """

    levels: int = 2
    nodes: int | None = None
    temperature: float = 1.0
    search_epochs: int | None = None
    towers: Sequence[int] | int = ()

    def __post_init__(self) -> None:
        check_whole("levels", self.levels)
        for name in ("nodes", "search_epochs"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        check_number("temperature", self.temperature, ends="()")
        check_widths("towers", self.towers)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        trunk, head = self.cut(model, stream, self.towers)
        nodes = len(stream) if self.nodes is None else self.nodes
        levels = [Bank(copies(part, nodes, self.name)) for part in blocks(trunk, self.levels, self.name)]
        return Branching(levels, len(stream), head, self.temperature)

    def phases(self, stream: Stream) -> list[Phase]:
        (phase,) = super().phases(stream)
        search = Phase(phase.tasks, SEARCH, stage=False, epochs=self.search_epochs, batch_per_task=True)
        return [search, Phase(phase.tasks, batch_per_task=True, reset=True)]

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return {"start": {k: v.clone() for k, v in params.items() if not k.startswith(BRANCHES)}}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name == SEARCH:
            return params, state
        over = {SEARCHING: torch.zeros_like(net.buffers[SEARCHING])}
        return {**params, **state["start"], **over}, state

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        return tuple(k for k in params if phase == SEARCH or not k.startswith(BRANCHES))
