"""What a run of IBCL knows: models for preferences, without training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from perdure.core.batch import Batch, weigh
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.scenarios.contract.several import score_task
from perdure.strategies.bayesian import credal
from perdure.strategies.bayesian.front import Front
from perdure.strategies.bayesian.ibcl import Posterior
from perdure.strategies.contract.accepts import Fits
from perdure.strategies.contract.kept import Kept

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

Preference = Sequence[float] | Tensor


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What one replica's run of IBCL knows: asked for any preference, it answers without training.

    Parameters
    ----------
    net:
        The replica's model as a function, with the buffers of the run's end.
    mean, sigma, stored:
        Posteriors ``[tasks * m, D]``, and which rows hold one.
    index, seen:
        The row of each task and chain, ``[tasks, m]``; the tasks learned, ``[tasks]`` bool.
    fits:
        What the stream that was learned was like.

    A preference holds one weight for each task of the stream, at least 0, that sum to 1, with 0 for what has
    not been learned yet; any other is an error.
    """

    net: Net
    mean: Tensor
    sigma: Tensor
    stored: Tensor
    index: Tensor
    seen: Tensor
    fits: Fits

    @classmethod
    def of(cls, trained: Kept, k: int = 0) -> Knowledge:
        """Read replica ``k`` of what ``compare(..., keep=True).trained[name]`` kept of IBCL.

        IBCL may have been alone or in a composition.
        """
        state = trained.state("ibcl", k)
        sigma = credal.get_sigma(state["bank"]["rho"])
        return cls(
            trained.net(k), state["bank"]["mean"], sigma, state["stored"], state["index"], state["seen"],
            trained.fits,
        )  # fmt: skip

    def posterior(self, preference: Preference, reading: str = "barycentre") -> credal.Mixture:
        """Return ``sum_t w_t (1/m) sum_j q_t^j``, the weights' distribution at a preference w."""
        weights = credal.check_preference(preference, self.seen).to(self.mean.device)
        rows = credal.row_weights(self.index, weights, len(self.mean))
        return credal.combine(rows, self.mean, self.sigma, reading)

    def models_for(
        self, preference: Preference, n: int, alpha: float = 0.05, reading: str = "barycentre", seed: int = 0
    ) -> Tensor:
        """``n`` weight vectors ``[n, D]`` drawn inside the region of mass ``1 - alpha`` at a preference."""
        zero = torch.zeros((), dtype=torch.int64, device=self.mean.device)
        rng = Rng(zero + seed, zero, "ibcl/query/")
        return credal.highest_density(self.posterior(preference, reading), alpha, rng).draw(n, rng)

    def model_for(self, preference: Preference) -> nn.Module:
        """Return the model at the mean of the posterior for a preference, in evaluation mode."""
        return self.build(self.posterior(preference).center)

    def build(self, weights: Tensor) -> nn.Module:
        """Return the architecture with ``weights`` ``[D]`` as a module of its own."""
        wrapper = self.net.module
        assert isinstance(wrapper, Posterior)
        model = copy.deepcopy(wrapper.inner)
        named = wrapper.unflatten(weights.detach().clone())
        kept = {k.removeprefix("inner."): b for k, b in self.net.buffers.items()}
        for k, p in model.named_parameters():
            p.data = (named[k] if k in named else kept[k]).clone()
        for k, b in model.named_buffers():
            b.data = kept[k].clone()
        return model.eval()

    def front(
        self, stream: Stream, preferences: Sequence[Preference] | Tensor, models: int | None = None,
        part: str = "test", alpha: float = 0.05, reading: str = "barycentre", seed: int = 0,
    ) -> Front:  # fmt: skip
        """Score the answers to several preferences on every task.

        Parameters
        ----------
        stream:
            The stream that was learned, or one of as many tasks with the same inputs and outputs.
        preferences:
            ``[n, tasks]``, or a list of them.
        models:
            How many models to draw for each preference; ``None`` takes the one at the posterior's mean, which
            is the same in every reading.
        part:
            ``"test"``, ``"val"`` or ``"train"``.
        alpha, reading, seed:
            As in :meth:`models_for`.
        """
        self.fits.check(stream, part, at_most=False)
        if len(stream) != len(self.seen):
            raise PerdureError(f"expected a stream of {len(self.seen)} tasks; found {len(stream)}")
        if models is not None:
            models = check_whole("models", models)
        wanted = [credal.check_preference(w, self.seen) for w in preferences]
        if not wanted:
            raise PerdureError("expected at least one preference; found none")
        drawn = [
            self.posterior(w, reading).center.unsqueeze(0)
            if models is None
            else self.models_for(w, models, alpha, reading, seed)
            for w in wanted
        ]
        masks = stream.masks()
        net = replace(self.net, masks=None if bool(masks.all()) else masks.to(self.mean.device))
        scores = [[self._score(net, w, stream, part) for w in each] for each in drawn]
        return Front(torch.stack(wanted), torch.stack([torch.stack(each) for each in scores]))

    def _score(self, net: Net, weights: Tensor, stream: Stream, part: str) -> Tensor:
        """Score of every task with ``weights`` ``[D]``, ``[tasks]`` float64."""
        params, found = {"mean": weights.unsqueeze(0)}, []
        for index, task in enumerate(stream):
            data = getattr(task, part)
            x = data.inputs().to(weights.device)
            x = x.to(weights.dtype) if x.is_floating_point() else x
            own = torch.full((len(x),), index, device=x.device)
            output = net(params, x, own)
            rows = {k: v.to(x.device) for k, v in stream.labels(data).items()}
            rows = weigh({**rows, "task": own}, torch.ones_like(output[:, 0]))
            batch = Batch(rows, own[0], Rng(own[0], own[0]))
            found.append(score_task(stream.objective, index, output, batch).cpu())
        return torch.stack(found)
