"""Multi-task learning that regulates how salient the shared representation is to each task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.func import jacrev

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_number
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.inspect import find_head
from perdure.strategies.balancing.gramian import losses_in, together
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

SMALL = 1e-12


@strategy("rep-mtl")
class RepMTL(Strategy):
    """Learn all tasks at once, and keep apart, and aligned, what they ask of the shared representation.

    With Z the shared representation ``[n, d]`` and ``S_t = dL_t / dZ`` the saliency of task t, added to the
    sum of the losses is ``regulation E + alignment C``:

    - E, the mean over features j of the entropy over tasks of ``P_tj = a_tj / sum_s a_sj``, a_tj the sum over
      samples of ``|S_t|``: each feature is to matter to few tasks.
    - C, a contrastive loss: for two tasks, the row of feature j in one's affinity ``S_t' S_t`` ``[d, d]`` is
      to be nearer (by its cosine, divided by ``temperature``) to the same row of the other's than to the
      rows of other features.

    Each step costs the gradient of a gradient for every task.

    Parameters
    ----------
    regulation, alignment:
        Weights of E and C. The paper takes 0.7 to 1.5.
    temperature:
        Of C.
    layer:
        Name of the layer that the shared representation goes into; ``None``: the head.

    Source: Wang et al., ICCV 2025. Deviations: E and C are over features, summed over samples, where the
    paper's are over samples, every one of which has the labels of all tasks.
    """

    scales: ClassVar[tuple[str, ...]] = ("regulation", "alignment", "temperature")
    regulation: float = 1.0
    alignment: float = 1.0
    temperature: float = 0.1
    layer: str | None = None

    def __post_init__(self) -> None:
        check_number("regulation", self.regulation)
        check_number("alignment", self.alignment)
        check_number("temperature", self.temperature, ends="()")

    def phases(self, stream: Stream) -> list[Phase]:
        return together(stream)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        self._find(net)
        return {}

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        found = saliencies(net, params, batch, self._find(net))
        more = self.regulation * entropy(found) + self.alignment * contrast(found, self.temperature)
        return torch.cat([losses, more.to(losses.dtype).unsqueeze(0)])

    def _find(self, net: Net) -> str:
        """Return the name of the layer that the shared representation goes into."""
        outputs = None if net.masks is None else net.masks.shape[1]
        name = find_head(net.module, outputs) if self.layer is None else self.layer
        if not name or name not in dict(net.module.named_modules()):
            found = "none" if name is None else repr(name)
            raise PerdureError(
                f"{self} needs a layer behind a shared representation in {type(net.module).__name__}; "
                f"found {found}"
            )
        return name


def saliencies(net: Net, params: Params, batch: Batch, layer: str) -> Tensor:
    """Return the slope of each task's loss in what goes into a layer, ``[T, n, d]``."""
    there, _ = net.inside(params, batch.x, batch.task, layer)
    head, tasks = net.module.get_submodule(layer), losses_in(batch)

    def loss(shift: Tensor) -> Tensor:
        def add(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (given[0] + shift, *given[1:])

        handle = head.register_forward_pre_hook(add)
        try:
            return replace(net, _memo={}).losses(params, batch)[:tasks]
        finally:
            handle.remove()

    found: Tensor = jacrev(loss)(torch.zeros_like(there))
    return found.flatten(2)


def entropy(saliency: Tensor) -> Tensor:
    """Return the mean over features of the entropy over tasks of a saliency ``[T, n, d]``, 0-d."""
    each = saliency.abs().sum(1)
    share = each / each.sum(0).clamp_min(SMALL)
    return -(share * (share + SMALL).log()).sum(0).mean()


def contrast(saliency: Tensor, temperature: float) -> Tensor:
    """Return the contrastive loss between the tasks' affinities of features, from ``[T, n, d]``, 0-d."""
    tasks = len(saliency)
    affinity = saliency.mT @ saliency
    rows = affinity / (affinity.square().sum(-1, keepdim=True) + SMALL**2).sqrt()
    near = torch.einsum("tjd,skd->tsjk", rows, rows) / temperature
    miss = -torch.log_softmax(near, -1).diagonal(dim1=-2, dim2=-1).mean(-1)
    others = 1.0 - torch.eye(tasks, dtype=miss.dtype, device=miss.device)
    return (miss * others).sum() / max(1, tasks * (tasks - 1))
