"""Channel-wise lightweight reprogramming."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from perdure.core.batch import Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.adapters.anchored import (
    Place,
    Variant,
    check_variant,
    head_of,
    layout,
    load_anchor,
    plain_names,
    reprogram,
)
from perdure.strategies.contract.kept import Kept
from perdure.strategies.contract.phase import Phase, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

ANCHOR = "anchor"


@strategy("clr")
class CLR(Strategy):
    """Freeze a convolutional net, the anchor, and give each task a small filter behind each convolution.

    ``X' = W * X`` by the frozen anchor, then ``Y_k = K_k * X'_k`` for each channel k, then norm and ReLU.
    Learned for each task t: the filters K (which start as identities), the norms' affine parameters and
    running statistics (which start as the anchor's), and the head (which starts as drawn). Minimised:
    ``loss + penalty * sum_i ||theta_t,i||_2`` over the task's trained tensors, the norms not squared. The
    rest of the net never changes again, so nothing is forgotten, to the bit.

    It asks for the task-incremental setting: scoring chooses the task's own tensors, which the other
    settings do not allow, and takes a forward pass per task of the stream. Any net of ``nn.Conv2d`` will do,
    with norms of any kind or none; its head is the last linear or convolution registered. Samples that
    another strategy replays go through the tensors of the task at hand.

    Parameters
    ----------
    variant:
        ``"default"``: 3x3 filters behind the convolutions that are not 1x1; ``"full"``: behind all;
        ``"scalar"``: behind 1x1 convolutions one number per channel, 3x3 filters behind the others.
    pretrain:
        The anchor is first trained on so many first tasks of the stream, together; 0 takes the model as it
        is (a module with ``pretrained=True``, or ``anchor``). These tasks are then learned like the others.
        ``None`` is 0 where an anchor is given, and otherwise 1.
    pretrain_epochs:
        Passes over their data; ``None`` takes the run's.
    penalty:
        Weight of the sum of norms.
    anchor:
        A safetensors file of the plain model's weights, trained on another source by
        :func:`perdure.pretrain.pretrain` or elsewhere; its head is left out.

    Source: Ge et al., "CLR: channel-wise lightweight reprogramming for continual learning", ICCV 2023, arXiv
    2307.11386, and its code: place, shape and start of the filters, the variants, the penalty.
    Reconstructed: which tensors the penalty takes (here all that are trained for the task), that norms start
    as the anchor's, that every head starts from the same draw. Published protocol: an anchor trained on
    another source, Adam 1e-3, batches of 32, up to 60 epochs, the rate cut tenfold every 20.

    Examples
    --------
    >>> from perdure.models import resnet
    >>> from perdure.models.adapters.anchored import parameter_count
    >>> count = parameter_count(resnet()((3, 32, 32), 10))
    >>> f"{count['task']} numbers per task beside the head, {count['share']:.2%} of {count['backbone']}"
    '16980 numbers per task beside the head, 1.55% of 1093140'
    """

    scales: ClassVar[tuple[str, ...]] = ("penalty",)
    variant: Variant = "default"
    pretrain: int | None = None
    pretrain_epochs: int | None = None
    penalty: float = 1e-5
    anchor: str | None = None

    def __post_init__(self) -> None:
        check_variant(self.variant)
        if self.pretrain is not None and self.pretrain < 0:
            raise PerdureError(f"pretrain must be at least 0 tasks; found {self.pretrain}")
        if self.pretrain_epochs is not None and self.pretrain_epochs < 1:
            raise PerdureError(f"pretrain_epochs must be at least 1; found {self.pretrain_epochs}")
        if not self.penalty >= 0:
            raise PerdureError(f"penalty must be at least 0; found {self.penalty}")

    @property
    def first(self) -> int:
        """How many first tasks the anchor is trained on."""
        return (1 if self.anchor is None else 0) if self.pretrain is None else self.pretrain

    @property
    def together(self) -> bool:  # type: ignore[override]
        """Whether the anchor has learned from several tasks of the stream before their turn."""
        return self.first > 1

    def _check(self, stream: Stream) -> None:
        if stream.setting != "task":
            raise PerdureError(
                "clr must be told the task when it scores: give a stream with setting='task'; "
                f"found setting={stream.setting!r}"
            )
        if self.first > len(stream):
            raise PerdureError(
                f"pretrain must be at most the {len(stream)} tasks of the stream; found {self.first}"
            )
        if self.first and stream.online:
            raise PerdureError(
                "the samples of an online stream may be passed over once: set pretrain=0 and bring an "
                f"anchor; found pretrain={self.first}"
            )

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        self._check(stream)
        if self.anchor is not None:
            model = copy.deepcopy(model)
            load_anchor(model, self.anchor)
        return reprogram(model, self.variant)

    def phases(self, stream: Stream) -> list[Phase]:
        self._check(stream)
        first = tuple(range(self.first))
        before = [Phase(first, ANCHOR, stage=False, epochs=self.pretrain_epochs)] if first else []
        return before + [Phase((t,), reset=True) for t in range(len(stream))]

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        own = {**net.buffers, **params}
        start = {k: own[k].clone() for k in layout(net.module).deltas}
        device = next(iter(params.values())).device
        return {
            "start": start,
            "bank": {k: torch.stack([v] * len(stream)) for k, v in start.items()},
            # Which tasks the model at hand answers for, instead of what is in the bank.
            "live": torch.zeros(len(stream), dtype=torch.bool, device=device),
        }

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name == ANCHOR:
            return params, {**state, "live": torch.ones_like(state["live"])}
        live = torch.arange(len(state["live"]), device=state["live"].device) == task.index
        return {**params, **state["start"]}, {**state, "live": live}

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        names = layout(net.module)
        if phase == ANCHOR:
            return [k for k in params if k not in names.kernels]
        return [k for k in names.deltas if k in params]

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        if batch.phase == ANCHOR:
            return losses
        own = [params[k] for k in layout(net.module).deltas if k in params]
        norms = torch.stack([torch.linalg.vector_norm(v) for v in own])
        return losses + self.penalty * norms.sum() / len(losses)

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        own, live = {**net.buffers, **params}, torch.zeros_like(state["live"])
        if task.phase.name == ANCHOR:
            norms = {k: own[k].clone() for k in layout(net.module).norms}
            start = {**state["start"], **norms}
            bank = {k: torch.stack([v] * len(live)) for k, v in start.items()}
            return params, {"start": start, "bank": bank, "live": live}
        bank = {k: v.clone() for k, v in state["bank"].items()}
        for k, v in bank.items():
            v[task.index] = own[k]
        return params, {**state, "bank": bank, "live": live}

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        output = self._answer(net, params, state, 0, x, task)
        for t in range(1, len(state["live"])):
            own = (task == t).unsqueeze(-1)
            output = torch.where(own, self._answer(net, params, state, t, x, task), output)
        return output

    def _answer(self, net: Net, params: Params, state: State, t: int, x: Tensor, task: Tensor) -> Tensor:
        own, live = {**net.buffers, **params}, state["live"][t]
        own |= {k: torch.where(live, own[k], v[t]) for k, v in state["bank"].items()}
        return net.eval({k: own[k] for k in net.buffers})({k: own[k] for k in params}, x, task)


def get_deltas(trained: Kept, task: int, k: int = 0) -> Params:
    """Return what task ``task`` owns in replica ``k`` of a run; names are those of the reprogrammed model.

    Parameters
    ----------
    trained:
        ``compare(..., keep=True).trained["clr"]``.
    task:
        Index of the task.
    k:
        Index of the replica.
    """
    bank = trained.state(CLR.name, k)["bank"]
    tasks = len(next(iter(bank.values())))
    if not 0 <= task < tasks:
        raise PerdureError(f"expected a task in [0, {tasks}); found {task}")
    return {name: v[task] for name, v in bank.items()}


def save_deltas(trained: Kept, path: Place, task: int, k: int = 0) -> None:
    """Write what a task owns, and nothing of the anchor, as safetensors; arguments as for :func:`get_deltas`.

    :func:`perdure.models.adapters.anchored.load_deltas` puts the file into a reprogrammed model with the
    same anchor, which then answers for this task as the run did, to the bit.
    """
    _write(get_deltas(trained, task, k), path)


def save_anchor(trained: Kept, path: Place, k: int = 0) -> None:
    """Write the anchor of replica ``k`` under the plain model's names: what ``CLR(anchor=path)`` reads.

    The norms are those that every task starts from; the head is left out.
    """
    held = {**trained.buffers(k), **trained.params(k), **trained.state(CLR.name, k)["start"]}
    module = trained.module
    head = head_of(module)[0]
    names = plain_names(module)
    _write({names[n]: v for n, v in held.items() if n in names and n.rpartition(".")[0] != head}, path)


def _write(tensors: Params, path: Place) -> None:
    save_file({k: v.detach().cpu().clone() for k, v in tensors.items()}, Path(path))
