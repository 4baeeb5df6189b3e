"""Multi-task learning with balanced tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, State
from perdure.core.net import Net
from perdure.strategies.balancing.gramian import (
    combine,
    count_losses,
    gramian,
    last_layer,
    losses_in,
    need_shared,
    shared_names,
    together,
)
from perdure.strategies.contract.phase import Phase, Step
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.balancing import BALANCING, Rule

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("balance")
class Balance(Strategy):
    """Learn all tasks at once, each step with weights on the tasks' losses or gradients; one stage.

    Each step draws a batch of every task (where samples have several labels, one batch, and the labels are
    the tasks). A rule that balances losses makes weights ``w [T]`` of them, and
    ``sum_t w_t L_t`` is minimised. One that balances gradients makes them of the products of the tasks'
    gradients g_t with respect to the parameters that all tasks share (``[T, T]``): these move along
    ``sum_t w_t g_t``, and the parameters that belong to a task along its own gradient, unweighted.

    Shared are, where each task has outputs of its own, all parameters but the head's (or but those that the
    model calls ``task_specific``); where tasks share the outputs, all. A penalty that another strategy
    appends to the losses counts once, whatever the rule.

    Weights have the scale of the rule's source: some sum to 1, some to the number of tasks. With an optimiser
    that the scale of the gradient matters to, such as ``sgd``, choose a learning rate for each rule.

    Parameters
    ----------
    rule:
        A :class:`Rule <perdure.strategies.parts.balancing.Rule>`, or the name of one:
        ``"cagrad(c=0.4)"``.

    Examples
    --------
    >>> from perdure.strategies import get
    >>> get("balance(rule=cagrad(c=0.2))").rule
    cagrad(c=0.2)

    Source: that of the rule. Which parameters get which gradient is as LibMTL (Lin & Zhang, JMLR 2023) and
    TorchJD's ``mtl_backward`` have it.
    """

    rule: str | Rule = "pcgrad"

    def __post_init__(self) -> None:
        if isinstance(self.rule, str):
            object.__setattr__(self, "rule", BALANCING.get(self.rule))

    @property
    def method(self) -> Rule:
        """The rule, built."""
        return cast(Rule, self.rule)

    @property
    def per_loss_gradients(self) -> bool:  # type: ignore[override]
        """Whether the rule asks for the gradient of each loss."""
        return self.method.needs != "losses"

    def phases(self, stream: Stream) -> list[Phase]:
        return together(stream)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        if self.per_loss_gradients:
            need_shared(net, params, stream, str(self))
        return self.method.init(count_losses(stream), next(iter(params.values())))

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        if self.per_loss_gradients:
            return losses
        tasks = losses_in(batch)
        found = losses[:tasks].detach().double()
        weights = self.method.weights(found.new_zeros(0), found, state, batch.rng).to(losses.dtype)
        return torch.cat([weights * losses[:tasks], losses[tasks:]])

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        if not self.per_loss_gradients:
            return grads
        gram = self._products(net, params, grads, batch)
        losses = cast(Tensor, batch.losses)[: losses_in(batch)].double()
        weights = self.method.weights(gram, losses, state, batch.rng)
        # Products may overflow where gradients do not: weights made of them must not pass for right ones.
        weights = torch.where(gram.isfinite().all(), weights, torch.nan)
        everywhere = self.method.needs != "gradients"
        weighed = tuple(params) if everywhere else shared_names(net, params, batch.y.ndim == 2)
        return combine(grads, weights, weighed)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        if not state:
            return params, state
        tasks = losses_in(step.batch)
        # Before the weights: a recorded step has computed these already.
        losses = net.losses(step.previous, step.batch)[:tasks].double()
        after = net.losses(params, step.batch)[:tasks].double() if self.method.looks_after else losses
        each = cast(Params, step.of_each) if self.per_loss_gradients else {}
        gram = self._products(net, params, each, step.batch) if each else losses.new_zeros(0)
        return params, self.method.update(gram, losses, after, state)

    def _products(self, net: Net, params: Params, grads: Params, batch: Batch) -> Tensor:
        names = shared_names(net, params, batch.y.ndim == 2)
        names = last_layer(names) if self.method.needs == "last layer" else names
        return gramian(grads, names, losses_in(batch))
