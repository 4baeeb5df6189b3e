"""Concrete subspace learning: a mask that all task vectors share, drawn while it is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, State
from perdure.core.checks import check_number
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.optim.adam import Adam
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.merging.fitted import Model
from perdure.strategies.merging.learned import Learned, entropy, fresh
from perdure.strategies.merging.rule import rule, vectors

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@rule("concrete")
class Concrete(Learned):
    """Learn without labels which entries of the task vectors to take, by one mask for all of them.

    ``theta_0 + (m / mean(m)) * sum_t c_t tau_t``, each parameter tensor with a mean of its own. A mask has a
    logit z for each entry. While it is learned, each step draws it from the concrete distribution,
    ``m = sigmoid((z + log u - log(1 - u)) / temperature)`` with u uniform in (0, 1), and Adam moves the
    logits against the entropy of the merged model's answers, ``min_z E_u mean_x H(p(. | x, z, u))``. The
    merged model has ``m = sigmoid(z)``, or ``m = [z >= 0]``. Logits start at 0, which is task arithmetic.

    Parameters
    ----------
    steps, part:
        As in :class:`Learned`.
    lr:
        Adam's learning rate for the logits, whatever the run's.
    initial:
        The coefficients c_t, or what they start from.
    adapt:
        ``"none"``: coefficients stay as they are (Concrete Task Arithmetic). With ``"task"`` or ``"layer"``
        they are learned as in AdaMerging, one for each task, or for each task and parameter (Concrete
        AdaMerging): each step moves them first, at the mask that is drawn, and then the logits, at the
        coefficients that it has found.
    inner_lr:
        Adam's learning rate for the coefficients.
    temperature:
        How far the drawn masks are from 0 and 1: with 0 entries would be one or the other.
    hard:
        Whether the merged model's mask is 0 or 1.

    Deviations: the source draws the merged model's mask, too; here an entry counts with its probability, or
    as what is more likely. The source takes coefficients back to their start at each step and learns them
    afterwards, at the final mask; here they go on, which needs no second phase. Both levels see the same
    batch, of validation samples that mix the tasks, where the source takes test inputs. A layer is a
    parameter tensor. The number of steps and the learning rates are chosen here.

    Source: Tang et al., "Concrete subspace learning based interference elimination for multi-task model
    fusion", arXiv 2312.06173; the rescaling is that of its public code.

    >>> base, tasks = {"w": torch.zeros(2)}, {"w": torch.tensor([[1.0, 2.0], [3.0, 0.0]])}
    >>> values = {"": torch.tensor([0.5, 0.5]), "w": torch.tensor([0.0, 100.0])}
    >>> [round(v, 4) for v in Concrete().build(base, tasks, values)["w"].tolist()]  # mask 1/2, 1
    [1.3333, 1.3333]
    """

    data: ClassVar[str] = "unlabelled"
    lr: float = 0.1
    adapt: Literal["none", "task", "layer"] = "none"
    inner_lr: float = 1e-3
    temperature: float = 0.5
    hard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("inner_lr", self.inner_lr, ends="()")
        check_number("temperature", self.temperature, ends="()")

    def check(self, stream: Stream) -> None:
        super().check(stream)
        stream.need_classes(f"the merging rule {self.name}")

    def coefficients(self, base: Params, tasks: int) -> Params:
        """Return the logits by the name of the parameter, and under ``""`` the coefficients.

        Those are ``[tasks]``, or ``[parameters, tasks]`` where each parameter has its own.
        """
        like = next(iter(base.values()))
        shape = (len(base), tasks) if self.adapt == "layer" else (tasks,)
        return {"": like.new_full(shape, self.initial), **{k: torch.zeros_like(v) for k, v in base.items()}}

    def begin(self, net: Net, base: Params, tasks: int, shape: tuple[int, ...]) -> State:
        values = self.coefficients(base, tasks)
        scales = {"": values[""]}
        return {**fresh(logits(values)), "values": values, "inner": Adam().init(scales)}

    def learn(self, net: Net, params: Params, tasks: Params, fit: State, model: Model, batch: Batch) -> State:
        noise = self.noise(fit["values"], batch.rng)

        def loss(values: Params) -> Tensor:
            return self.loss(net, model(self.draw(values, noise)), batch)

        fit = self.adapted(fit, loss, batch)
        values = fit["values"]

        def outer(masks: Params) -> Tensor:
            return loss({**values, **masks})

        slope = torch.func.grad(outer)(logits(values))
        return self.moved(fit, slope, batch)

    def noise(self, values: Params, rng: Rng) -> Params:
        """Return logistic noise for each logit, ``log u - log(1 - u)``."""
        own = rng.scoped("mask")
        return {
            k: torch.logit(own.uniform(k, *v.shape, dtype=v.dtype), eps=1e-6)
            for k, v in logits(values).items()
        }

    def draw(self, values: Params, noise: Params) -> Params:
        """Return the values whose mask is one that is drawn."""
        return {"": values[""], **{k: (values[k] + v) / self.temperature for k, v in noise.items()}}

    def adapted(self, fit: State, loss: Callable[[Params], Tensor], batch: Batch) -> State:
        """Return ``fit`` after the inner level: a step of the coefficients, where they are learned."""
        if self.adapt == "none":
            return fit
        values, lr = fit["values"], batch.weight.new_tensor(self.inner_lr)
        scales = {"": values[""]}
        slope = torch.func.grad(lambda new: loss({**values, **new}))(scales)
        scales, memory = Adam().update(scales, slope, fit["inner"], lr, None)
        return {**fit, "values": {**values, **scales}, "inner": memory}

    def moved(self, fit: State, slope: Params, batch: Batch) -> State:
        """Return ``fit`` after the outer level: a step of the logits."""
        lr = batch.weight.new_tensor(self.lr)
        new, memory = Adam().update(logits(fit["values"]), slope, fit["memory"], lr, None)
        return {**fit, "values": {**fit["values"], **new}, "memory": memory}

    def conclude(self, net: Net, fit: State, model: Model, task: TaskData) -> State:
        if not self.hard:
            return fit
        values = fit["values"]
        sides = {k: torch.where(v >= 0, torch.inf, -torch.inf) for k, v in logits(values).items()}
        return {**fit, "values": {"": values[""], **{k: v.to(values[k].dtype) for k, v in sides.items()}}}

    def build(self, base: Params, tasks: Params, values: Params) -> Params:
        own, scales = vectors(base, tasks), values[""]
        each = scales if scales.ndim == 2 else scales.expand(len(base), -1)
        merged = {}
        for scale, (k, v) in zip(each, base.items(), strict=True):
            mask = values[k].sigmoid()
            merged[k] = v + mask / mask.mean().clamp_min(1e-12) * torch.tensordot(scale, own[k], 1)
        return merged

    def loss(self, net: Net, params: Params, batch: Batch) -> Tensor:
        return entropy(net, params, batch)


def logits(values: Params) -> Params:
    """Return the logits among a rule's values: all but the coefficients."""
    return {k: v for k, v in values.items() if k}
