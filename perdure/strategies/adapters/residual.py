"""Residual adapters: at each layer of a frozen model a small linear map of each task, and norms by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from perdure.core.checks import check_one_of
from perdure.core.errors import PerdureError
from perdure.models.adapters import lowrank
from perdure.models.adapters.by_task import TaskLayer, adapt
from perdure.models.adapters.residual import NORMS, Residual, TaskNorm
from perdure.strategies.adapters.by_task import TaskAdapters
from perdure.strategies.contract.registry import strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

KINDS = ("series", "parallel", "norm")


@strategy("residual-adapters")
class ResidualAdapters(TaskAdapters):
    """Freeze the model; all tasks learn maps of their own at its layers, norms of their own, and the head.

    For a sample of task t, a linear layer or 2-d convolution f gives ``f(x) + A_t x`` (parallel) or
    ``f(x) + A_t f(x)`` (series). A_t is ``[out, in]`` or ``[out, out]``: if f is a convolution, one of size
    1x1, with the stride of f where it stands beside it. A norm layer gives ``norm(x) (w + s_t) + b + c_t``: w
    and b are those of the model, s_t and c_t the task's; a batch norm has means and variances of each task
    as well. At first all A_t, s_t and c_t are zero: the model answers as it did, and weight decay pulls
    towards it.

    Each step takes a batch of every task; minimised is the sum of the tasks' losses. The head is the last
    linear layer as wide as the outputs. It asks for the task-incremental setting: which maps a sample gets is
    the task's to say.

    Parameters
    ----------
    kind:
        ``"series"`` or ``"parallel"``; ``"norm"``: scales and shifts of the norm layers alone, the baseline.
    targets:
        At which linear layers and convolutions: ``None`` for all but the head; a regular expression that
        whole names match; or names, whole or what follows a dot (``["query", "value"]``). Norms: always all.
    warm:
        Whether all tasks first train the whole model together, as long as they then train what is their own:
        for models that start from scratch. With ``False`` nothing but that and the head ever moves: for
        pretrained ones.

    Source: Rebuffi et al., "Learning multiple visual domains with residual adapters", arXiv 1705.08045
    (series), and "Efficient parametrization of multi-domain deep neural networks", arXiv 1803.10082
    (parallel), and the code of their authors: where the maps stand, their size and stride, norms with
    statistics of each task. Deviations: A_t starts at zero, where theirs is drawn; there is no batch norm
    inside the series adapter; 1x1 convolutions and linear layers are adapted too; the tasks are learned at
    once. ``warm`` is an addition.
    """

    kind: Literal["series", "parallel", "norm"] = "parallel"
    targets: str | Sequence[str] | None = None
    warm: bool = True

    def __post_init__(self) -> None:
        check_one_of("kind", self.kind, KINDS)
        lowrank.check_targets(self.targets)
        if self.kind == "norm" and self.targets is not None:
            raise PerdureError(f"kind='norm' adapts all norm layers; found targets={self.targets!r}")

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        self.check_setting(stream)
        chosen: dict[str, Any] = {k: m for k, m in model.named_modules() if isinstance(m, NORMS)}
        if self.kind != "norm":
            chosen |= lowrank.find_targets(model, stream.outputs, self.targets)
        elif not chosen:
            raise PerdureError(f"kind='norm' needs norm layers; found none in {type(model).__name__}")

        def wrap(layer: Any) -> TaskLayer:
            if self.kind == "norm" or isinstance(layer, NORMS):
                return TaskNorm(layer, len(stream))
            return Residual(layer, len(stream), self.kind)

        return adapt(model, stream.outputs, wrap, chosen, not self.warm)
