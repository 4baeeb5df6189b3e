"""ReDo: dormant hidden units start anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from perdure.core.batch import Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.net import Net
from perdure.strategies.contract.phase import Step
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts import units

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("redo")
class ReDo(Strategy):
    """Recycle dormant neurons: every so many steps, renew the hidden units that are nearly silent.

    With ``m_i = mean_batch |h_i|`` the mean absolute activation of unit i of a layer, its score is ``m_i``
    divided by the mean of the layer's m. After every ``every`` steps, units whose score is at most
    ``threshold`` get fresh incoming weights and bias, drawn like those at the start
    (:func:`perdure.strategies.parts.units.fresh`), and outgoing weights of 0. Where they were silent (a dead
    ReLU), outputs do not change at that moment.

    The scores are of the step's own batch, before the optimiser's move. Strategies cannot reach what the
    optimiser remembers: momentum and moments of renewed weights go on and fade as they do, where the authors'
    code sets them to 0. Plain SGD has none.

    The model is a sequence of linear or convolution layers and activations
    (:func:`perdure.strategies.parts.chain.chain`); a unit of a convolution is a channel, and its activation
    is a mean over places, behind pooling. ``results.extras[name]["report"]["redo"]["renewed"]`` counts, for
    each replica, the units that were renewed: none where the run has fewer steps than ``every``.

    Parameters
    ----------
    every:
        How many steps lie between two looks; they are counted over the whole stream.
    threshold:
        Up to which score a unit is dormant (tau in the paper): 0 means silent on all samples.

    Source: Sokar et al., "The dormant neuron phenomenon in deep reinforcement learning", ICML 2023,
    arXiv 2302.12902. Deviation: biases of renewed units start as drawn, where theirs start at 0.
    """

    scales: ClassVar[tuple[str, ...]] = ("threshold",)
    every: int = 100
    threshold: float = 0.1

    def __post_init__(self) -> None:
        check_whole("every", self.every)
        check_number("threshold", self.threshold)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        layers = units.hidden(net.module, self.name)
        none = next(iter(params.values())).new_zeros((), dtype=torch.int64)
        return {"start": units.start(params, layers, self.name), "steps": none, "renewed": none.clone()}

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        layers = units.hidden(net.module, self.name)
        active = units.activity(net, step.previous, step.batch, layers)
        steps, renewed = state["steps"] + 1, state["renewed"]
        due = steps % self.every == 0
        for one in layers:
            chosen = due & (units.score(active[one.layer]) <= self.threshold)
            params = units.renew(params, state["start"], one, chosen, step.batch.rng)
            renewed = renewed + chosen.sum()
        return params, {**state, "steps": steps, "renewed": renewed}

    def report(self, state: State) -> State:
        return {"renewed": state["renewed"]}
