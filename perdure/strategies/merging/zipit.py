"""ZipIt: fold features that say the same into one, also within a model."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.models.inspect import width
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.merging.fitted import Fitted, Model
from perdure.strategies.merging.rule import count, rule
from perdure.strategies.parts.chain import chain, features, fold, read

# A feature varies where its variance is more than this share of its mean square: less is rounding.
VARIES = 1e-6


@rule("zipit")
class ZipIt(Fitted):
    """Merge models layer by layer: join the most correlated of all models' features until one width is left.

    A hidden layer of T models has ``T * width`` features. On samples of the tasks so far, the pair of highest
    correlation is joined, again and again, ``(T - 1) * width`` times. Features that were joined are averaged,
    and the next layer of each model reads the average (:func:`perdure.strategies.parts.chain.fold`). The
    models may have started from different weights, and have their hidden units in another order.

    Parameters
    ----------
    steps:
        How many batches the correlations are taken over.
    part:
        Which part of the tasks the samples are of: ``"val"`` or ``"train"``. Labels are not read.
    alpha:
        What the correlations of joined features are multiplied with each time, in [0, 1]: 1 lets groups grow
        as they are alike, little keeps them small. A group is as like another as the two features of theirs
        that are least alike.
    within:
        Whether features of one model may be joined. If not, each model's are put in the places of the
        first's, one to one, the most correlated first, and the models are averaged; then the order of the
        tasks counts.

    The model is a sequence of linear or convolution layers and activations
    (:func:`perdure.strategies.parts.chain.chain`). Inputs and outputs stay in their places: outputs that
    tasks share are averaged, heads of their own read the merged features. Without samples, features are
    joined as they stand: ``merge`` gives the average. What is kept is ``(T * width)^2`` numbers a layer.

    Deviations: features that do not vary are joined with each other; ``alpha`` multiplies positive
    correlations only, and 0 does not keep a group from growing. With ``within=False`` the source finds the
    best assignment, where here the best pair goes first. The source can also limit how many features are
    joined within a model (its beta) and merge the first layers only (partial zipping), and it follows norms
    and branches.

    Source: Stoica et al., "ZipIt! Merging models from different tasks without training", ICLR 2024,
    arXiv 2305.03053.
    """

    data: ClassVar[str] = "unlabelled"
    in_place: ClassVar[bool] = False
    steps: int = 100
    part: Literal["val", "train"] = "val"
    alpha: float = 1.0
    within: bool = True

    def __post_init__(self) -> None:
        check_whole("steps", self.steps)
        check_number("alpha", self.alpha, high=1, ends="[]")

    def merge(self, base: Params, tasks: Params, rng: Rng | None = None) -> Params:
        return {k: v.mean(0) for k, v in tasks.items()}

    def begin(self, net: Net, base: Params, tasks: int, shape: tuple[int, ...]) -> State:
        layers, like = chain(net.module, f"the merging rule {self.name}"), next(iter(base.values()))
        widths = {name: width(layer) or 0 for name, layer in layers.items()}
        sizes = {name: tasks * w for name, w in list(widths.items())[:-1]}
        return {
            "values": {k: torch.eye(w).to(like).expand(tasks, -1, -1).clone() for k, w in widths.items()},
            "weight": like.new_zeros(()),
            "first": {k: like.new_zeros(n) for k, n in sizes.items()},
            "second": {k: like.new_zeros(n, n) for k, n in sizes.items()},
        }

    def learn(self, net: Net, params: Params, tasks: Params, fit: State, model: Model, batch: Batch) -> State:
        layers = dict(net.module.named_modules())
        models = [{**params, **{k: v[t] for k, v in tasks.items()}} for t in range(count(tasks))]
        weight, first, second = batch.sample_weight, {}, {}
        for name, following in pairwise(fit["values"]):
            w = fit["values"][name].shape[1]
            entering = [net.inside(one, batch.x, batch.task, following)[0] for one in models]
            rows = torch.cat([features(x, layers[following], w) for x in entering], 1)
            places = len(rows) // len(weight)
            shares = (weight / places).repeat_interleave(places).unsqueeze(1)
            first[name] = fit["first"][name] + (shares * rows).sum(0)
            second[name] = fit["second"][name] + rows.T @ (shares * rows)
        return {**fit, "weight": fit["weight"] + weight.sum(), "first": first, "second": second}

    def conclude(self, net: Net, fit: State, model: Model, task: TaskData) -> State:
        values, seen = fit["values"], task.index + 1
        joins = {}
        for name, whole in values.items():
            w = whole.shape[1]
            if name in fit["first"]:
                n = seen * w
                mean, square = fit["first"][name][:n], fit["second"][name][:n, :n]
                alike = correlations(mean / fit["weight"], square / fit["weight"])
                join = zipped(alike, w, self.alpha) if self.within else aligned(alike, w)
            else:
                join = torch.eye(w).to(whole).expand(seen, -1, -1)
            joins[name] = torch.cat([join, whole.new_zeros(len(whole) - seen, w, w)])
        return {**fit, "values": joins}

    def build(self, base: Params, tasks: Params, values: Params) -> Params:
        return fold(tasks, values)

    def heads(self, heads: Params, owner: Tensor, values: Params) -> Params:
        before, last = list(values)[-2:]
        key = f"{last}.weight"
        if key not in heads:
            return heads
        join, rows = values[before], heads[key]
        each = read(rows.expand(len(join), *rows.shape), join)
        mine = owner.clamp_min(0)
        own = each[mine, torch.arange(len(rows), device=rows.device)]
        known = ((owner >= 0) & join.flatten(1).any(1)[mine]).view(-1, *[1] * (rows.ndim - 1))
        return {**heads, key: torch.where(known, own, rows)}


def correlations(mean: Tensor, square: Tensor) -> Tensor:
    """Return correlations ``[n, n]`` from means of features ``[n]`` and of their products ``[n, n]``.

    Features that do not vary are like each other, and like no other.
    """
    covariance, diagonal = square - mean.outer(mean), square.diagonal()
    variance = covariance.diagonal()
    varies = variance > VARIES * diagonal
    length = torch.where(varies, variance, 1.0).sqrt()
    still = ~varies
    found = torch.where(varies.outer(varies), covariance / length.outer(length), still.outer(still).to(mean))
    return found.nan_to_num(0.0)


def zipped(alike: Tensor, width: int, alpha: float) -> Tensor:
    """Join the features that are most alike until so many are left: J of each model, ``[T, width, width]``.

    Parameters
    ----------
    alike:
        Correlations of the features of all models, ``[T * width, T * width]``.
    width:
        How many features a model has.
    alpha:
        What the correlations of joined features are multiplied with.

    >>> half = torch.tensor([[0.5, 0.1, 0.2, 0.9], [0, 0.5, 0.8, 0.3], [0, 0, 0.5, 0.1], [0, 0, 0, 0.5]])
    >>> zipped(half + half.T, 2, 1.0).tolist()  # the second model has its units the other way round
    [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]
    """
    n, place = len(alike), torch.arange(len(alike), device=alike.device)
    group = torch.eye(n).to(alike)  # columns are groups, under the place of their first feature
    left = torch.ones_like(place, dtype=torch.bool)
    alike = alike.masked_fill(torch.eye(n, dtype=torch.bool, device=alike.device), -torch.inf)
    for _ in range(n - width):
        best = alike.flatten().argmax()
        one, other = torch.minimum(best // n, best % n), torch.maximum(best // n, best % n)
        at, gone = place == one, place == other
        group = group + (group * gone).sum(1, keepdim=True) * (at.to(group) - gone.to(group))
        least = torch.minimum(alike.index_select(0, one.view(1)), alike.index_select(0, other.view(1)))[0]
        least = torch.where(least > 0, alpha * least, least).masked_fill(at | gone, -torch.inf)
        alike = torch.where(at.unsqueeze(0), least.unsqueeze(1), torch.where(at.unsqueeze(1), least, alike))
        alike = alike.masked_fill(gone.unsqueeze(0) | gone.unsqueeze(1), -torch.inf)
        left = left & ~gone
    kept = left.logical_not().to(torch.int8).sort(stable=True).indices[:width]
    return group[:, kept].view(-1, width, width)


def aligned(alike: Tensor, width: int) -> Tensor:
    """Put each model's features in the places of the first's, most alike first: J, ``[T, width, width]``."""
    own = alike.view(-1, width, len(alike) // width, width)[0].movedim(1, 0)[1:]  # [T - 1, first's, own]
    place, joins = torch.arange(width, device=alike.device), torch.zeros_like(own)
    for _ in range(width):
        best = own.flatten(1).argmax(1)
        at, mine = place == (best // width).unsqueeze(1), place == (best % width).unsqueeze(1)
        joins = joins + mine.unsqueeze(2) * at.unsqueeze(1)
        own = own.masked_fill(at.unsqueeze(2) | mine.unsqueeze(1), -torch.inf)
    return torch.cat([torch.eye(width).to(alike).unsqueeze(0), joins])
