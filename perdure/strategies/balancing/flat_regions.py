"""Multi-task learning that seeks flat regions of every task's loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor
from torch.func import grad, jacrev

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_number
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.strategies.balancing.gramian import (
    combine,
    count_losses,
    gramian,
    losses_in,
    need_shared,
    shared_names,
    together,
)
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.balancing import BALANCING, Rule

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("flat-regions")
class FlatRegions(Strategy):
    """Learn all tasks at once, and seek for each task weights around which its loss stays low; one stage.

    Sharpness-aware minimisation, a task at a time: with g_t task t's gradient, its ascent goes
    ``rho g_t / |g_t|`` far, on the shared parameters and on its own separately; from there its gradient is
    ``g_t + f_t``. The shared parameters move along ``AGG(g) + AGG(f)``, AGG the sum that the rule weighs, the
    parameters that belong to a task along ``g_t + f_t``. Each step costs a second forward pass, and a second
    gradient, for every task.

    Parameters
    ----------
    rule:
        A rule that weighs gradients, or the name of one, such as ``"pcgrad"``.
    rho:
        Length of the ascent, in the units of the parameters.

    Source: Phan et al., arXiv 2211.13723. Deviations: one radius for shared parameters and others.
    """

    per_loss_gradients: ClassVar[bool] = True
    rule: str | Rule = "pcgrad"
    rho: float = 0.05

    def __post_init__(self) -> None:
        if isinstance(self.rule, str):
            object.__setattr__(self, "rule", BALANCING.get(self.rule))
        if self.method.needs != "gradients":
            wanted = [name for name in BALANCING if BALANCING.maker(name).needs == "gradients"]  # type: ignore[attr-defined]
            raise PerdureError(
                f"flat-regions: rule must be one that weighs gradients, {', '.join(wanted)}; "
                f"found {self.method!r}"
            )
        check_number("rho", self.rho, ends="()")

    @property
    def method(self) -> Rule:
        """The rule, built."""
        return cast(Rule, self.rule)

    def phases(self, stream: Stream) -> list[Phase]:
        return together(stream)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        need_shared(net, params, stream, str(self))
        return self.method.init(count_losses(stream), next(iter(params.values())))

    def gradient(self, net: Net, params: Params, state: State, grads: Params, batch: Batch) -> Params:
        tasks, names = losses_in(batch), shared_names(net, params, batch.y.ndim == 2)
        # The tasks' own, without what other strategies add. A recorded step has them already.
        alone: Params = jacrev(lambda p: replace(net, _memo={}).losses(p, batch))(params)
        away = {k: self.rho * g for k, g in _unit(alone, names).items()}
        beyond = _gradients_at(replace(net, tally=None), params, away, batch, tasks)
        flat = {k: beyond[k] - alone[k][:tasks] for k in params}
        losses = cast(Tensor, batch.losses)[:tasks].double()
        one = self._weighed(grads, losses, state, batch.rng, names, tasks)
        other = self._weighed(flat, losses, state, batch.rng.scoped("flat"), names, tasks)
        return {k: one[k] + other[k] for k in params}

    def _weighed(
        self, grads: Params, losses: Tensor, state: State, rng: Rng, names: Sequence[str], tasks: int
    ) -> Params:
        gram = gramian(grads, names, tasks)
        weights = self.method.weights(gram, losses, state, rng)
        return combine(grads, torch.where(gram.isfinite().all(), weights, torch.nan), names)


def _unit(grads: Params, names: Sequence[str]) -> Params:
    """Divide each task's gradient ``[T, ...]`` by its length, that of the named parameters and the rest's."""
    chosen, found = set(names), {}
    for some in (names, [k for k in grads if k not in chosen]):
        if not some:
            continue
        length = sum(grads[k].flatten(1).square().sum(1) for k in some)
        length = cast(Tensor, length).sqrt().clamp_min(1e-12)
        found.update({k: grads[k] / length.view(-1, *[1] * (grads[k].ndim - 1)) for k in some})
    return {k: found[k] for k in grads}


def _gradients_at(net: Net, params: Params, away: Params, batch: Batch, tasks: int) -> Params:
    """Return each task's gradient ``[T, ...]`` at a place of its own, ``params + away [T, ...]``."""

    def loss(there: Params, task: int) -> Tensor:
        return replace(net, _memo={}).losses(there, batch)[task]

    # One after the other, and not mapped: dropout then leaves out the same for all, as at the start.
    found = [grad(loss)({k: p + away[k][t] for k, p in params.items()}, t) for t in range(tasks)]
    return {k: torch.stack([one[k] for one in found]) for k in params}
