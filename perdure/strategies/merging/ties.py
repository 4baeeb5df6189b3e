"""TIES: trim, elect signs, merge what agrees."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import Params, State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.merging.rule import Streaming, flat, move, rule, unflat, vectors


@rule("ties")
class TIES(Streaming):
    """Trim each task vector to its largest entries, elect a sign for each entry, mean what has that sign.

    ``theta_0 + scale * tau``, where with the trimmed vectors t_1, ..., t_T, entry by entry,
    ``s = sign(sum_t t_t)`` and ``tau = mean of those t_t that are not 0 and have the sign s``; 0 where the
    trimmed ones add up to 0.

    Parameters
    ----------
    density:
        Share of the entries of a task vector that are kept, over all its weights together. Entries as large
        as the smallest kept, up to a millionth, are kept too.
    scale:
        The factor lambda of the merged vector.

    The streaming version gives the same: it keeps, entry by entry, the sums and the numbers of the positive
    and of the negative trimmed entries. It isn't what folding pairs of models with this rule would give.

    Source: Yadav et al., "TIES-merging", NeurIPS 2023, arXiv 2306.01708.

    >>> base = {"w": torch.zeros(5)}
    >>> tasks = {"w": torch.tensor([[3.0, -1.0, 0.2, 2.0, 0.0], [-2.0, -3.0, 0.1, 4.0, 0.0]])}
    >>> TIES(density=0.4).merge(base, tasks)["w"].tolist()
    [3.0, -3.0, 0.0, 3.0, 0.0]
    """

    density: float = 0.2
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_number("density", self.density, high=1, ends="(]")
        check_number("scale", self.scale)

    def begin(self, base: Params) -> State:
        names = ("positive", "negative", "rising", "falling")
        return {name: {k: torch.zeros_like(v) for k, v in base.items()} for name in names}

    def add(self, base: Params, state: State, task: Params, rng: Rng | None = None) -> State:
        whole = {k: v.unsqueeze(0) for k, v in vectors(base, task).items()}
        new = unflat(trim(flat(whole), self.density)[0], base)
        change = {
            "positive": {k: v.clamp(min=0) for k, v in new.items()},
            "negative": {k: v.clamp(max=0) for k, v in new.items()},
            "rising": {k: (v > 0).to(v.dtype) for k, v in new.items()},
            "falling": {k: (v < 0).to(v.dtype) for k, v in new.items()},
        }
        return {name: {k: v + change[name][k] for k, v in own.items()} for name, own in state.items()}

    def read(self, base: Params, state: State) -> Params:
        found = {}
        for k in base:
            up, down = state["positive"][k], state["negative"][k]
            sign = (up + down).sign()
            rising, falling = (state[name][k].clamp(min=1) for name in ("rising", "falling"))
            found[k] = torch.where(sign > 0, up / rising, torch.where(sign < 0, down / falling, 0.0))
        return move(base, found, self.scale)

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        trimmed = trim(flat(vectors(base, tasks)), self.density)
        agrees = (trimmed.sign() == trimmed.sum(0).sign()) & (trimmed != 0)
        merged = (trimmed * agrees).sum(0) / agrees.sum(0).clamp(min=1)
        return move(base, unflat(merged, base), self.scale)


def trim(rows: Tensor, density: float) -> Tensor:
    """Keep the largest entries of each row ``[T, n]`` by magnitude, a share of them; the others become 0."""
    kept = max(1, int(density * rows.shape[1]))
    # The rows of a head of two classes move by the same amount, up to rounding: no rounding may choose.
    least = rows.abs().topk(kept).values[:, -1:] * (1 - 1e-6)
    return torch.where(rows.abs() >= least, rows, 0.0)
