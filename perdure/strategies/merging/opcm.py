"""OPCM: orthogonal projection-based continual merging."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import Params, State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.merging.rule import Streaming, rule, vectors


@rule("opcm")
class OPCM(Streaming):
    """Add to the merged vector what of the next task vector lies apart from it, at a steady length.

    With S_1 = tau_1 and ``S_t = S_(t-1) + P(tau_t)``, the merged weights are
    ``theta_0 + S_t * (1/t) sum_i ||tau_i|| / ||S_t||``: as far from the start as the models are on average.
    P projects each weight matrix. With the singular vectors u_i, v_i of S_(t-1)'s and r the number of the
    largest singular values whose sum is at most ``alpha`` of all,
    ``P(tau) = tau - sum_(i, j) (u_i^T tau v_j) u_i v_j^T`` over the pairs i, j <= r and the pairs i = j.

    Parameters
    ----------
    alpha:
        Share of the sum of singular values whose block is taken out, in [0, 1).

    Vectors (biases, norms) are added as they are. Deviation: convolutions are projected too, as matrices
    ``[out, in * k * k]``; the source adds them as they are. The order of the models counts.

    Source: Tang et al., "Merging models on the fly without retraining", NeurIPS 2025, arXiv 2501.09522.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, high=1)

    def begin(self, base: Params) -> State:
        none = next(iter(base.values())).new_zeros(())
        return {"sum": {k: torch.zeros_like(v) for k, v in base.items()}, "lengths": none, "count": none + 0}

    def add(self, base: Params, state: State, task: Params, rng: Rng | None = None) -> State:
        new, first = vectors(base, task), state["count"] == 0
        total = {}
        for k, held in state["sum"].items():
            apart = project(new[k].flatten(1), held.flatten(1), self.alpha) if held.ndim > 1 else new[k]
            total[k] = torch.where(first, new[k], held + apart.view_as(held))
        return {"sum": total, "lengths": state["lengths"] + length(new), "count": state["count"] + 1}

    def read(self, base: Params, state: State) -> Params:
        mean = state["lengths"] / state["count"].clamp(min=1)
        factor = mean / length(state["sum"]).clamp(min=1e-12)
        return {k: v + factor * state["sum"][k] for k, v in base.items()}


def project(vector: Tensor, held: Tensor, alpha: float) -> Tensor:
    """Take out of a matrix ``[m, n]`` what shares its place with the singular vectors of another one."""
    # A replica that has diverged must not stop the others: its sum stays what it is.
    u, s, vt = torch.linalg.svd(held.nan_to_num(0.0, 0.0, 0.0), full_matrices=False)
    top = (s.cumsum(0) <= alpha * s.sum()).to(s.dtype)
    inner = u.T @ vector @ vt.T
    taken = torch.maximum(top.unsqueeze(1) * top, torch.eye(len(s), dtype=s.dtype, device=s.device))
    apart: Tensor = vector - u @ (taken * inner) @ vt
    return apart


def length(vector: Params) -> Tensor:
    """Return the norm of all weights together."""
    return torch.stack([v.square().sum() for v in vector.values()]).sum().sqrt()
