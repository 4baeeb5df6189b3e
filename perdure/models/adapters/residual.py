"""Residual adapters: a small map of each task at a layer that all share, and norms with a scale of each."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from perdure.core.errors import PerdureError
from perdure.models.adapters.by_task import TaskLayer, of_each

Place = Literal["series", "parallel"]
NORMS = (_BatchNorm, _InstanceNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Residual(TaskLayer):
    """``y = f(x) + A_t x`` (parallel) or ``y = f(x) + A_t f(x)`` (series) for a sample of task t.

    f is a linear layer or a 2-d convolution. At a convolution A_t is one of size 1x1; beside it, it has the
    same stride and stands where the middle of the kernel does (of a kernel of even size, the entry before).

    Parameters
    ----------
    base:
        The layer f.
    tasks:
        Number of tasks.
    place:
        Beside the layer or after it.

    ``own`` are the A_t, ``[tasks, out, in]`` in parallel and ``[tasks, out, out]`` in series, zero.
    """

    base: Any

    def __init__(self, base: Any, tasks: int, place: Place) -> None:
        super().__init__(base)
        self.place = place
        linear = isinstance(base, nn.Linear)
        out = base.out_features if linear else base.out_channels
        width = base.in_features if linear else base.in_channels
        like = base.weight.detach()
        self.own = nn.Parameter(like.new_zeros(tasks, out, out if place == "series" else width))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, ..., in]``, or ``[n, in, h, w]`` at a convolution."""
        task, y = self.tasks_of(x), self.base(x)
        given = y if self.place == "series" else x
        if not isinstance(self.base, nn.Conv2d):
            return y + own_maps(self.own, task, given)  # type: ignore[no-any-return]
        if self.place == "parallel":
            given = middles(self.base, x, y.shape[-2:])
        found = own_maps(self.own, task, given.flatten(2).mT)
        return y + found.mT.reshape(y.shape)  # type: ignore[no-any-return]


def own_maps(weight: Tensor, task: Tensor, x: Tensor) -> Tensor:
    """Multiply the rows ``x [n, ..., in]`` of each sample with its task's ``weight [tasks, out, in]``."""
    tasks, out, width = weight.shape
    if width <= tasks * x.shape[1:-1].numel():
        return of_each(weight, task, x)
    # A copy of the weights for each sample is larger here than what all tasks' weights make of it.
    every = (x @ weight.flatten(0, 1).mT).view(*x.shape[:-1], tasks, out)
    at = task.view(-1, *(1,) * (every.ndim - 1)).expand(*every.shape[:-2], 1, out)
    return every.gather(-2, at).squeeze(-2)


