"""O-LoRA: an adapter per task, in directions of the inputs that earlier adapters do not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from perdure.core.batch import Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.adapters import lowrank
from perdure.strategies.adapters.lora import WARM, LoRA
from perdure.strategies.contract.phase import Step
from perdure.strategies.contract.registry import strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("o-lora")
class OLoRA(LoRA):
    """Give each task an adapter of its own, which is asked to be orthogonal to earlier, frozen ones.

    ``W = W0 + (alpha / r) sum_(i <= t) B_i A_i``; task t trains A_t ``[r, in]`` and B_t ``[out, r]``.
    Minimised: ``loss + strength * sum_(i < t) |A_i A_t^T|_1 + decay * (||A_t|| + ||B_t||)``, summed over the
    adapted layers; the absolute values of all entries, and Frobenius norms that are not squared. All adapters
    together answer for every task. Room for the adapters of all tasks is allocated at the start.

    Parameters
    ----------
    rank, alpha, targets, warm:
        As for ``lora``. With ``warm`` the first task has no adapter, and none to be orthogonal to.
    strength:
        Weight of the orthogonality, lambda_1.
    decay:
        Weight of the norms of the new adapter, lambda_2.
    squared:
        Sum squared entries of ``A_i A_t^T`` instead, as the paper's formula has it.

    Source: Wang et al., EMNLP Findings 2023, arXiv 2310.14152, and its code, which sums absolute values where
    the paper squares, takes unsquared norms, and has a strength of 0.5, no decay and rank 8.
    """

    scales: ClassVar[tuple[str, ...]] = ("strength",)
    fresh: ClassVar[bool] = False  # type: ignore[misc]
    strength: float = 0.5
    decay: float = 0.0
    squared: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("strength", "decay"):
            if not getattr(self, name) >= 0:
                raise PerdureError(f"{name} must be at least 0; found {getattr(self, name)}")

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        return self._adapted(model, stream, len(stream))

    def overlap(self, down: Tensor, current: Tensor) -> Tensor:
        """Return ``sum_(i < t) |A_i A_t^T|_1`` of one layer, of ``down`` ``[tasks, r, in]`` and t."""
        slots = torch.arange(len(down), device=down.device)
        earlier = (slots < current) & (slots >= int(self.warm))
        new = down.index_select(0, current.reshape(1)).squeeze(0)
        products = down.detach() @ new.mT
        products = products.square() if self.squared else products.abs()
        return torch.where(earlier.view(-1, 1, 1), products, 0.0).sum()

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        if batch.phase == WARM:
            return losses
        penalty = torch.zeros_like(losses[0])
        for path in lowrank.adapters(net.module):
            factors = [params[lowrank.key(path, part)] for part in ("down", "up")]
            penalty = penalty + self.strength * self.overlap(factors[0], batch.current)
            if self.decay:
                own = [f.index_select(0, batch.current.reshape(1)) for f in factors]
                penalty = penalty + self.decay * sum(torch.linalg.vector_norm(f) for f in own)
        return losses + penalty / len(losses)

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return lowrank.keep_own(net.module, grads, batch.current)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        # Momentum and weight decay move what has no gradient: the other tasks' adapters are put back.
        return lowrank.keep_own(net.module, params, step.batch.current, step.previous), state
