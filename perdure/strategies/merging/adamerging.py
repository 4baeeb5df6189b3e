"""AdaMerging: coefficients that make the merged model sure of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor

from perdure.core.batch import Batch, Params
from perdure.core.net import Net
from perdure.strategies.merging.learned import Learned, entropy
from perdure.strategies.merging.rule import rule

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@rule("adamerging")
class AdaMerging(Learned):
    """Learn the coefficients of task arithmetic without labels: minimise the entropy of the answers.

    ``theta_0 + sum_t c_t tau_t``, each parameter with coefficients of its own (``"layer"``), or all with the
    same (``"task"``); ``min_c mean_x H(p(. | x, c))`` with the entropy H.

    Parameters
    ----------
    steps, lr, initial, part:
        As in :class:`Learned`.
    by:
        ``"layer"`` or ``"task"``.

    Deviations: samples are of the validation parts, where the source takes the test inputs; a layer is a
    parameter tensor; batches mix the tasks, where the source draws one of each.

    Source: Yang et al., "AdaMerging", ICLR 2024, arXiv 2310.02575.

    >>> import torch
    >>> base, tasks = {"w": torch.zeros(2)}, {"w": torch.tensor([[1.0, 2.0], [3.0, 0.0]])}
    >>> AdaMerging().build(base, tasks, {"w": torch.tensor([1.0, 0.5])})["w"].tolist()
    [2.5, 2.0]
    """

    data: ClassVar[str] = "unlabelled"
    by: Literal["layer", "task"] = "layer"

    def check(self, stream: Stream) -> None:
        super().check(stream)
        stream.need_classes(f"the merging rule {self.name}")

    def coefficients(self, base: Params, tasks: int) -> Params:
        found = super().coefficients(base, tasks)
        return found if self.by == "layer" else {"": next(iter(found.values()))}

    def build(self, base: Params, tasks: Params, values: Params) -> Params:
        if self.by == "task":
            values = dict.fromkeys(base, values[""])
        return super().build(base, tasks, values)

    def loss(self, net: Net, params: Params, batch: Batch) -> Tensor:
        return entropy(net, params, batch)