def middles(conv: nn.Conv2d, x: Tensor, out: torch.Size) -> Tensor:
    """Return what the middle of a convolution's kernel meets at each place, ``[n, in, *out]``."""
    pads: list[int] = []
    for axis in (1, 0):  # The last axis comes first.
        stride, step, size = conv.stride[axis], conv.dilation[axis], conv.kernel_size[axis]
        if isinstance(conv.padding, str):
            before = step * (size - 1) // 2 if conv.padding == "same" else 0
        else:
            before = int(conv.padding[axis])
        shift = before - step * ((size - 1) // 2)
        pads += [shift, (out[axis] - 1) * stride + 1 - x.shape[2 + axis] - shift]
    return F.pad(x, pads)[..., :: conv.stride[0], :: conv.stride[1]]


class TaskNorm(TaskLayer):
    """A norm layer with a scale and a shift of each task: ``y = norm(x) (w + s_t) + b + c_t`` for task t.

    w and b are the layer's own; where it has none, 1 and 0. A batch norm also has means and variances of each
    task: those of the task's samples in training, running ones otherwise, and for a task with a single value
    per channel in the batch.

    Parameters
    ----------
    base:
        The norm layer.
    tasks:
        Number of tasks.

    ``scale`` and ``shift`` are the s_t and c_t, ``[tasks, *shape of w]``, zero; ``mean`` and ``var``, of a
    batch norm with running statistics, ``[tasks, channels]``, start as its own.
    """

    base: Any
    mean: Tensor | None
    var: Tensor | None

    def __init__(self, base: Any, tasks: int) -> None:
        super().__init__(base)
        if isinstance(base, nn.LayerNorm | nn.RMSNorm):
            shape = tuple(base.normalized_shape)
        else:
            shape = (base.num_channels if isinstance(base, nn.GroupNorm) else base.num_features,)
        running = base.running_mean if isinstance(base, _BatchNorm) else None
        if running is not None and base.momentum is None:
            raise PerdureError("batch norms by task need a momentum; found momentum=None")
        like = next((v for v in (base.weight, running) if v is not None), torch.empty(()))
        self.scale = nn.Parameter(torch.zeros(tasks, *shape, dtype=like.dtype, device=like.device))
        self.shift = nn.Parameter(torch.zeros_like(self.scale))
        for name in ("mean", "var"):
            start = None if running is None else getattr(base, f"running_{name}").repeat(tasks, 1)
            self.register_buffer(name, start)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, ...]`` to the same shape."""
        task, wide = self.tasks_of(x), x.to(self.scale.dtype)
        weight, bias = self.base.weight, getattr(self.base, "bias", None)
        scale = self.scale + (1.0 if weight is None else weight)
        shift = self.shift if bias is None else self.shift + bias
        scale, shift = (self._beside(v.index_select(0, task), x) for v in (scale, shift))
        return (self._normalised(wide, task) * scale + shift).to(x.dtype)

    def _beside(self, own: Tensor, x: Tensor) -> Tensor:
        """Give numbers of each sample's channels or last axes the axes that they lack."""
        lacking = (1,) * (x.ndim - own.ndim)
        if isinstance(self.base, nn.LayerNorm | nn.RMSNorm):
            return own.view(len(x), *lacking, *own.shape[1:])
        return own.view(*own.shape, *lacking)

    def _normalised(self, x: Tensor, task: Tensor) -> Tensor:
        base = self.base
        if isinstance(base, nn.LayerNorm):
            return F.layer_norm(x, base.normalized_shape, eps=base.eps)
        if isinstance(base, nn.RMSNorm):
            return F.rms_norm(x, base.normalized_shape, eps=base.eps)
        if isinstance(base, nn.GroupNorm):
            return F.group_norm(x, base.num_groups, eps=base.eps)
        if isinstance(base, _InstanceNorm):
            own = self.training or not base.track_running_stats
            return F.instance_norm(
                x, base.running_mean, base.running_var, None, None, own, base.momentum or 0.0, base.eps
            )
        if self.training or self.mean is None or self.var is None:
            of_tasks = self._measured(x, task)
        else:
            of_tasks = (self.mean, self.var)
        mean, var = (self._beside(v.index_select(0, task), x) for v in of_tasks)
        return (x - mean) * torch.rsqrt(var + base.eps)

    def _measured(self, x: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each task's samples, ``[tasks, channels]``; the running ones follow."""
        flat = x.unsqueeze(-1) if x.ndim == 2 else x.flatten(2)
        tasks = torch.arange(len(self.scale), device=x.device)
        which = (task.unsqueeze(0) == tasks.unsqueeze(1)).to(x.dtype)
        count = which.sum(1, keepdim=True) * flat.shape[2]
        mean = which @ flat.sum(2) / count.clamp_min(1.0)
        apart = flat - mean.index_select(0, task).unsqueeze(-1)
        var = which @ apart.square().sum(2) / count.clamp_min(1.0)
        if self.mean is None or self.var is None:
            return mean, var
        enough, before = count > 1.0, (self.mean.clone(), self.var.clone())
        with torch.no_grad():
            new = (mean.detach(), var.detach() * count / (count - 1.0).clamp_min(1.0))
            for kept, old, found in zip((self.mean, self.var), before, new, strict=True):
                kept.copy_(torch.where(enough, old + self.base.momentum * (found - old), old))
        return torch.where(enough, mean, before[0]), torch.where(enough, var, before[1])
