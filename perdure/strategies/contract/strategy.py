"""The contract of a strategy: pure functions over ``(params, state)`` of ONE model.

The engine maps them over all replicas. Each hook takes what came before it and returns what goes on, so a
composition ``a + b`` is the fold of its parts' hooks. State holds tensors of fixed shape: capacity is
allocated for the whole stream at the start, and a value decides through masks and ``torch.where``, never
through a branch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from perdure.core.batch import Batch, Params, State
from perdure.core.net import Net
from perdure.strategies.contract.phase import Phase, Step, TaskData

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@dataclass(frozen=True)
class Strategy:
    """How a learner protects, replays or shares. The defaults are plain sequential learning.

    A plugin is a frozen dataclass of its hyperparameters that overrides the hooks it needs. ``params`` maps
    the names of the trained tensors to their values; ``state`` is the plugin's own dictionary of tensors.
    """

    name: ClassVar[str] = "strategy"
    # Ask for one gradient per entry of the loss vector: `gradient` then gets a leading axis.
    per_loss_gradients: ClassVar[bool] = False
    # What it reaches bounds what learners of a stream do (it learns with the data of all tasks, or each task
    # alone): others are held against it.
    bound: ClassVar[bool] = False
    # Learns in stages, but from samples of several tasks at once: compared with others that do. One stage in
    # all says so by itself.
    together: ClassVar[bool] = False
    # A learner of its own, which no composition can hold.
    runs_alone: ClassVar[bool] = False
    # Numbers that hooks only compute tensors with (a strength that a penalty is multiplied with): never asked
    # of in a branch, no shape, no count. A grid of them is only more replicas: each hook then finds a tensor
    # without axes in their place. Others are tuned in runs of their own, with the same results.
    scales: ClassVar[tuple[str, ...]] = ()
    # Whether hooks that read samples take several labels of each, ``y [n, tasks]``: a phase that draws a
    # batch of every task then learns from rows that its tasks share, where they do.
    reads_all_labels: ClassVar[bool] = False
    # Layers whose inputs `losses` asks for with `net.inside`: they are kept while the outputs of a step are
    # computed, which costs no further call of the model.
    reads_inside: ClassVar[tuple[str, ...]] = ()
    # Names of phases that are this strategy's own business: only its hooks run in them, the optimiser has a
    # memory of its own there, and the draws of all other phases are as if they had not been.
    private_phases: ClassVar[tuple[str, ...]] = ()

    @property
    def accumulated_samples(self) -> int | None:
        """How many samples of a phase ``accumulate`` is to see; ``None`` for all."""
        return None

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        """Add layers to the model, or wrap it. Called once per replica, before its weights are drawn."""
        return model

    def phases(self, stream: Stream) -> list[Phase]:
        """Say what is trained on, in which order."""
        every = tuple(range(len(stream)))
        return [Phase(every)] if stream.setting == "joint" else [Phase((t,)) for t in every]

    def arrange(self, stream: Stream, phases: list[Phase]) -> list[Phase]:
        """Cut the phases that :meth:`phases` laid out, or put more between them.

        Called whether the strategy stands alone or in a composition, and whoever laid the phases out.
        """
        return phases

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        """Allocate the state."""
        return {}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        """Prepare for a phase."""
        return params, state

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        """Name the parameters that phases of this name train; the others stay as they are, to the bit.

        No gradient is taken for those, hooks see zeros, and their optimiser memory rests. Only the names of
        ``params`` may matter: a run asks once for each name of a phase.
        """
        return tuple(params)

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        """Change what is learned from in this step."""
        return batch

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        """Add to the losses, ``[entries]``; their sum is minimised."""
        return losses

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        """Change the gradient before the optimiser sees it."""
        return grads

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        """Follow the optimiser's step."""
        return params, state

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        """Return sums over the samples of a batch; added up over a phase's data for ``end_task``."""
        return {}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        """Conclude a phase. Names of buffers among the returned params replace the buffers."""
        return params, state

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        """Outputs for scoring ``x`` ``[n, ...]`` whose tasks are ``task`` ``[n]``."""
        return net(params, x, task)

    def report(self, state: State) -> State:
        """Return what results are to keep of one replica's state at the end of a run, tensors by name.

        They stand in ``results.extras[name]["report"][kind]``, as lists with a leading axis of replicas, and
        are saved with the results: a few numbers, not memories or weights.
        """
        return {}

    def __add__(self, other: Strategy) -> Strategy:
        # Imported here: a composition is a strategy.
        from perdure.strategies.contract.composition import Composition, parts

        return Composition((*parts(self), *parts(other)))

    def __str__(self) -> str:
        """Return the name with the parameters that are not at their defaults."""
        return spell(self)


def spell(strategy: Strategy, also: Collection[str] = ()) -> str:
    """Return a strategy's name with the parameters that are not at their defaults, and those in ``also``."""
    told = [
        f"{f.name}={getattr(strategy, f.name)!r}"
        for f in dataclasses.fields(strategy)
        if f.name in also or getattr(strategy, f.name) != f.default
    ]
    return f"{strategy.name}({', '.join(told)})" if told else strategy.name
