"""SD-LoRA: earlier adapters keep their direction; how much of each is used is learned on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from perdure.core.batch import Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.adapters import lowrank
from perdure.strategies.adapters.lora import WARM, LoRA
from perdure.strategies.contract.phase import Step, TaskData
from perdure.strategies.contract.registry import strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("sd-lora")
class SDLoRA(LoRA):
    """Give each task an adapter of its own; freeze the direction of earlier ones, and train all magnitudes.

    ``W = W0 + sum_(k < t) m_k D_k + m_t B_t A_t`` with ``D_k = B_k A_k / ||B_k A_k||_F``. Task t trains A_t
    ``[r, in]``, B_t ``[out, r]`` and the magnitudes ``m_1 ... m_t``. At the task's end B_t is divided by the
    norm, and m_t multiplied by it, so that nothing jumps.

    Parameters
    ----------
    rank, targets, warm:
        As for ``lora``. With ``warm`` the first task has no adapter.
    magnitude:
        Where a task's magnitude starts.
    falls:
        Pairs (task, rank): from that task on, adapters have that rank (the variant RR). Room is kept for the
        first rank.
    merge:
        Threshold tau in [0, 1] (the variant KD): at a task's end, fit its direction by the earlier ones,
        ``min_c ||D_t - sum_k c_k D_k||_F^2``; where what is left lies below tau, add ``m_t c_k`` to each
        ``m_k``, and drop the adapter. 0 never does.

    Source: Wu et al., ICLR 2025, arXiv 2501.13198, and its code: the start at 0.8. Reconstructed: magnitudes
    are a layer's own (the code shares them among layers), go on from task to task (in the code all start
    again, at 0.8), and are divided by the norm of the product (in the code by ``||B|| ||A||``).
    """

    alpha: ClassVar[float | None] = None  # type: ignore[misc]
    fresh: ClassVar[bool] = False  # type: ignore[misc]
    magnitude: float = 0.8
    falls: Sequence[tuple[int, int]] = ()
    merge: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.magnitude > 0:
            raise PerdureError(f"magnitude must be above 0; found {self.magnitude}")
        if not 0 <= self.merge <= 1:
            raise PerdureError(f"merge, a threshold, must lie in [0, 1]; found {self.merge}")
        ranks = [self.rank, *(pair[1] for pair in self.falls)]
        tasks = [0, *(pair[0] for pair in self.falls)]
        if ranks != sorted(ranks, reverse=True) or min(ranks) < 1 or tasks != sorted(set(tasks)):
            raise PerdureError(
                "falls must be pairs (task, rank), of rising tasks from 1 and falling ranks from "
                f"{self.rank} to 1; found {self.falls}"
            )

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        model = self._adapted(model, stream, len(stream), self.magnitude)
        for adapter in lowrank.adapters(model).values():
            for task, rank in self.falls:
                # With `up` at 0 too, these rows have no gradient and stay 0.
                adapter.down.data[task:, rank:] = 0.0
        return model

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return lowrank.keep_own(net.module, grads, batch.current)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        # Momentum and weight decay move what has no gradient: the other tasks' adapters are put back.
        new = lowrank.keep_own(net.module, params, step.batch.current, step.previous)
        for path in lowrank.adapters(net.module):
            name = lowrank.key(path, "magnitude")
            begun = torch.arange(len(new[name]), device=new[name].device) <= step.batch.current
            new[name] = torch.where(begun, new[name], step.previous[name])
        return new, state

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name == WARM:
            return params, state
        new = dict(params)
        for path in lowrank.adapters(net.module):
            down, up, magnitude = (new[lowrank.key(path, part)] for part in ("down", "up", "magnitude"))
            own = torch.arange(len(up), device=up.device) == task.index
            norms = (up @ down).flatten(1).norm(dim=1)
            scale = torch.where(own & (norms > 0), norms, 1.0)
            up, magnitude = up / scale.view(-1, 1, 1), magnitude * scale
            if self.merge:
                up, magnitude = fold(down, up, magnitude, own, self.merge)
            new[lowrank.key(path, "up")], new[lowrank.key(path, "magnitude")] = up, magnitude
        return new, state


def fold(down: Tensor, up: Tensor, magnitude: Tensor, own: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Return ``up`` and ``magnitude`` after merging a task's direction into the earlier ones, if it fits.

    Parameters
    ----------
    down, up, magnitude:
        Adapters ``[tasks, r, in]``, ``[tasks, out, r]`` and ``[tasks]``; products have norm 1, or are 0.
    own:
        Which slot is the task's, ``[tasks]`` bool; later ones are 0.
    tau:
        How much of its squared norm may be lost, exclusive.
    """
    directions = (up @ down).flatten(1).double()
    earlier = torch.where(own.unsqueeze(-1), 0.0, directions)
    last = (directions * own.unsqueeze(-1)).sum(0)
    fit = torch.linalg.pinv(earlier @ earlier.mT, hermitian=True) @ (earlier @ last)
    left = (last - fit @ earlier).square().sum()
    fits = (left < tau) & (last.square().sum() > 0)
    moved = magnitude + (magnitude * own).sum() * fit.to(magnitude.dtype)
    gone = (own & fits).view(-1, 1, 1)
    return torch.where(gone, 0.0, up), torch.where(fits, torch.where(own, 0.0, moved), magnitude)
