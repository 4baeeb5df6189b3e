"""SMoRA: one low-rank adapter that all tasks share, each rank of which is an expert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from perdure.core.batch import Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.net import Net
from perdure.models.adapters.by_task import exchange, linear_targets
from perdure.models.adapters.lowrank import check_targets
from perdure.models.adapters.smora import SMoRALinear, choose
from perdure.strategies.adapters.by_task import WARM, TaskAdapters
from perdure.strategies.contract.phase import Step
from perdure.strategies.contract.registry import strategy
from perdure.strategies.parts.inside import inputs_of

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("smora")
class SMoRA(TaskAdapters):
    """Freeze the model; all tasks learn a low-rank change at once, of which each sample takes a few ranks.

    ``y = W0 x + alpha sum_i s_i(x) B_i (A_i . x)`` over the active ranks i, in each adapted layer. A
    ``[r, in]`` and B ``[out, r]`` have r ranks, ``s(x) = softmax(G x)`` are their scores, G ``[r, in]`` is
    the gate, and active are the ``active`` ranks with the highest ``s_i + b_i``. B is zero at first, so is
    the change. After each step ``b_i += speed * sign(c - c_i)``, where c_i counts the samples that took rank
    i and c is their mean over ranks: b balances the load without a loss of its own, and has no other part in
    the outputs.

    Each step takes a batch of every task; minimised is the sum of the tasks' losses. The head is the last
    linear layer as wide as the outputs. Nothing but the head may be a task's own: any setting will do, and no
    sample says its task when it is scored.

    Parameters
    ----------
    rank, active:
        Number of ranks r, and how many of them a sample takes. In front of a layer with several rows a sample
        (tokens), each row chooses.
    alpha:
        Strength of the change; ``None`` takes the rank: were all scores alike, each active rank would have a
        factor 1.
    speed:
        How much b moves in a step; 0 leaves the load as it is.
    targets:
        Which linear layers: ``None`` for all but the head; a regular expression that whole names match; or
        names, whole or what follows a dot (``["query", "value"]``).
    warm:
        Whether all tasks first train the whole model together, as long as they then train the adapters: for
        models that start from scratch. With ``False`` nothing but adapters and the head ever moves: for
        pretrained ones.

    Source: Zhao et al., "Each rank could be an expert: single-ranked mixture of experts LoRA for multi-task
    learning", arXiv 2501.15103 (ranks as experts, the highest by score and bias, a bias that follows the
    load). Reconstructed: scores by a softmax over all ranks, not divided again by the sum over active ones;
    step and sign of the bias, as in Wang et al., "Auxiliary-loss-free load balancing strategy for
    mixture-of-experts", arXiv 2408.15664; ``alpha``. ``warm`` is an addition.
    """

    scales: ClassVar[tuple[str, ...]] = ("speed",)
    rank: int = 8
    active: int = 2
    alpha: float | None = None
    speed: float = 0.001
    targets: str | Sequence[str] | None = None
    warm: bool = True

    def __post_init__(self) -> None:
        check_whole("rank", self.rank)
        check_whole("active", self.active, 1, self.rank)
        check_number("speed", self.speed)
        if self.alpha is not None:
            check_number("alpha", self.alpha, ends="()")
        check_targets(self.targets)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        chosen = linear_targets(model, stream.outputs, self.targets, self.name)
        scale = float(self.rank) if self.alpha is None else self.alpha

        def wrap(layer: Any) -> nn.Module:
            return SMoRALinear(layer, self.rank, self.active, scale)

        return exchange(model, stream.outputs, wrap, chosen, not self.warm)

    def own(self, model: nn.Module) -> set[str]:
        return {f"{path}.{k}" for path in _layers(model) for k in ("down", "up", "gate", "balance")}

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        fixed = {f"{path}.balance" for path in _layers(net.module)}
        return tuple(k for k in super().trainable(net, params, phase) if k not in fixed)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        new, before = dict(params), step.previous
        given = inputs_of(net, before, step.batch, _layers(net.module))
        # Asked for even where nothing follows from it: a model that it refuses is refused at once.
        if step.batch.phase == WARM:
            return params, state
        counts = step.batch.sample_weight > 0
        for path, calls in given.items():
            gate, balance = before[f"{path}.gate"], before[f"{path}.balance"]
            load = torch.zeros_like(balance)
            for x in calls:
                # Within autocast the inputs may be of another type than the weights.
                load = load + taken(choose(x.to(gate.dtype), gate, balance, self.active)[1], counts)
            # Whole numbers: their differences are exact, and so is the sign.
            new[f"{path}.balance"] = balance + self.speed * (load.sum() - len(load) * load).sign()
        return new, state


def _layers(model: nn.Module) -> list[str]:
    return [path for path, part in model.named_modules() if isinstance(part, SMoRALinear)]


def taken(chosen: Tensor, counts: Tensor) -> Tensor:
    """Return how many rows took each rank, ``[r]``.

    Parameters
    ----------
    chosen:
        Which ranks each row took, 0 or 1, ``[n, ..., r]``.
    counts:
        Which samples count, ``[n]`` bool.
    """
    rows = chosen.flatten(1, -2).sum(1) if chosen.ndim > 2 else chosen
    return (rows * counts.to(rows.dtype).unsqueeze(1)).sum(0)
