"""Align-LoRA: one low-rank adapter for all tasks, inside which their samples are to look alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.adapters import lowrank
from perdure.models.adapters.by_task import linear_targets
from perdure.strategies.adapters.by_task import WARM, TaskAdapters
from perdure.strategies.contract.registry import strategy
from perdure.strategies.parts.inside import inputs_of

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

SMALL = 1e-12


@strategy("align-lora")
class AlignLoRA(TaskAdapters):
    """Freeze the model; all tasks learn one low-rank change, inside which they look alike, and the head.

    ``W = W0 + (alpha / r) B A`` for each adapted linear layer, A ``[r, in]`` and B ``[out, r]``, shared by
    all tasks. Minimised is the sum of the tasks' losses and ``alignment`` times the mean, over adapted layers
    and pairs of tasks s and t, of the squared maximum mean discrepancy of what A makes of their samples in
    the batch,

    ``MMD^2 = E k(a, a') + E k(b, b') - 2 E k(a, b)``, a and a' among ``A x`` of task s, b and b' of task t,
    ``k(a, b) = exp(-|a - b|^2 / (2 width m))``,

    where m is the mean of ``|a - b|^2`` over all tasks' samples, each task counting the same, and taken as a
    constant: a smaller A makes nothing more alike. Samples count with their weight, padding does not. Where a
    layer has several rows a sample (tokens), those at the same place are compared.

    Each step takes a batch of every task. The head is the last linear layer as wide as the outputs. Nothing
    but the head may be a task's own: any setting will do, and no sample says its task when it is scored.
    Tasks that share their very samples look alike already: there it is LoRA on all tasks.

    Parameters
    ----------
    rank:
        Rank r of the change; at most the smaller side of each adapted weight.
    alignment:
        Weight of the discrepancy, which is at most 2.
    alpha:
        Strength of the change, which is multiplied by ``alpha / rank``; ``None`` takes the rank: a factor 1.
    width:
        Of the kernel: its variance, as a share of m.
    targets:
        Which linear layers: ``None`` for all but the head; a regular expression that whole names match; or
        names, whole or what follows a dot (``["query", "value"]``).
    warm:
        Whether all tasks first train the whole model together, as long as they then train the adapters: for
        models that start from scratch. With ``False`` nothing but adapters and the head ever moves: for
        pretrained ones.

    Examples
    --------
    >>> from perdure.strategies import get
    >>> get("align-lora(alignment=0.5)").rank
    4

    Source: Liu et al., "Align, don't divide: revisiting the LoRA architecture in multi-task learning",
    arXiv 2508.05078, and its code (the discrepancy of each pair of tasks, its means over samples, places,
    pairs and layers). Reconstructed: ``alignment``; theirs is 0.01, for another kernel. Deviations: one
    kernel whose width follows the data, where theirs is the sum of 19 of fixed widths. Their other term, a
    divergence of normal distributions, is left out. ``warm`` is an addition.
    """

    scales: ClassVar[tuple[str, ...]] = ("alignment", "width")
    rank: int = 4
    alignment: float = 0.1
    alpha: float | None = None
    width: float = 1.0
    targets: str | Sequence[str] | None = None
    warm: bool = True

    def __post_init__(self) -> None:
        check_whole("rank", self.rank)
        check_number("alignment", self.alignment)
        check_number("width", self.width, ends="()")
        if self.alpha is not None:
            check_number("alpha", self.alpha, ends="()")
        lowrank.check_targets(self.targets)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        chosen = linear_targets(model, stream.outputs, self.targets, self.name)
        scale = 1.0 if self.alpha is None else self.alpha / self.rank
        exactly = "|".join(re.escape(path) for path in chosen)
        return lowrank.adapt(
            model, stream.outputs, self.rank, targets=exactly, scale=scale, frozen=not self.warm
        )

    def own(self, model: nn.Module) -> set[str]:
        return lowrank.names(model)

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        given = inputs_of(net, params, batch, lowrank.adapters(net.module))
        # Asked for even where nothing follows from it: a model that this refuses is refused at once.
        if silent := [path for path, calls in given.items() if not calls]:
            raise PerdureError(
                f"{self.name} needs layers that are called; the model reads the weight of {silent[0]} "
                "itself: choose other targets"
            )
        if batch.phase == WARM:
            return losses
        found = []
        for path, calls in given.items():
            down = params[lowrank.key(path, "down")][0]
            # Within autocast the inputs may be of another type than the weights.
            inner = [x.to(down.dtype) @ down.mT for x in calls]
            found += [discrepancy(a, batch.task, batch.sample_weight, self.width) for a in inner]
        more = self.alignment * torch.stack(found).mean()
        return torch.cat([losses, more.to(losses.dtype).unsqueeze(0)])


def discrepancy(inner: Tensor, task: Tensor, weight: Tensor, width: float) -> Tensor:
    """Return the squared maximum mean discrepancy of two tasks' rows, a mean over all pairs of tasks, 0-d.

    Parameters
    ----------
    inner:
        What is compared, ``[n, ..., r]``: rows at the same place, of which the mean is taken.
    task, weight:
        Task of each sample, and what it counts, ``[n]`` both. A task without weight is none.
    width:
        As in :class:`AlignLoRA`.

    Examples
    --------
    >>> rows, task = torch.tensor([[0.0], [1.0], [0.0], [1.0]]), torch.tensor([0, 0, 1, 1])
    >>> round(discrepancy(rows, task, torch.ones(4), 1.0).item(), 4)
    0.0
    """
    same = (task.unsqueeze(0) == task.unsqueeze(1)).to(weight.dtype)
    # Shares of the samples in their task: each task adds up to 1.
    share = weight / (same @ weight).clamp_min(SMALL)
    both = share.unsqueeze(0) * share.unsqueeze(1)
    tasks = share.sum()
    rows = inner.reshape(len(inner), -1, inner.shape[-1]).transpose(0, 1)
    lengths = rows.square().sum(-1)
    apart = (lengths.unsqueeze(-1) + lengths.unsqueeze(-2) - 2 * rows @ rows.mT).clamp_min(0)
    mean = (both * apart.detach()).sum((-2, -1), keepdim=True) / tasks.square().clamp_min(1)
    near = torch.exp(-apart / (2 * width * mean.clamp_min(SMALL)))
    # Each task stands in a pair with every other one, and both ways of a pair are among the others.
    within, across = (both * same * near).sum((-2, -1)), (both * (1 - same) * near).sum((-2, -1))
    total = ((tasks - 1) * within - across).mean()
    return total / (tasks * (tasks - 1) / 2).clamp_min(1)
