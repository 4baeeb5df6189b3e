"""A look at the hidden units at the end of each task, which changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.net import Net
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts import units

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

MEASURES = ("dormant", "rank", "weight")


@strategy("watch-plasticity")
class WatchPlasticity(Strategy):
    """Measure, at the end of each task, what goes with a loss of plasticity: ``ewc + watch-plasticity``.

    On training samples of the task, with the model in evaluation mode:

    - dormant: the share of all hidden units whose score is at most ``threshold``; a score is the mean
      absolute activation of a unit divided by the mean of those of its layer;
    - rank: the effective rank ``exp(-sum_i p_i log p_i)`` of the last hidden layer's activations ``[n, d]``,
      with p its singular values divided by their sum; between 1 and d, and 0 where all are silent;
    - weight: the mean absolute value of all trained weights.

    Training is what it is without, to the bit. ``results.plasticity()`` gives what it measured, beside the
    learning accuracy, which results have anyway; ``results.plot_plasticity()`` draws both.

    The model is a sequence of linear or convolution layers, norms and activations
    (:func:`perdure.strategies.parts.chain.chain`). A unit of a convolution is a channel; for the rank, each
    of its places is a row.

    Parameters
    ----------
    threshold:
        Up to which score a unit is dormant: 0 means silent on all samples.
    samples:
        How many training samples of a task are looked at; ``None`` for all.

    Sources: Sokar et al., ICML 2023 (dormant units); Roy & Vetterli, EUSIPCO 2007 (effective rank); Dohare et
    al., Nature 2024, who follow all three, with a threshold of 0.
    """

    # No label is read, so tasks that share their samples may be learned from rows with the labels of all.
    reads_all_labels: ClassVar[bool] = True
    threshold: float = 0.01
    samples: int | None = 2000

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold)
        if self.samples is not None:
            check_whole("samples", self.samples)

    @property
    def accumulated_samples(self) -> int | None:
        return self.samples

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        units.hidden(net.module, self.name, norms=True)  # refuses other models before any work
        like = next(iter(params.values()))
        return {k: like.new_zeros(len(stream)) for k in (*MEASURES, "seen")}

    def accumulate(self, net: Net, params: Params, state: State, batch: Batch) -> State:
        layers = units.hidden(net.module, self.name, norms=True)
        sums: dict[str, Tensor] = {}
        products = batch.sample_weight
        for one, rows, weight in units.activations(net, params, batch, layers):
            sums[one.layer] = (weight.unsqueeze(1) * rows.abs()).sum(0)
            if one is layers[-1]:
                # Singular values are square roots of its eigenvalues, which takes twice the digits.
                wide = rows.double()
                products = wide.mT @ (weight.double().unsqueeze(1) * wide)
        return {"active": sums, "count": batch.sample_weight.sum(), "products": products}

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        sums = task.accumulated
        dormant = [units.score(v / sums["count"]) <= self.threshold for v in sums["active"].values()]
        size = sum(p.numel() for p in params.values())
        found = {
            "dormant": torch.cat(dormant).to(state["dormant"].dtype).mean(),
            "rank": effective_rank(sums["products"]).to(state["rank"].dtype),
            "weight": torch.stack([p.abs().sum() for p in params.values()]).sum() / size,
            "seen": torch.ones_like(state["seen"][0]),
        }
        here = torch.arange(len(state["seen"]), device=state["seen"].device) == task.index
        return params, {k: torch.where(here, found[k], v) for k, v in state.items()}

    def report(self, state: State) -> State:
        return dict(state)


def effective_rank(products: Tensor) -> Tensor:
    """Return the effective rank of activations A from ``A' A`` ``[d, d]``, 0-d; 0 where A is zero.

    >>> effective_rank(torch.diag(torch.tensor([4.0, 4.0, 0.0]))).item()  # two equal singular values
    2.0
    """
    # A replica that diverged must not stop the others: its numbers are left out of results.
    known = products.nan_to_num(0.0, 0.0, 0.0)
    values = torch.linalg.eigvalsh(known).clamp_min(0.0).sqrt()
    share = values / values.sum().clamp_min(units.SMALL)
    entropy = -(share * share.clamp_min(units.SMALL).log()).sum()
    return torch.where(values.sum() > units.SMALL, entropy.exp(), 0.0)
