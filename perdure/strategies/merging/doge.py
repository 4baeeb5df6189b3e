"""DOGE: move all task vectors by a shift that makes up for what their sum does to each."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.batch import Params
from perdure.core.checks import check_number, check_whole
from perdure.core.random import Rng
from perdure.optim.adam import Adam
from perdure.strategies.merging.rule import Rule, count, flat, move, rule, unflat, vectors
from perdure.strategies.merging.ties import trim


@rule("doge")
class DOGE(Rule):
    """Weight task vectors by their length, and learn one shift of them all from the vectors alone.

    ``theta_0 + sum_t lambda_t m_t (tau_t + D)``. Each parameter has coefficients of its own,
    ``lambda_t = scale * mean_s |tau_s| / |tau_t|``, and, where it has rows, a shift D like itself. With
    the merged vector ``tau(D) = sum_t lambda_t (tau_t + D)``, D makes

    ``sum_t sum_rows <tau_t, tau(D) - tau_t>^2``

    small, row by row the first-order change of task t's loss where tau_t stands for its gradient. D starts at
    0 and follows Adam with the gradient ``G - U U' G``: it leaves alone the directions U of the outputs that
    the tasks have in common. ``m_t`` keeps the largest entries of each tau_t.

    Parameters
    ----------
    scale:
        The factor of the coefficients; with vectors of the same length, that of task arithmetic.
    density:
        Share of the entries of a task vector that are kept, over all its weights together.
    subspace:
        Dimension of the common subspace, as a share of the smaller side of a parameter ``[m, n]``. Its basis
        is that of the first left singular vectors of ``[U_1, ..., U_T]``, where U_t holds those of tau_t, as
        many as the smaller side divided by the number of tasks.
    steps:
        Steps of Adam.
    lr:
        Its learning rate, in units of the root mean square of the parameter's task vectors.

    Deviations: lengths and steps are relative to the parameter's task vectors (the source has
    ``lambda_t = 0.07 / |tau_t|``, and 400 steps of 1e-4), so that vectors twice as long merge to one twice as
    long. D is projected as its gradient is, because the steps of Adam go entry by entry. Vectors of biases
    and norm layers are weighted and added, where the source drops them; filters ``[out, in, k, k]`` count as
    matrices ``[out, in * k * k]``; a task alone needs no shift. The variant with learned coefficients
    (DOGE-AM) is not here.

    Source: Wei et al., "Modeling multi-task model merging as adaptive projective gradient descent", ICML
    2025, arXiv 2501.01230; details after FusionBench's ``doge_ta``.

    >>> base, tasks = {"w": torch.zeros(2)}, {"w": torch.tensor([[3.0, 4.0], [6.0, 8.0]])}
    >>> DOGE(scale=1.0, density=1.0).merge(base, tasks)["w"].tolist()
    [9.0, 12.0]
    """

    scale: float = 0.3
    density: float = 0.3
    subspace: float = 1 / 6
    steps: int = 100
    lr: float = 0.05

    def __post_init__(self) -> None:
        check_number("scale", self.scale)
        check_number("density", self.density, high=1, ends="(]")
        check_number("subspace", self.subspace, high=1, ends="[]")
        check_whole("steps", self.steps)
        check_number("lr", self.lr, ends="()")

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        own = vectors(base, tasks)
        kept = [unflat(row, base) for row in trim(flat(own), self.density)]
        weights = {k: self.scale * balance(v) for k, v in own.items()}
        shifts = self.shifts(own, weights)
        merged = {}
        for k, v in own.items():
            moved, mask = v + shifts.get(k, 0.0), torch.stack([row[k] for row in kept]) != 0
            merged[k] = torch.tensordot(weights[k], torch.where(mask, moved, 0.0), 1)
        return move(base, merged)

    def shifts(self, own: Params, weights: Params) -> Params:
        """Return the shift of each parameter that has rows; none for a task alone."""
        rows = {k: v.flatten(2) for k, v in own.items() if v.ndim > 2}
        if count(own) == 1 or not rows:
            return {}
        unit = {k: spread(v) for k, v in rows.items()}
        rows = {k: v / unit[k] for k, v in rows.items()}
        bases = {k: common(v, self.subspace) for k, v in rows.items()}
        shift = {k: torch.zeros_like(v[0]) for k, v in rows.items()}
        lr, adam = next(iter(shift.values())).new_tensor(self.lr), Adam()
        memory = adam.init(shift)
        for _ in range(self.steps):
            slope = {k: outside(bases[k], gradient(v, shift[k], weights[k])) for k, v in rows.items()}
            shift, memory = adam.update(shift, slope, memory, lr, None)
            shift = {k: outside(bases[k], v) for k, v in shift.items()}
        return {k: (unit[k] * v).view_as(own[k][0]) for k, v in shift.items()}


def balance(own: Tensor) -> Tensor:
    """Return factors ``[T]`` that give task vectors ``[T, ...]`` their mean length; 0 for one of zeros."""
    lengths = own.flatten(1).norm(dim=1)
    return torch.where(lengths > 0, lengths.mean() / torch.where(lengths > 0, lengths, 1.0), 0.0)


def spread(own: Tensor) -> Tensor:
    """Return the root mean square of task vectors; 1 where all are zero."""
    found = own.square().mean().sqrt()
    return torch.where(found > 0, found, 1.0)


def distance(own: Tensor, shift: Tensor, weights: Tensor) -> Tensor:
    """Return how far the merged vector is from what each task asks for, ``[T, m]``: ``<tau_t, tau - tau_t>``.

    Parameters
    ----------
    own, shift, weights:
        Task vectors ``[T, m, n]``, their shift ``[m, n]`` and their coefficients ``[T]``.
    """
    merged: Tensor = torch.tensordot(weights, own + shift, 1)
    return (own * (merged - own)).sum(-1)


def gradient(own: Tensor, shift: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient ``[m, n]`` of the sum of the squared distances with respect to the shift."""
    far = distance(own, shift, weights)
    return 2 * weights.sum() * (far.unsqueeze(-1) * own).sum(0)


def outside(basis: Tensor, matrix: Tensor) -> Tensor:
    """Take the directions of an orthonormal basis ``[m, k]`` out of the columns of a matrix ``[m, n]``."""
    rest: Tensor = matrix - basis @ (basis.mT @ matrix)
    return rest


def common(own: Tensor, share: float) -> Tensor:
    """Return an orthonormal basis ``[m, k]`` of the outputs' subspace that task vectors ``[T, m, n]`` share.

    Directions in which nothing moves are no part of it: their columns are zero.
    """
    tasks, small = len(own), min(own.shape[1:])
    # A replica that has diverged must not stop the others.
    left, values, _ = torch.linalg.svd(own.nan_to_num(0.0, 0.0, 0.0), full_matrices=False)
    left = left * (values > 1e-6 * values[:, :1]).to(left.dtype).unsqueeze(1)
    first = left[:, :, : max(1, small // tasks)]
    together, found, _ = torch.linalg.svd(first.movedim(0, 1).flatten(1), full_matrices=False)
    size = int(share * small)
    basis: Tensor = together[:, :size] * (found[:size] > 1e-6).to(left.dtype)
    return basis
