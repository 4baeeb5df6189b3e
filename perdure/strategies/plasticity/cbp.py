"""Continual backpropagation: now and then the least useful hidden unit starts anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from perdure.core.batch import Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.net import Net
from perdure.strategies.contract.phase import Step
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts import units

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("cbp")
class CBP(Strategy):
    """Continual backpropagation: after each step, renew a small share of the hidden units, the least useful.

    Each hidden unit i has an age a_i, in steps, and a utility u_i, a running mean of its contribution to the
    layer that reads it; h_i is its activation and w_ki are its outgoing weights. At each step, and in each
    hidden layer by itself,

    - ``a_i <- a_i + 1`` and ``u_i <- decay u_i + (1 - decay) mean_batch |h_i| sum_k |w_ki|``;
    - ``c <- c + rate * n``, n the number of units with ``a_i > maturity``: of these, the ``floor(c)`` with
      the smallest ``u_i / (1 - decay^a_i)`` are renewed, and taken off c;
    - a renewed unit gets fresh incoming weights and bias, drawn like those at the start
      (:func:`perdure.strategies.parts.units.fresh`), outgoing weights of 0, age 0 and utility 0.

    With utilities near 0 the outputs hardly change at that moment. Strategies cannot reach what the optimiser
    remembers: momentum and moments of renewed weights go on and fade as they do, where the authors' code
    sets them to 0. Plain SGD has none.

    The model is a sequence of linear or convolution layers and activations
    (:func:`perdure.strategies.parts.chain.chain`); a unit of a convolution is a channel, and its activation
    is a mean over places, behind pooling. ``results.extras[name]["report"]["cbp"]["renewed"]`` counts, for
    each replica, the units that were renewed.

    Parameters
    ----------
    rate:
        Share of the mature units that is renewed at each step, in [0, 1] (rho in the paper). With 0, this is
        plain sequential learning.
    decay:
        Of the utility's running mean, in [0, 1).
    maturity:
        For so many steps a unit is safe after it was renewed.

    Source: Dohare et al., "Loss of plasticity in deep continual learning", Nature 632 (2024), arXiv
    2306.13812. Deviations: the paper renews at most one unit of a layer at each step; the authors' code, as
    here, as many as c says. Their code also adds what a renewed unit gave on average to the biases of the
    layer that read it, and sets the bias of a renewed unit to 0.
    """

    scales: ClassVar[tuple[str, ...]] = ("rate", "decay")
    rate: float = 1e-4
    decay: float = 0.99
    maturity: int = 100

    def __post_init__(self) -> None:
        check_number("rate", self.rate, high=1, ends="[]")
        check_number("decay", self.decay, high=1)
        check_whole("maturity", self.maturity, 0)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        layers, like = units.hidden(net.module, self.name), next(iter(params.values()))
        return {
            "start": units.start(params, layers, self.name),
            "utility": {one.layer: like.new_zeros(one.width) for one in layers},
            "age": {one.layer: like.new_zeros(one.width, dtype=torch.int64) for one in layers},
            "due": {one.layer: like.new_zeros(()) for one in layers},
            "renewed": like.new_zeros((), dtype=torch.int64),
        }

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        layers = units.hidden(net.module, self.name)
        active = units.activity(net, step.previous, step.batch, layers)
        new: State = {"utility": {}, "age": {}, "due": {}}
        renewed = state["renewed"]
        for one in layers:
            name, age = one.layer, state["age"][one.layer] + 1
            given = active[name] * units.reach(params, one)
            utility = self.decay * state["utility"][name] + (1 - self.decay) * given
            mature = age > self.maturity
            due = state["due"][name] + self.rate * mature.to(utility.dtype).sum()
            corrected = utility / (1 - self.decay ** age.to(utility.dtype))
            chosen = least(corrected, mature, due.floor())
            params = units.renew(params, state["start"], one, chosen, step.batch.rng)
            new["utility"][name] = torch.where(chosen, 0.0, utility)
            new["age"][name] = torch.where(chosen, 0, age)
            new["due"][name] = due - due.floor()
            renewed = renewed + chosen.sum()
        return params, {**state, **new, "renewed": renewed}

    def report(self, state: State) -> State:
        return {"renewed": state["renewed"]}


def least(values: Tensor, among: Tensor, count: Tensor) -> Tensor:
    """Mark the ``count`` smallest of the values ``among``, ``[n]`` bool; ties by place.

    >>> among = torch.tensor([True, True, False, True])
    >>> least(torch.tensor([3.0, 1.0, 0.0, 2.0]), among, torch.tensor(2.0)).tolist()
    [False, True, False, True]
    """
    rank = torch.where(among, values, torch.inf).sort(stable=True).indices.argsort()
    return (rank < count) & among
