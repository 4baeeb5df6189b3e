"""Adaptive SVD: full fine-tuning in the directions that earlier tasks use least."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from perdure.core.batch import Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.adapters.factored import Family, Low, free_part, product, some, zeros
from perdure.models.inspect import LAYERS, find_head
from perdure.strategies.contract.phase import Phase, Step, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

Form = Literal["factors", "matrix"]
# The names of phases without and with a constraint.
FREE, LOW = "learn", "low"
ORIGINAL, FACTORS = ".original", (".0.u", ".0.s", ".0.v")


@strategy("adaptive-svd")
class AdaptiveSVD(Strategy):
    """Freeze the top singular directions of each weight before every task after the first; train the rest.

    ``W = U diag(S) V`` of each linear or convolution weight (``[o, i, kh, kw]`` as ``o x (i kh kw)``) has
    ``R = min(out, in)`` triplets, of which the top ``k = min(floor(r R), R - 1)`` are kept. The retain ratio
    is ``r = mrr + I (trr - mrr)`` in [0, 1]; the importance ``I`` is the mean of ``cos(x, W x)`` over earlier
    tasks' inputs x of the layer, divided by its mean over the layers.

    The gradient is projected, and what is trained is projected again after the optimiser's step: with Adam
    the projection of the gradient alone leaks. Of the change ``dW`` since the task began,

    - ``"two-sided"`` holds ``U_high^T dW = 0`` and ``dW V_high^T = 0``;
    - ``"input"`` holds ``dW V_high^T = 0``: outputs for inputs in the span of ``V_high`` stay;
    - ``"paper"`` holds ``U_high^T dW V_high^T = 0``, the weakest, as the paper's text states.

    Optimiser memory starts afresh with each task. Biases, norms, attention's packed ``in_proj_weight`` and
    the head are trained freely (all but the head can be left at rest). The method relies on weights of low
    rank, as pretrained networks have; small networks trained from scratch may lose by it.

    Parameters
    ----------
    mrr, trr:
        Retain ratio of a layer of importance 0, and of importance 1 (the mean), in [0, 1].
    ratio:
        The same retain ratio for all layers instead, in [0, 1]; nothing is measured then.
    family:
        The constraint.
    form:
        ``"factors"``: ``U_low``, ``S_low`` and ``V_low`` are trained, as the authors do; ``"matrix"``: W is,
        and put back on the constraint by the projection of W. ``"paper"`` needs ``"matrix"``.
    head:
        Whether the last linear layer that gives the outputs is protected too.
    first:
        Whether the first task is constrained already: protects what a pretrained model knows.
    rest:
        Whether what is not decomposed is trained as well; ``False`` trains, besides the head, weights alone
        (as PEFT does), while running statistics go on.

    Source: Nayak et al., arXiv 2504.07097; the projection after the step as in the authors' code.
    Reconstructed: negative cosines count as 0; layers without one (not square, convolutions) have importance
    1, as all have if no cosine is above 0.
    """

    mrr: float = 0.1
    trr: float = 0.8
    ratio: float | None = None
    family: Family = "two-sided"
    form: Form = "factors"
    head: bool = False
    first: bool = False
    rest: bool = True

    def __post_init__(self) -> None:
        for name in ("mrr", "trr", "ratio"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise PerdureError(f"{name}, a retain ratio, must lie in [0, 1]; found {value}")
        if self.family not in ("two-sided", "input", "paper"):
            raise PerdureError(f"family must be 'two-sided', 'input' or 'paper'; found {self.family!r}")
        if self.form not in ("factors", "matrix") or (self.form == "factors" and self.family == "paper"):
            raise PerdureError(
                f"form must be 'factors' or 'matrix', and 'matrix' for family 'paper'; found {self.form!r}"
            )

    @property
    def accumulated_samples(self) -> int | None:
        return None if self.ratio is None else 1

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        if not self._targets(model, stream):
            raise PerdureError(
                "adaptive-svd needs a linear or convolution weight besides the head, or head=True; found none"
            )
        if self.form == "matrix":
            return model
        model = copy.deepcopy(model)
        owners = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
        for path, layer in self._targets(model, stream).items():
            if parametrize.is_parametrized(layer) or owners.count(id(layer.weight)) > 1:
                raise PerdureError(f"form='factors' needs plain weights; {path}.weight is shared or computed")
            if layer.weight.requires_grad:
                low = self._bounds(layer.weight)[0]
                parametrize.register_parametrization(layer, "weight", Low(layer.weight, low))
        return model

    def phases(self, stream: Stream) -> list[Phase]:
        return [
            replace(p, name=LOW if i or self.first else FREE, reset=i > 0)
            for i, p in enumerate(super().phases(stream))
        ]

    def trainable(self, net: Net, params: Params, phase: str) -> Sequence[str]:
        # Factors rest while the whole matrix is free, and what is frozen of it while they are trained.
        resting = () if self.form == "matrix" else ORIGINAL if phase == LOW else FACTORS
        names = [k for k in params if not k.endswith(resting)]
        if not self.rest:
            layers = [p for p, m in net.module.named_modules() if isinstance(m, LAYERS)]
            weights = {self._name(p, f) for p in layers for f in ("", *"usv")}
            head = find_head(net.module)
            names = [k for k in names if k in weights or k.rpartition(".")[0] == head]
        return tuple(names)

    def _targets(self, model: nn.Module, stream: Stream) -> dict[str, Any]:
        found = {p: m for p, m in model.named_modules() if isinstance(m, LAYERS)}
        head = None if self.head else find_head(model, stream.outputs)
        return {p: m for p, m in found.items() if p != head}

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        names = {path: self._name(path) for path in self._targets(net.module, stream)}
        # What is missing is frozen, shared with another layer, or computed.
        weights = {path: params[name] for path, name in names.items() if name in params}
        square = {p: w for p, w in weights.items() if w.ndim == 2 and w.shape[0] == w.shape[1]}
        return {
            "high": {path: zeros(w, slice(self._bounds(w)[1])) for path, w in weights.items()},
            "cosine": {p: w.new_zeros(2) for p, w in square.items() if self.ratio is None},
        }

    def _name(self, path: str, factor: str = "") -> str:
        """Return the name of a weight among the parameters, or of one of its trained factors."""
        name = f"parametrizations.weight.{f'0.{factor}' if factor else 'original'}"
        return f"{path}.{'weight' if self.form == 'matrix' else name}".lstrip(".")

    def _bounds(self, weight: Tensor) -> tuple[slice, int]:
        """Return which triplets may be trained, and how many may be kept; others need not be there."""
        rank = min(weight.flatten(1).shape)
        least = min(self.mrr, self.trr) if self.trr >= self.mrr else 0.0
        least, most = (least, 1.0) if self.ratio is None else (self.ratio, self.ratio)
        first, last = (min(int(r * rank + 1e-9), rank - 1) for r in (least, most))
        return slice(first, rank), last

    def _retained(self, state: State) -> dict[str, Tensor]:
        device = next((high["s"].device for high in state["high"].values()), None)
        one = torch.ones((), dtype=torch.float64, device=device)
        if self.ratio is not None or not state["cosine"]:
            return dict.fromkeys(state["high"], one * (self.trr if self.ratio is None else self.ratio))
        total, count = torch.stack(list(state["cosine"].values())).double().unbind(1)
        means = (total / count.clamp_min(1e-12)).clamp_min(0)
        mean = means.sum() / (count > 0).sum().clamp_min(1)
        shares = torch.where((count > 0) & (mean > 0), means / mean.clamp_min(1e-12), 1.0)
        own = dict(zip(state["cosine"], shares, strict=True))
        return {p: (self.mrr + own.get(p, one) * (self.trr - self.mrr)).clamp(0, 1) for p in state["high"]}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name != LOW:
            return params, state
        new, high = dict(params), {}
        for path, ratio in self._retained(state).items():
            whole = params[name := self._name(path)]
            if self.form == "factors":
                whole = whole + product({f: params[self._name(path, f)] for f in "usv"}).view(whole.shape)
            # A replica that diverged stays so, and does not stop the others.
            u, s, v = torch.linalg.svd(whole.flatten(1).nan_to_num(0.0, 0.0, 0.0), full_matrices=False)
            k = (ratio * len(s) + 1e-9).floor().clamp_max(len(s) - 1)
            top = (torch.arange(len(s), device=s.device) < k).to(s.dtype)
            free, most = self._bounds(whole)
            high[path] = some({"u": u, "s": s, "v": v}, top, slice(most))
            if self.form == "factors":
                low = some({"u": u, "s": s, "v": v}, 1 - top, free)
                new.update({self._name(path, f): value for f, value in low.items()})
                new[name] = whole - product(low).view(whole.shape)
        return new, {**state, "high": high}

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        return self._project(grads, params, state) if batch.phase == LOW else grads

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        if step.batch.phase != LOW:
            return params, state
        new = self._project(params, params, state)
        if self.form == "matrix":
            # W is put on the constraint, not its step alone: so rounding does not add up over the steps.
            for path, high in state["high"].items():
                name = self._name(path)
                new[name] = new[name] + product(high).view(new[name].shape)
        return new, state

    def _project(self, values: Params, params: Params, state: State) -> Params:
        """Remove what is protected from parameters, or from gradients (which may have leading axes)."""
        new = dict(values)
        for path, high in state["high"].items():
            if self.form == "matrix":
                name = self._name(path)
                flat = values[name].flatten(1 - params[name].ndim)
                new[name] = free_part(flat, high, self.family).view(values[name].shape)
                continue
            u, v = self._name(path, "u"), self._name(path, "v")
            new[v] = values[v] - (values[v] @ high["v"].mT) @ high["v"]
            if self.family == "two-sided":
                new[u] = values[u] - high["u"] @ (high["u"].mT @ values[u])
        return new

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        sums = {path: torch.zeros_like(c) for path, c in state["cosine"].items()}
        handles = [_watch(net.module, path, sums, batch.sample_weight) for path in sums]
        try:
            net.raw(params, batch.x, batch.task)
        finally:
            for handle in handles:
                handle.remove()
        return {"cosine": sums, "count": batch.sample_weight.sum()}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        cosine = {p: c + task.accumulated["cosine"][p] for p, c in state["cosine"].items()}
        return params, {**state, "cosine": cosine}


def _watch(module: nn.Module, path: str, sums: Params, weight: Tensor) -> Any:
    """Add to ``sums[path]`` whenever the layer runs."""

    def hook(layer: nn.Linear, args: tuple[Tensor, ...], out: Tensor) -> None:
        x = args[0]
        each = nn.functional.cosine_similarity(x, nn.functional.linear(x, layer.weight), dim=-1)
        if each.numel() % len(weight) == 0:
            mean = each.reshape(len(weight), -1).mean(1)
            sums[path] = sums[path] + torch.stack([(mean * weight).sum(), weight.sum()])

    return module.get_submodule(path).register_forward_hook(hook)
