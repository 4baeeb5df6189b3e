"""MTL-LoRA: one low-rank adapter that all tasks share, with a part inside that differs by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError
from perdure.models.adapters import lowrank
from perdure.models.adapters.by_task import TaskLayer, adapt, linear_targets
from perdure.models.adapters.mtl_lora import MTLLinear
from perdure.strategies.adapters.by_task import TaskAdapters
from perdure.strategies.contract.registry import strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("mtl-lora")
class MTLLoRA(TaskAdapters):
    """Freeze the model; all tasks learn a low-rank change of its linear layers at once, and the head.

    ``y = W0 x + (alpha / r) sum_i softmax(w_t / temperature)_i B_i L_t A x`` for a sample of task t, in each
    adapted layer. A ``[r, in]`` and the B_i ``[out, r]`` are shared; L_t ``[r, r]`` and the choice w_t among
    the B_i are the task's own. At first the change is zero. Each step takes a batch of every task; minimised
    is the sum of the tasks' losses. The head is the last linear layer as wide as the outputs.

    It asks for the task-incremental setting: which change a sample gets is the task's to say.

    Parameters
    ----------
    rank, ups:
        Rank r, at most the smaller side of each adapted layer, and how many B_i there are.
    alpha:
        Strength of the change, which is multiplied by ``alpha / rank``; ``None`` takes the rank: a factor 1.
    temperature:
        What the w_t are divided by: the lower, the more one B_i alone counts.
    targets:
        Which linear layers: ``None`` for all but the head; a regular expression that whole names match; or
        names, whole or what follows a dot (``["query", "value"]``).
    warm:
        Whether all tasks first train the whole model together, as long as they then train the adapters: for
        models that start from scratch. With ``False`` nothing but adapters and the head ever moves: for
        pretrained ones.

    Source: Yang et al., "MTL-LoRA: low-rank adaptation for multi-task learning", arXiv 2410.09437 (the
    formula; rank 8, three B_i). Reconstructed: that the L_t start as identities and the w_t uniform in +-1,
    and the temperature. ``warm`` is an addition.
    """

    rank: int = 4
    ups: int = 3
    alpha: float | None = None
    temperature: float = 1.0
    targets: str | Sequence[str] | None = None
    warm: bool = True

    def __post_init__(self) -> None:
        check_whole("rank", self.rank)
        check_whole("ups", self.ups)
        check_number("temperature", self.temperature, ends="()")
        if self.alpha is not None:
            check_number("alpha", self.alpha, ends="()")
        lowrank.check_targets(self.targets)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        self.check_setting(stream)
        chosen = linear_targets(model, stream.outputs, self.targets, self.name)
        for path, layer in chosen.items():
            if self.rank > (widest := min(layer.weight.shape)):
                raise PerdureError(
                    f"rank must be at most {widest}, the smaller side of {path}.weight; found {self.rank}: "
                    "choose a smaller one, or other targets"
                )
        scale = 1.0 if self.alpha is None else self.alpha / self.rank

        def wrap(layer: Any) -> TaskLayer:
            return MTLLinear(layer, len(stream), self.rank, self.ups, scale, self.temperature)

        return adapt(model, stream.outputs, wrap, chosen, not self.warm)
