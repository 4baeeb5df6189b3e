"""Defense-aware merging: a mask that all task vectors share, learned against perturbations of the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, State, weighted_mean
from perdure.core.checks import check_number
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.optim.adam import Adam
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.merging.concrete import Concrete, logits
from perdure.strategies.merging.fitted import Model
from perdure.strategies.merging.rule import rule

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@rule("dam")
class DAM(Concrete):
    """Learn the mask of ``concrete`` so that no perturbation of a task's inputs turns the answers to them.

    A model with a backdoor answers as its maker wants where a trigger is in the input; merging hands that on.
    Triggers are not known, so that a perturbation ``d_t`` of all inputs of a task stands for them. Each step
    moves the coefficients, where they are learned, then the perturbations, up
    ``mean_x -log p(argmax p(. | x) | x + d_t)``, and then the logits, down
    ``mean_x H(p(. | x)) + weight * mean_x H(p(. | x + d_t))``, all at the mask that is drawn.

    Parameters
    ----------
    steps, part, lr, initial, adapt, inner_lr, temperature, hard:
        As in :class:`Concrete`; the coefficients are moved on the samples as they are.
    weight:
        What the perturbed samples count. With 0 this is ``concrete``, of which the attack's success is told.
    attack_lr:
        Adam's learning rate for the perturbations, in the units of the inputs: each entry goes about
        ``steps * attack_lr`` far, from 0.

    Results keep under ``"attack_success"`` the share of each task's samples whose answer its perturbation
    turns, ``[tasks]``; the samples are those that it was learned from, and no label is read. Accuracy is the
    run's score. Of a trigger that is known, the success is the share of inputs with it that
    ``results.trained[name].predict`` answers as its maker wants.

    Deviations, besides those of ``concrete``: perturbed inputs are not clamped, as inputs need not lie in
    [0, 1]; a batch that mixes the tasks stands for one of each; the three moves of a step see the same batch.
    With fewer steps than the source's 1000, perturbations go as far by a rate that is ten times its own.

    Source: Yang et al., "Mitigating the backdoor effect for multi-task model merging via safety-aware
    subspace", ICLR 2025, arXiv 2410.13910; losses and the order of the moves are those of its public code.

    >>> from perdure.strategies import get
    >>> get("merge(rule=dam(weight=0.5))").rule
    dam(weight=0.5)
    """

    weight: float = 0.1
    attack_lr: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("weight", self.weight)
        check_number("attack_lr", self.attack_lr, ends="()")

    def check(self, stream: Stream) -> None:
        super().check(stream)
        x = stream.example()["x"]
        if not x.is_floating_point():
            raise PerdureError(
                f"the merging rule {self.name} perturbs inputs, which must be floating point; found {x.dtype}"
            )

    def begin(self, net: Net, base: Params, tasks: int, shape: tuple[int, ...]) -> State:
        like = next(iter(base.values()))
        shift = {"shift": like.new_zeros(tasks, *shape)}
        attack = {**shift, "attack": Adam().init(shift), "attack_success": like.new_zeros(tasks)}
        return {**super().begin(net, base, tasks, shape), **attack}

    def learn(self, net: Net, params: Params, tasks: Params, fit: State, model: Model, batch: Batch) -> State:
        noise = self.noise(fit["values"], batch.rng)

        def merged(values: Params) -> Params:
            return model(self.draw(values, noise))

        def calm(values: Params) -> Tensor:
            return self.loss(net, merged(values), batch)

        fit = self.adapted(fit, calm, batch)
        values = fit["values"]
        fit = self.attacked(net, fit, merged(values), batch)
        turned = batch.with_rows(x=shifted(batch.x, batch.task, fit["shift"]))

        def outer(masks: Params) -> Tensor:
            found = merged({**values, **masks})
            return self.loss(net, found, batch) + self.weight * self.loss(net, found, turned)

        return self.moved(fit, torch.func.grad(outer)(logits(values)), batch)

    def attacked(self, net: Net, fit: State, merged: Params, batch: Batch) -> State:
        """Return ``fit`` after a step of the perturbations, away from the answers as they are."""
        answers = net(merged, batch.x, batch.task).argmax(-1, keepdim=True)

        def likely(moved: Params) -> Tensor:
            output = net(merged, shifted(batch.x, batch.task, moved["shift"]), batch.task)
            return weighted_mean(output.log_softmax(-1).gather(-1, answers)[:, 0], batch.sample_weight)

        shift, lr = {"shift": fit["shift"]}, batch.weight.new_tensor(self.attack_lr)
        shift, memory = Adam().update(shift, torch.func.grad(likely)(shift), fit["attack"], lr, None)
        return {**fit, **shift, "attack": memory}

    def conclude(self, net: Net, fit: State, model: Model, task: TaskData) -> State:
        fit = super().conclude(net, fit, model, task)
        merged = model(fit["values"])

        def answers(x: Tensor) -> Tensor:
            return net(merged, x, task.task).argmax(-1)

        turned = answers(task.x) != answers(shifted(task.x, task.task, fit["shift"]))
        return {**fit, "attack_success": shares(turned, task.task, fit["attack_success"])}

    def report(self, fit: State) -> State:
        return {"attack_success": fit["attack_success"]}


def shifted(x: Tensor, task: Tensor, shift: Tensor) -> Tensor:
    """Return inputs ``[n, ...]``, each with its task's perturbation of ``[tasks, ...]``."""
    return x + shift.to(x.dtype).index_select(0, task)


def shares(hits: Tensor, task: Tensor, like: Tensor) -> Tensor:
    """Return the share of hits ``[n]`` among each task's samples, ``[tasks]``; 0 where there are none."""
    of = (task.unsqueeze(1) == torch.arange(len(like), device=task.device)).to(like.dtype)
    return hits.to(like.dtype) @ of / of.sum(0).clamp_min(1)
