"""Synaptic intelligence."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from perdure.core.batch import Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.strategies.contract.phase import Step, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy


@strategy("si")
class SI(Strategy):
    """Hold each weight by how much of the loss its own movement has taken away so far.

    Along task t's training, ``w_k = -sum_steps g_k (theta_k after - theta_k before)`` is the drop of the loss
    that weight k brought about (g is the gradient of the batch's loss). At the task's end
    ``Omega_k = max(0, Omega_k + w_k / (d_k^2 + damping))``, where d is the whole way that the weight went
    in the task. Minimised beside the loss: ``strength * sum_k Omega_k (theta_k - theta*_k)^2``, with theta*
    the weights at the start of the task at hand.

    Parameters
    ----------
    strength:
        Weight of the penalty (c in the paper). A step of SGD overshoots where ``lr * strength * Omega`` is
        above 1, and importances reach up to ``w / damping``: lower one with the other.
    damping:
        Bounds the importance of weights that hardly moved (xi in the paper).
    gradient_of:
        ``"task"``: g is the gradient without this penalty, as in the paper; what other strategies of a
        composition add counts as loss. ``"total"``: with it.
    positive:
        Keep importances at or above 0, as in the authors' code.
    cap:
        Largest importance, or ``None``.

    Source: Zenke, Poole & Ganguli, ICML 2017. Avalanche's ``SynapticIntelligence(si_lambda, eps)`` takes the
    total gradient, cuts importances at 0.001, lets them be negative (they then push weights away), and halves
    the strength; it is ``SI(strength=si_lambda / 2, damping=eps, gradient_of="total", positive=False,
    cap=0.001)``, but for the parameters of batch norm, which it leaves out. Avalanche cuts the importances
    that it uses, and goes on adding to the uncut sum; so does this. (On a CPU, Avalanche 0.6 takes views of
    the weights for copies, so that its path is 0 and it learns as its Naive: the mapping is to the plugin
    with copies.)
    """

    scales: ClassVar[tuple[str, ...]] = ("strength", "damping")
    strength: float = 1.0
    damping: float = 0.1
    gradient_of: Literal["task", "total"] = "task"
    positive: bool = True
    cap: float | None = None

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise PerdureError(f"strength must be at least 0; found {self.strength}")
        if not self.damping > 0:
            raise PerdureError(f"damping must be positive; found {self.damping}")
        if self.gradient_of not in ("task", "total"):
            raise PerdureError(f"gradient_of must be 'task' or 'total'; found {self.gradient_of!r}")
        if self.cap is not None and not self.cap > 0:
            raise PerdureError(f"cap must be positive; found {self.cap}")

    def init(self, net: Net, params: Params, stream: object) -> State:
        def zeros() -> Params:
            return {k: torch.zeros_like(p) for k, p in params.items()}

        return {"path": zeros(), "importance": zeros(), "anchor": {k: p.clone() for k, p in params.items()}}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        path = {k: torch.zeros_like(p) for k, p in params.items()}
        return params, {**state, "path": path, "anchor": dict(params)}

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return {k: g + pull for (k, g), pull in zip(grads.items(), self._pulls(params, state), strict=True)}

    def _pulls(self, params: Params, state: State) -> list[torch.Tensor]:
        """Return the gradient of the penalty."""
        return [
            2 * self.strength * self._limited(state["importance"][k]) * (p - state["anchor"][k])
            for k, p in params.items()
        ]

    def _limited(self, importance: torch.Tensor) -> torch.Tensor:
        return importance if self.cap is None else importance.clamp(max=self.cap)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        path = {}
        for (k, before), pull in zip(step.previous.items(), self._pulls(step.previous, state), strict=True):
            loss_gradient = step.grads[k] - pull if self.gradient_of == "task" else step.grads[k]
            path[k] = torch.addcmul(state["path"][k], loss_gradient, params[k] - before, value=-1.0)
        return params, {**state, "path": path}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        importance = {}
        for k, p in params.items():
            way = p - state["anchor"][k]
            total = state["importance"][k] + state["path"][k] / (way.square() + self.damping)
            importance[k] = total.clamp_min(0.0) if self.positive else total
        return params, {**state, "importance": importance}
