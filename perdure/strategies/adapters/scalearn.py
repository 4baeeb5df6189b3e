"""ScaLearn: an adapter for each task, and then only how much of every adapter each task takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from perdure.core.batch import Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.net import Net
from perdure.models.adapters.by_task import TaskLayer, adapt, linear_targets
from perdure.models.adapters.lowrank import check_targets, head_names
from perdure.models.adapters.scalearn import ScaledLinear, scales
from perdure.strategies.adapters.by_task import ADAPT, TaskAdapters
from perdure.strategies.contract.phase import Phase, TaskData
from perdure.strategies.contract.registry import strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

SCALE = "scale"


@strategy("scalearn")
class ScaLearn(TaskAdapters):
    """Freeze the model; learn an adapter of each task; freeze those and learn their scales for each task.

    After each adapted layer, whose output is y ``[width]``, a sample of task t gets

    ``y + sum_s w_(t,s) * adapter_s(y)`` with ``adapter_s(y) = U_s relu(D_s y + d_s) + u_s``.

    First (phase "adapt") each task learns its own adapter alone: w_(t,s) is 1 for s = t and 0 otherwise. Then
    (phase "scale") the adapters are frozen and the scales w_(t,s) ``[width]`` are learned, from ``start / T``
    for T tasks: they need not add up to 1, and may be negative. Both phases train the head too, the last
    linear layer as wide as the outputs. Each step takes a batch of every task; but as long as every task has
    outputs of its own, no task's samples move what another answers with in either phase (norms over a batch,
    and clipping, aside). At first all U_s are zero, and so is the change.

    It asks for the task-incremental setting: whose scales a sample gets is the task's to say.

    Each phase takes as many epochs as the run has. Cost: every adapter is computed for every sample.

    Parameters
    ----------
    bottleneck:
        Numbers within an adapter: D_s is ``[bottleneck, width]``, U_s ``[width, bottleneck]``.
    uniform:
        Whether w_(t,s) is one number for each layer, not one for each of its outputs.
    start:
        What all scales start at, times T.
    targets:
        Which linear layers: ``None`` for all but the head; a regular expression that whole names match; or
        names, whole or what follows a dot (``["query", "value"]``).
    warm:
        Whether all tasks first train the whole model together, before the two phases: for models that start
        from scratch. With ``False`` nothing but adapters, scales and the head moves: for pretrained ones.

    Examples
    --------
    >>> from perdure.strategies import get
    >>> get("scalearn(uniform=true)").uniform
    True

    Source: Frohmann et al., "ScaLearn: simple and highly parameter-efficient task transfer by learning to
    scale", ACL Findings 2024, arXiv 2310.01217, and its code (both phases, scales free of any constraint,
    ``start`` 2). Reconstructed: that the head goes on in the second phase. Deviations: the authors add noise
    of 0.001 to the scales' start and drop 30 % of them at each step; their variants with scales that all
    layers share are left out. ``warm`` is an addition.
    """

    # Its hook reads no sample.
    reads_all_labels: ClassVar[bool] = True
    bottleneck: int = 4
    uniform: bool = False
    start: float = 2.0
    targets: str | Sequence[str] | None = None
    warm: bool = True

    def __post_init__(self) -> None:
        check_whole("bottleneck", self.bottleneck)
        check_number("start", self.start, ends="()")
        check_targets(self.targets)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        self.check_setting(stream)
        chosen = linear_targets(model, stream.outputs, self.targets, self.name)

        def wrap(layer: Any) -> TaskLayer:
            return ScaledLinear(layer, len(stream), self.bottleneck, self.uniform)

        return adapt(model, stream.outputs, wrap, chosen, not self.warm)

    def phases(self, stream: Stream) -> list[Phase]:
        *first, adapting = super().phases(stream)
        scaling = Phase(adapting.tasks, SCALE, batch_per_task=True, reset=True)
        return [*first, Phase(adapting.tasks, ADAPT, stage=False, batch_per_task=True, reset=True), scaling]

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        own = scales(net.module)
        if phase == SCALE:
            moving = own | head_names(net.module)
            return tuple(k for k in params if k in moving)
        return tuple(k for k in super().trainable(net, params, phase) if k not in own)

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name != SCALE:
            return params, state
        new = dict(params)
        for name in scales(net.module):
            new[name] = torch.full_like(params[name], self.start / params[name].shape[0])
        return new, state
