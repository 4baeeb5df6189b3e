"""The layer of ScaLearn: an adapter of each task, and how much of each of them a task takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perdure.models.adapters.by_task import TaskLayer


class ScaledLinear(TaskLayer):
    """``y + sum_s w_(t,s) * (U_s relu(D_s y + d_s) + u_s)`` with ``y = W0 x + b``, for a sample of task t.

    Parameters
    ----------
    base:
        The linear layer, W0 and b.
    tasks:
        Number of tasks T.
    bottleneck:
        Numbers h within an adapter.
    uniform:
        Whether w_(t,s) is one number, not one for each of the layer's outputs.

    ``down`` is D ``[T, h, out]``, drawn as torch draws a linear layer, and ``down_bias`` d ``[T, h]``, zero;
    ``up`` is U ``[T, out, h]`` and ``up_bias`` u ``[T, out]``, zero; ``scale`` is w ``[T, T, out or 1]``, at
    first 1 for a task's own adapter and 0 for the others.
    """

    def __init__(self, base: nn.Linear, tasks: int, bottleneck: int, uniform: bool) -> None:
        super().__init__(base)
        like, out = base.weight.detach(), base.out_features
        self.down = nn.Parameter(like.new_empty(tasks, bottleneck, out).uniform_(-1, 1) / out**0.5)
        self.down_bias = nn.Parameter(like.new_zeros(tasks, bottleneck))
        self.up = nn.Parameter(like.new_zeros(tasks, out, bottleneck))
        self.up_bias = nn.Parameter(like.new_zeros(tasks, out))
        own = torch.eye(tasks, dtype=like.dtype, device=like.device)
        self.scale = nn.Parameter(own.unsqueeze(-1).repeat(1, 1, 1 if uniform else out))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, ..., in]`` to ``[n, ..., out]``."""
        task, y = self.tasks_of(x), self.base(x)
        between = (1,) * (y.ndim - 2)
        change = torch.zeros_like(y)
        for source in range(len(self.down)):
            inner = (y @ self.down[source].mT + self.down_bias[source]).relu()
            taken = self.scale[:, source].index_select(0, task)
            given = inner @ self.up[source].mT + self.up_bias[source]
            change = change + taken.view(-1, *between, taken.shape[-1]) * given
        return y + change  # type: ignore[no-any-return]


def scales(model: nn.Module) -> set[str]:
    """Return the names of the scales of a model's layers."""
    return {f"{p}.scale".lstrip(".") for p, part in model.named_modules() if isinstance(part, ScaledLinear)}
