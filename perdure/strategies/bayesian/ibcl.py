"""IBCL: imprecise Bayesian continual learning, and models for preferences without training."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from perdure.core.batch import Batch, Params, State
from perdure.core.errors import PerdureError
from perdure.core.hints import Extended
from perdure.core.net import Net, takes_task
from perdure.strategies.bayesian import credal
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

SCORED = ("uniform", "own")


class Posterior(nn.Module):
    """A model whose weights are Gaussian: trained are ``mean`` and ``rho``, ``[m, D]``, of m chains.

    Called, it is the model at the first chain's mean: put weights ``[1, D]`` in place of ``mean`` for theirs.
    """

    def __init__(self, model: nn.Module, chains: int, sigma: float) -> None:
        super().__init__()
        self.inner = copy.deepcopy(model)
        self.shapes = {k: p.shape for k, p in self.inner.named_parameters() if p.requires_grad}
        if not self.shapes:
            raise PerdureError("ibcl needs a model with trained parameters; found none")
        trained = dict(self.inner.named_parameters())
        flat = torch.cat([trained[k].detach().flatten() for k in self.shapes])
        for k in self.shapes:
            # Only a place to put weights in: kept empty, so that no replica carries them twice.
            trained[k].requires_grad_(False).data = flat.new_empty(0)
        self.mean = nn.Parameter(flat.repeat(chains, 1))
        self.rho = nn.Parameter(torch.full_like(self.mean, credal.get_rho(sigma)))

    def unflatten(self, flat: Tensor) -> Params:
        """Weights of the model by name, from ``[D]``."""
        pieces = torch.split(flat, [s.numel() for s in self.shapes.values()])
        return {k: v.view(s) for v, (k, s) in zip(pieces, self.shapes.items(), strict=True)}

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        """Outputs for ``x`` ``[n, ...]``."""
        arguments = (x, task) if takes_task(self.inner) else (x,)
        return functional_call(self.inner, self.unflatten(self.mean[0]), arguments)  # type: ignore[no-any-return]


@strategy("ibcl")
class IBCL(Strategy):
    """Learn a Gaussian over weights for each task from several priors; answer preferences without training.

    Chain j of m starts at the prior ``N(0, s_j^2 I)``. For each task it minimises, by mean-field variational
    inference with one sample of all weights per step,
    ``E_q[mean loss] + kl_weight * KL(q || prior) / n`` with n the training samples of the task: the negative
    ELBO over n, or a batch's sum with the KL over the number of batches. The objective's loss is read as a
    negative log likelihood (squared error: noise of variance 1/2). The posterior is stored when its
    2-Wasserstein distance to every stored one exceeds ``distance``; otherwise the nearest stored one stands
    in for it. What is stored or stands in is the chain's next prior, and where it goes on.

    The run is scored with the mean weights of the combination at a preference (see ``score``); the class
    ``Knowledge`` answers any other after the run, at no optimiser step. A step costs a pass per chain, a
    forward pass, and m D random numbers: slow on a CPU above some 10^5 weights.

    Parameters
    ----------
    priors:
        Standard deviations s_j of the priors; one chain for each.
    distance:
        Threshold d: 0 stores every posterior; ``None`` (or ``math.inf``) only the first.
    start:
        Standard deviation of every weight at the start; means start at the model's own weights.
    kl_weight:
        Weight of the KL; 1 is Bayes, less is cold. Its curvature 1 / (n s^2) asks for adam or a small lr.
    score:
        ``"uniform"``: all test samples are answered at equal preference for the tasks seen;
        ``"own"``: a sample of a task seen is answered at preference 1 for it (needs to know the task).

    Source: arXiv 2305.14782. Certain: the priors, the threshold, the stand-in as the next prior. Corrected
    where the reference code deviates: the W2 distance and the scale of the KL. Reconstruction: the start,
    chains that go on from their stand-in, ``score``. Buffers (batch norm's statistics) belong to no
    posterior: the run's serve all, and follow the first chain's mean. Parts that add to the loss come after.
    """

    scales: ClassVar[tuple[str, ...]] = ("kl_weight",)
    priors: Sequence[float] = (0.2, 0.25, 0.3)
    distance: Extended | None = 0.005
    start: float = 0.05
    kl_weight: float = 1.0
    score: str = "uniform"

    def __post_init__(self) -> None:
        object.__setattr__(self, "priors", tuple(self.priors))
        if not self.priors or not all(0 < s < math.inf for s in (*self.priors, self.start)):
            found = f"priors={self.priors}, start={self.start}"
            raise PerdureError(f"priors (one at least) and start must be positive deviations; found {found}")
        if self.distance == math.inf:
            object.__setattr__(self, "distance", None)  # a spec can write this
        if self.distance is not None and not self.distance >= 0:
            raise PerdureError(f"distance must be None or at least 0; found {self.distance}")
        if not self.kl_weight >= 0:
            raise PerdureError(f"kl_weight must be at least 0; found {self.kl_weight}")
        if self.score not in SCORED:
            raise PerdureError(f"score must be one of {', '.join(SCORED)}; found {self.score!r}")

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        return Posterior(model, len(self.priors), self.start)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        if set(params) != {"mean", "rho"}:
            raise PerdureError("ibcl must come last among the strategies that extend the model")
        mean, m, tasks = params["mean"], len(self.priors), len(stream)
        rho = torch.tensor([credal.get_rho(s) for s in self.priors], dtype=mean.dtype, device=mean.device)
        return {
            "prior": {"mean": torch.zeros_like(mean), "rho": torch.zeros_like(mean) + rho.unsqueeze(1)},
            "bank": {k: v.new_zeros(tasks * m, v.shape[1]) for k, v in params.items()},
            "stored": torch.zeros(tasks * m, dtype=torch.bool, device=mean.device),
            "index": torch.zeros(tasks, m, dtype=torch.int64, device=mean.device),
            "seen": torch.zeros(tasks, dtype=torch.bool, device=mean.device),
            "samples": torch.ones((), dtype=mean.dtype, device=mean.device),
        }

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.epochs == 0:
            # As gdumb's: it would be stored before it was trained, and bind what is trained after it.
            raise PerdureError(
                f"ibcl stores a posterior after each phase: expected phases that train; found "
                f"{task.phase.name!r} of 0 epochs, from the strategy it is composed with"
            )
        return params, {**state, "samples": torch.full_like(state["samples"], len(task.y))}

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        mean, sigma = params["mean"], credal.get_sigma(params["rho"])
        noise = batch.rng.normal("weights", *mean.shape, dtype=mean.dtype)
        weights = mean + sigma * noise
        prior = state["prior"]
        apart = credal.divergence(mean, sigma, prior["mean"], credal.get_sigma(prior["rho"])).sum()
        own = torch.stack([net.losses({**params, "mean": w.unsqueeze(0)}, batch) for w in weights.unbind()])
        # Chains share no parameter: in the sum each learns as if it were alone.
        total = own.sum(0) + self.kl_weight * apart / (state["samples"] * batch.entries)
        return torch.cat([total, losses[batch.entries :]])

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        bank, stored, index = state["bank"], state["stored"], state["index"].clone()
        slots = torch.arange(len(stored), device=stored.device)
        kept = []
        for j in range(len(self.priors)):
            own = {k: params[k][j] for k in bank}
            far = credal.wasserstein(
                bank["mean"], credal.get_sigma(bank["rho"]), own["mean"], credal.get_sigma(own["rho"])
            )
            far = torch.where(stored, far, math.inf)
            slot = task.index * len(self.priors) + j
            reach = math.inf if self.distance is None else self.distance
            new = (far.min() > reach) | ~stored.any()
            at = torch.where(new, slot, far.argmin())
            write = (slots == slot) & new
            bank = {k: torch.where(write.unsqueeze(1), own[k], v) for k, v in bank.items()}
            stored = stored | write
            index[list(task.phase.tasks), j] = at
            kept.append({k: v.index_select(0, at.view(1))[0] for k, v in bank.items()})
        seen = state["seen"].clone()
        seen[list(task.phase.tasks)] = True
        chains = {k: torch.stack([own[k] for own in kept]) for k in bank}
        state = {**state, "prior": chains, "bank": bank, "stored": stored, "index": index, "seen": seen}
        return {**params, **chains}, state

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        seen, mean = state["seen"], params["mean"]
        share = seen.to(mean.dtype)
        output = self._answer(net, params, state, share / share.sum().clamp_min(1.0), x, task)
        if self.score == "uniform":
            return output
        for t, one in enumerate(torch.eye(len(seen), dtype=mean.dtype, device=mean.device).unbind()):
            own = ((task == t) & seen[t]).unsqueeze(-1)
            output = torch.where(own, self._answer(net, params, state, one, x, task), output)
        return output

    def _answer(self, net: Net, params: Params, state: State, preference: Tensor, *inputs: Tensor) -> Tensor:
        """Answer with the mean of the combination, which is the same in every reading."""
        bank = state["bank"]["mean"]
        rows = credal.row_weights(state["index"], preference, len(bank))
        mean = torch.where(state["seen"].any(), (rows.unsqueeze(1) * bank).sum(0), params["mean"].mean(0))
        return net({**params, "mean": mean.unsqueeze(0)}, *inputs)
