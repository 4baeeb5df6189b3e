"""The step on which the tasks would agree as bargainers."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number
from perdure.core.random import Rng
from perdure.strategies.balancing.gramian import unit_rows
from perdure.strategies.parts.balancing import Rule, balancing_rule
from perdure.strategies.parts.node import one_node

# On the diagonal of the cosines: at a Pareto-stationary point there is no bargain, and weights stay finite.
RIDGE = 1e-10
ROUNDS, CLOSE = 200, 1e-12


@balancing_rule("nash-mtl")
class NashMTL(Rule):
    """Multi-task learning as a bargaining game: maximise the product of all tasks' gains.

    With G the products of the gradients the weights w are the positive solution of ``G w = 1 / w``: the
    direction d, of a given length, that maximises ``sum_t log <g_t, d>``. Scaling one task's loss does not
    change it. The step is as long as the authors' code has it: ``sqrt(T |G|)``, ``|G|`` the Frobenius norm,
    and at most ``max_norm``.

    Parameters
    ----------
    max_norm:
        The longest step, in the units of a gradient; 0 for no limit.

    >>> import torch
    >>> gram = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))
    >>> [round(float(w), 4) for w in NashMTL().weights(gram, gram[0], {}, None)]
    [0.7071, 0.3536]

    Source: Navon et al., ICML 2022. Deviations: the paper approaches w by a series of convex problems; it is
    the minimum of ``w' G w / 2 - sum_t log w_t``, found here by Newton's method to machine precision.
    """

    max_norm: float = 1.0

    def __post_init__(self) -> None:
        check_number("max_norm", self.max_norm)

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        cosines, unit = unit_rows(gram)
        # A gradient of zero has no say: its row is that of a task that nobody else touches.
        cosines = cosines + torch.diag_embed(torch.where(unit > 0, RIDGE, 1.0))
        weights: Tensor = bargain(cosines, torch.ones_like(unit)) * unit
        weights = weights * torch.linalg.matrix_norm(gram).sqrt()
        if not self.max_norm:
            return weights
        length = (weights @ gram @ weights).clamp_min(0.0).sqrt()
        share: Tensor = (self.max_norm / length.clamp_min(1e-300)).clamp_max(1.0)
        return weights * share


@one_node("bargain")
def bargain(gram: Tensor, power: Tensor) -> Tensor:
    """Minimise ``w' A w / 2 - sum_t p_t log w_t`` over positive w, for a batch of small problems.

    Damped Newton steps in terms of the positive definite A ``[..., n, n]`` with ones on its diagonal and of
    p ``[..., n]``, at least 1: the function is self-concordant, so that they lead there from anywhere. Each
    problem stops where it is solved.
    """
    size = power.shape[-1]
    a, p = gram.reshape(-1, size, size), power.reshape(-1, size)
    w = torch.ones_like(p)
    for _ in range(ROUNDS):
        slope = (a @ w.unsqueeze(-1)).squeeze(-1) - p / w
        bend = a + torch.diag_embed(p / w.square())
        step = torch.linalg.solve_ex(bend, slope.unsqueeze(-1))[0].squeeze(-1)
        far = (step * slope).sum(-1, keepdim=True).clamp_min(0.0).sqrt()
        open_ones = far > CLOSE
        if not bool(open_ones.any()):
            break
        w = torch.where(open_ones, w - step / (1.0 + far), w)
    return w.view_as(power)
