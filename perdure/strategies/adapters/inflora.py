"""InfLoRA: an adapter per task that reads only what earlier tasks' inputs do not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.adapters import lowrank
from perdure.strategies.adapters.lora import WARM, LoRA
from perdure.strategies.contract.phase import Step, TaskData
from perdure.strategies.contract.registry import strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

# Samples that go through the model at a time, and the share of the energy below which a direction is none.
CHUNK, NOTHING = 256, 1e-10


@strategy("inflora")
class InfLoRA(LoRA):
    """Design each task's projection before it is learned, away from earlier tasks' inputs; train the rest.

    ``W = W0 + (alpha / r) sum_(i <= t) A_i B_i``. Before task t, the rows of B_t ``[r, in]`` become the top r
    principal directions of the layer's inputs H_t (not centred) after projection on the complement of the old
    space M: ``(I - M M^T) H_t``. B_t is then frozen, and A_t ``[out, r]``, zero at first, is trained. So what
    the layer gives for inputs in M stays as it was. Where fewer than r directions are left, the other rows of
    B_t are 0.

    After the task, directions of its inputs join M, the strongest first, until M holds the share
    ``energy + (final - energy) t / T`` of their squared length, T tasks in all. The paper's DualGPM keeps M
    or its complement, whichever is smaller; here the projector on M is kept, which does the same.

    The head, which is trained with every task, is not protected. For models with batch norm the promise holds
    but for the running statistics.

    Parameters
    ----------
    rank, alpha, targets, warm:
        As for ``lora``. With ``warm`` the first task's inputs, after it has trained the model, start M.
    energy, final:
        Share of the inputs' energy that is protected for the first task, in (0, 1], and where it tends.
    samples:
        How many samples of a task, drawn at random, stand for its inputs; ``None`` for all.

    Cost: two passes over each task's samples, eigenvectors of an ``in x in`` matrix per layer and task, and a
    state of ``8 in^2`` bytes per layer.

    Source: Liang & Li, CVPR 2024, arXiv 2404.00228; shares as there for CIFAR-100, with rank 10. The code
    differs: energy is of the squared eigenvalues of ``H H^T``, which protects less for the same share; B_t is
    divided by sqrt(3), which is ``alpha = rank / sqrt(3)`` here; the loss sees the current classes only.
    """

    fresh: ClassVar[bool] = False  # type: ignore[misc]
    energy: float = 0.95
    final: float = 1.0
    samples: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("energy", "final"):
            if not 0 < getattr(self, name) <= 1:
                raise PerdureError(f"{name}, a share, must lie in (0, 1]; found {getattr(self, name)}")
        if self.samples is not None:
            check_whole("samples", self.samples)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        model = self._adapted(model, stream, len(stream))
        for adapter in lowrank.adapters(model).values():
            adapter.down.requires_grad_(False)
        return model

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        x, like = stream.example()["x"], next(iter(params.values()))
        x = x.to(like.device, like.dtype if x.is_floating_point() else x.dtype)
        seen = covariances(net, params, x, torch.zeros((), dtype=torch.int64, device=like.device))
        return {"old": {path: torch.zeros_like(c) for path, c in seen.items()}}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name == WARM:
            return params, state
        new = dict(params)
        for path, covariance in self._inputs(net, params, task).items():
            name = lowrank.key(path, "down")
            before = net.buffers[name]
            rows = design(covariance, state["old"][path], before.shape[1]).to(before.dtype)
            own = torch.arange(len(before), device=before.device) == task.index
            new[name] = torch.where(own.view(-1, 1, 1), rows, before)
        return new, state

    def _inputs(self, net: Net, params: Params, task: TaskData) -> Params:
        x, each = task.x, task.task
        if self.samples is not None:
            some = task.rng.permutation("inputs", len(task.y))[: self.samples]
            x, each = x.index_select(0, some), each.index_select(0, some)
        return covariances(net, params, x, each)

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return lowrank.keep_own(net.module, grads, batch.current)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        # Momentum and weight decay move what has no gradient: the other tasks' adapters are put back.
        return lowrank.keep_own(net.module, params, step.batch.current, step.previous), state

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        seen, new = self._inputs(net, params, task), {}
        for path, old in state["old"].items():
            slots = ({**net.buffers, **params})[lowrank.key(path, "up")].shape[0]
            share = self.energy + (self.final - self.energy) * task.index / slots
            new[path] = old + added(seen[path], old, share)
        return params, {"old": new}


def covariances(net: Net, params: Params, x: Tensor, task: Tensor) -> Params:
    """Return ``H H^T`` of the inputs of each adapted layer, float64 ``[in, in]``, over samples ``x``.

    A convolution's inputs are the patches that its filters see. ``task`` is that of each sample, or of all.
    """
    sums: Params = {}
    layers = {path: net.module.get_submodule(path) for path in lowrank.adapters(net.module)}
    handles = [layer.register_forward_hook(_note(path, sums)) for path, layer in layers.items()]
    try:
        for start in range(0, len(x), CHUNK):
            part = slice(start, start + CHUNK)
            net.raw(params, x[part], task if task.ndim == 0 else task[part])
    finally:
        for handle in handles:
            handle.remove()
    if missing := [path for path in layers if path not in sums]:
        raise PerdureError(
            f"inflora must see what each adapted layer is given; {missing[0]!r} is not called as a layer: "
            "leave it out with targets"
        )
    return sums


def _note(path: str, sums: Params) -> Any:
    """Add up the inputs of a layer whenever it runs."""

    def hook(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        rows = _rows(layer, args[0]).double()
        sums[path] = sums.get(path, 0.0) + rows.mT @ rows

    return hook


def _rows(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what the rows of the layer's weight are multiplied with, ``[rows, in]``."""
    if not isinstance(layer, nn.Conv2d):
        return x.reshape(-1, x.shape[-1])
    x = x if x.ndim == 4 else x.unsqueeze(0)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode)
    patches = nn.functional.unfold(x, layer.kernel_size, layer.dilation, 0, layer.stride)
    # [n, groups * width, places]: the rows of a group's weights see the patches of their group.
    width: int = layer.weight[0].numel()
    return patches.mT.reshape(-1, width)


