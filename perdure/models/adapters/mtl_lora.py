"""The layer of MTL-LoRA: a low-rank change whose inside differs by task, and a choice among outer factors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perdure.models.adapters.by_task import TaskLayer, of_each


class MTLLinear(TaskLayer):
    """``y = W0 x + b + scale * sum_i softmax(w_t / temperature)_i B_i L_t A x`` for a sample of task t.

    Parameters
    ----------
    base:
        The linear layer, W0 and b.
    tasks:
        Number of tasks.
    rank, ups:
        Rank r, and how many outer factors B_i there are.
    scale, temperature:
        As in the formula.

    ``down`` is A ``[r, in]``, drawn as torch draws a linear layer; ``inner`` the L_t ``[tasks, r, r]``,
    identities; ``up`` the B_i ``[ups, out, r]``, zero; ``mix`` the w_t ``[tasks, ups]``, uniform in +-1: were
    they equal, the B_i would be equal for ever.
    """

    def __init__(
        self, base: nn.Linear, tasks: int, rank: int, ups: int, scale: float, temperature: float
    ) -> None:
        super().__init__(base)
        like, (out, width) = base.weight.detach(), base.weight.shape
        self.scale, self.temperature = scale, temperature
        self.down = nn.Parameter(like.new_empty(rank, width).uniform_(-1, 1) / width**0.5)
        self.inner = nn.Parameter(torch.eye(rank, dtype=like.dtype, device=like.device).repeat(tasks, 1, 1))
        self.up = nn.Parameter(like.new_zeros(ups, out, rank))
        self.mix = nn.Parameter(like.new_empty(tasks, ups).uniform_(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, ..., in]`` to ``[n, ..., out]``."""
        task = self.tasks_of(x)
        inner = of_each(self.inner, task, x @ self.down.mT)
        share = (self.mix / self.temperature).softmax(-1).index_select(0, task)
        share = share.view(-1, *(1,) * (inner.ndim - 2), share.shape[1], 1)
        # One product for all outer factors: each takes the inner numbers times its share.
        weighed = (inner.unsqueeze(-2) * share).flatten(-2)
        change = weighed @ self.up.transpose(1, 2).flatten(0, 1)
        return self.base(x) + self.scale * change  # type: ignore[no-any-return]
