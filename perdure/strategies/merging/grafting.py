"""Grafting: find the few weights that a task needs, and stitch them together."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.optim.adam import Adam
from perdure.strategies.merging.fitted import Fitted, Model
from perdure.strategies.merging.rule import count, flat, rule, unflat, vectors
from perdure.strategies.merging.ties import trim


@rule("grafting")
class Grafting(Fitted):
    """Learn a sparse mask for each task vector from labels, and add what the masks keep.

    Each task has a graft of its own, the model ``theta_0 + sigmoid(S_t) tau_t`` with the task's head. The
    scores S_t follow Adam on the loss of the graft on samples of task t, plus ``strength * mean
    sigmoid(S_t)``. Then ``m_t = [S_t > 0]``, and the grafts are stitched, ``theta_0 + sum_t (m_t / sum_s m_s)
    tau_t``: entries that several tasks keep are averaged, and those that none keeps stay at the start.

    Parameters
    ----------
    density:
        Share of the entries of a task vector, those of largest magnitude, that scores start in favour of.
    bias:
        Scores start at ``bias`` for these, and at ``-bias`` for all others.
    strength:
        Weight of the mean of the soft masks in the loss.
    steps:
        How many steps, of batches of the run's size that mix the tasks; each has a forward and a backward
        pass for each task of the stream.
    lr:
        Adam's learning rate, whatever the run's. A score changes sides after ``bias / lr`` steps at least.
    part:
        Which part of the tasks the samples are of: ``"val"`` or ``"train"``.

    Before anything is learned (:meth:`merge`) masks keep the largest entries: that is the source's version
    without data. Entries that did not move belong to no mask.

    Deviations: Adam, where the source has gradient descent with a rate of 1e7; the penalty is a mean, where
    the source has a sum, so that its weight does not depend on the size of the model; ``density`` is 0.1, for
    models that are small (there 0.00001 to 0.01).

    Sources: He et al., "Localize-and-Stitch", TMLR 2025, arXiv 2408.13656; Panigrahi et al., "Task-specific
    skill localization in fine-tuned language models", ICML 2023, arXiv 2302.06600.

    >>> base, tasks = {"w": torch.zeros(4)}, {"w": torch.tensor([[4.0, 3.0, 1.0, 0.0], [2.0, 1.0, 1.0, 3.0]])}
    >>> Grafting(density=0.5).merge(base, tasks)["w"].tolist()
    [3.0, 3.0, 0.0, 3.0]
    """

    data: ClassVar[str] = "labels"
    density: float = 0.1
    bias: float = 5.0
    strength: float = 1.0
    steps: int = 100
    lr: float = 0.1
    part: Literal["val", "train"] = "val"

    def __post_init__(self) -> None:
        check_number("density", self.density, high=1, ends="(]")
        check_number("bias", self.bias, ends="()")
        check_number("strength", self.strength)
        check_whole("steps", self.steps)
        check_number("lr", self.lr, ends="()")

    def begin(self, net: Net, base: Params, tasks: int, shape: tuple[int, ...]) -> State:
        zeros = {k: torch.stack([torch.zeros_like(v)] * tasks) for k, v in base.items()}
        # What scores have moved by: where they start depends on the task vectors, which `learn` sees.
        return {"values": zeros, "base": base, "moved": zeros, "memory": Adam().init(zeros)}

    def learn(self, net: Net, params: Params, tasks: Params, fit: State, model: Model, batch: Batch) -> State:
        first = self.scores(vectors(fit["base"], tasks))

        def loss(moved: Params) -> Tensor:
            gates = {k: (first[k] + v).sigmoid() for k, v in moved.items()}
            kept = torch.cat([v.flatten() for v in gates.values()]).mean() * count(gates)
            return grafted(net, gates, model, batch) + self.strength * kept

        slope, lr = torch.func.grad(loss)(fit["moved"]), batch.weight.new_tensor(self.lr)
        moved, memory = Adam().update(fit["moved"], slope, fit["memory"], lr, None)
        values = stitched({k: first[k] + v for k, v in moved.items()})
        return {**fit, "values": values, "moved": moved, "memory": memory}

    def scores(self, own: Params) -> Params:
        """Return the scores before the first step, ``[T, ...]`` like the task vectors."""
        start = {k: v[0] for k, v in own.items()}
        kept = [unflat(row, start) for row in trim(flat(own), self.density)]
        return {
            k: torch.where(torch.stack([row[k] for row in kept]) != 0, self.bias, -self.bias).to(v.dtype)
            for k, v in own.items()
        }

    def build(self, base: Params, tasks: Params, values: Params) -> Params:
        own = vectors(base, tasks)
        return {k: v + (values[k] * own[k]).sum(0) for k, v in base.items()}

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        first = self.scores(vectors(base, tasks))
        return self.build(base, tasks, stitched(first))

    def report(self, fit: State) -> State:
        kept = torch.cat([(v > 0).flatten(1) for v in fit["values"].values()], 1)
        return {"kept": kept.to(next(iter(fit["values"].values())).dtype).mean(1)}


def grafted(net: Net, gates: Params, model: Model, batch: Batch) -> Tensor:
    """Return the sum over the tasks of the mean loss of each one's graft on its own samples, 0-d."""
    total = batch.weight.new_zeros(())
    for t in range(count(gates)):
        alone = {k: torch.cat([0 * v[:t], v[t : t + 1], 0 * v[t + 1 :]]) for k, v in gates.items()}
        weight = batch.sample_weight * (batch.task == t)
        each = net.sample_losses(model(alone), batch)
        total = total + (weight * each).sum() / weight.sum().clamp_min(1e-12)
    return total


def stitched(scores: Params) -> Params:
    """Return the shares ``[T, ...]`` with which task vectors are added, where their scores are positive."""
    masks = {k: (v > 0).to(v.dtype) for k, v in scores.items()}
    return {k: v / v.sum(0).clamp_min(1) for k, v in masks.items()}