def _principal(covariance: Tensor, old: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return energies (descending) and directions (rows) of what lies outside the old space; all energy."""
    free = torch.eye(len(old), dtype=old.dtype, device=old.device) - old
    # A replica that diverged stays so, and does not stop the others.
    covariance = covariance.nan_to_num(0.0, 0.0, 0.0)
    inside = free @ covariance @ free
    values, vectors = torch.linalg.eigh((inside + inside.mT) / 2)
    rows = vectors.mT.flip(0)
    # Of the two directions of an eigenvector, the one whose largest entry is positive.
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return values.flip(0), rows * torch.where(largest < 0, -1.0, 1.0), covariance.diagonal().sum()


def design(covariance: Tensor, old: Tensor, rank: int) -> Tensor:
    """Return B ``[rank, in]``: principal directions of inputs outside the old space, orthonormal rows or 0.

    Parameters
    ----------
    covariance:
        ``H H^T`` of the task's inputs, ``[in, in]``.
    old:
        Projector on the old space, ``[in, in]``.
    rank:
        How many.
    """
    values, rows, total = _principal(covariance, old)
    return torch.where((values > NOTHING * total).unsqueeze(-1), rows, 0.0)[:rank]


def added(covariance: Tensor, old: Tensor, share: float) -> Tensor:
    """Return the projector on the fewest directions that, with the old space, hold a share of the energy."""
    values, rows, total = _principal(covariance, old)
    held = total - values.sum()
    before = held + values.cumsum(0) - values
    chosen = (before < share * total) & (values > NOTHING * total)
    rows = torch.where(chosen.unsqueeze(-1), rows, 0.0)
    return rows.mT @ rows
