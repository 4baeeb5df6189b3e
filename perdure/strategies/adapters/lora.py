"""LoRA: one low-rank adapter beside frozen weights, trained on all tasks in sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from perdure.core.batch import Params, State
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.adapters import lowrank
from perdure.strategies.contract.phase import Phase, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

WARM, ADAPT = "learn", "adapt"


@strategy("lora")
class LoRA(Strategy):
    """Freeze the model; learn a low-rank change of its weights, and the head.

    ``W = W0 + (alpha / r) B A`` for each adapted weight, A ``[r, in]`` drawn as torch draws a linear layer
    and B ``[out, r]`` zero. One adapter learns all tasks in sequence, and nothing protects earlier ones but
    its small rank. All that is not adapted (biases, norms, embeddings) stays as it is; the running statistics
    of batch norm follow the data, as ever. The head is the last linear layer as wide as the outputs.

    Optimiser memory starts afresh with each task. The phases of learning with adapters are named "adapt".

    Parameters
    ----------
    rank:
        Rank r of the change; at most the smaller side of each adapted weight.
    alpha:
        Strength of the change, which is multiplied by ``alpha / rank``; ``None`` takes the rank: a factor 1.
    targets:
        Which linear layers and 2-d convolutions: ``None`` for all but the head; a regular expression that
        whole names match; or names, whole or what follows a dot (``["query", "value"]``).
    warm:
        Whether the first task trains the whole model instead, and adapters begin with the second: for models
        that start from scratch. With ``False`` nothing but adapters and the head ever moves: for pretrained
        ones.
    fresh:
        Add the adapter to W0 at the end of each task, and begin a new one.

    Source: Hu et al., arXiv 2106.09685 (A and B, their start, ``alpha / r``); ``warm`` is an addition.
    """

    rank: int = 4
    alpha: float | None = None
    targets: str | Sequence[str] | None = None
    warm: bool = True
    fresh: bool = False

    def __post_init__(self) -> None:
        check_whole("rank", self.rank)
        if self.alpha is not None and not self.alpha > 0:
            raise PerdureError(f"alpha must be above 0; found {self.alpha}")
        lowrank.check_targets(self.targets)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        return self._adapted(model, stream, 1)

    def _adapted(
        self, model: nn.Module, stream: Stream, slots: int, magnitude: float | None = None
    ) -> nn.Module:
        scale = 1.0 if self.alpha is None else self.alpha / self.rank
        return lowrank.adapt(
            model, stream.outputs, self.rank, slots, targets=self.targets, scale=scale,
            magnitude=magnitude, frozen=not self.warm,
        )  # fmt: skip

    def phases(self, stream: Stream) -> list[Phase]:
        phases = [replace(p, name=ADAPT, reset=i > 0) for i, p in enumerate(super().phases(stream))]
        return [replace(phases[0], name=WARM), *phases[1:]] if self.warm else phases

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        own = lowrank.names(net.module)
        moving = set(params) - own if phase == WARM else own | lowrank.head_names(net.module)
        return tuple(k for k in params if k in moving)

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if not self.fresh or task.phase.name == WARM:
            return params, state
        tensors, new = {**net.buffers, **params}, dict(params)
        for path in lowrank.adapters(net.module):
            base, down, up = (lowrank.key(path, part) for part in ("base", "down", "up"))
            new[base] = tensors[base] + lowrank.delta(net.module, tensors, path).view(tensors[base].shape)
            drawn = task.rng.uniform(down, *params[down].shape, dtype=params[down].dtype)
            new[down] = (2 * drawn - 1) / drawn.shape[-1] ** 0.5
            new[up] = torch.zeros_like(params[up])
        return new, state
