"""One training step and one evaluation of one replica, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, grad_and_value, jacrev, vmap

from perdure.core.batch import Batch, Params, Rows, Tally, weigh, weighted_mean
from perdure.core.errors import PerdureError
from perdure.core.net import Net, couples_samples
from perdure.core.random import Rng
from perdure.core.tree import like
from perdure.engine.replicas import Replica
from perdure.optim.optimizer import Optimizer
from perdure.scenarios.contract.objective import Objective
from perdure.scenarios.contract.world import Act
from perdure.strategies.contract.accepts import Fits
from perdure.strategies.contract.composition import Composition
from perdure.strategies.contract.phase import Phase, Step


@dataclass(frozen=True, eq=False)
class Program:
    """What is the same for all replicas of a run: architecture, strategy, optimiser, objective, inputs."""

    module: nn.Module
    strategy: Composition
    optimizer: Optimizer
    masks: Tensor | None
    objective: Objective
    fits: Fits
    decays: bool = False
    clip: float | None = None
    mappable: bool = True
    precision: torch.dtype | None = None
    # Asked once: finding names in a large model takes longer than a small step.
    _trained: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)
    # Samples that a step learns from, by the phase's name and the incoming batch's length, and whether the
    # incoming ones are among them: noted when the step is recorded.
    _learned: dict[tuple[str, int], tuple[int, bool]] = field(default_factory=dict, init=False, repr=False)

    def net(self, buffers: Params, rng: Rng | None = None, training: bool = False) -> Net:
        """Return the model of one replica as a function."""
        return Net(
            self.module, buffers, self.masks, self.objective, training, rng, self.mappable, self.precision,
            kept=self.strategy.reads_inside,
        )  # fmt: skip

    def trainable(self, net: Net, params: Params, phase: str) -> tuple[str, ...]:
        """Name the parameters that phases of this name train."""
        if phase not in self._trained:
            names = tuple(self.strategy.trainable(net, params, phase))
            if not names:
                found = f"{self.strategy} trains nothing in the phase {phase!r}"
                raise PerdureError(f"{found}; expected a parameter")
            self._trained[phase] = names
        return self._trained[phase]

    def learned(self, phase: str, length: int, real: int) -> int:
        """Count the samples that a step learned from: incoming ones, but no padding, and remembered ones.

        ``length`` is that of the incoming batch, of which ``real`` samples are no padding. A memory counts
        with as many samples as a step reads of it, also while it is still filling.
        """
        rows, incoming = self._learned[phase, length]
        return rows - (length - real if incoming else 0)

    def step(
        self,
        replica: Replica,
        hyper: dict[str, Tensor],
        samples: dict[str, Tensor],
        at: dict[str, Tensor],
        phase: Phase,
    ) -> Replica:
        """Draw the batch, take the gradient, let the optimiser move, let the strategy follow.

        ``hyper`` holds the replica's seed, learning rate and weight decay; ``samples`` its batch; ``at`` the
        step, the factor of the learning-rate schedule and the current task, which all replicas share.
        """
        params, strategy = replica.params, self.strategy
        rng = Rng(hyper["seed"], at["step"])
        tally = Tally()
        net = replace(self.net(replica.buffers, rng, training=True), tally=tally)
        separate = phase.batch_per_task
        entries = len(phase.tasks) if separate else self.objective.targets
        batch = Batch(samples, at["current"], rng, phase.name, entries)
        came, batch = batch, strategy.batch(net.eval(), params, replica.state, batch)
        net = replace(net, _memo={})

        names = self.trainable(net.eval(), params, phase.name)
        learned = {k: params[k] for k in names}

        taken, buffers, vector = self._differentiate(net, replica, learned, batch, came)
        # Whoever does not read them does not pay for them: what nobody reads is dropped from the record.
        batch = replace(batch, losses=vector.detach())
        grads = {k: taken[k] if k in taken else _no_gradient(p, taken, strategy) for k, p in params.items()}
        each = grads if strategy.per_loss_gradients else None
        quiet = replace(self.net(replica.buffers, rng, training=True), tally=tally)
        changed = strategy.gradient(quiet, params, replica.state, grads, batch)
        grads = like(params, changed, f"gradient of {strategy}")
        lr = hyper["lr"] * at["factor"]
        # A strategy that follows the step sees the gradient of the loss, however short the step is kept.
        taken = grads if self.clip is None else clipped(grads, names, self.clip)
        moved, memory = self.optimizer.update(
            learned, taken, replica.optim, lr, hyper["decay"] if self.decays else None
        )
        moved = like(learned, moved, f"the optimiser {self.optimizer}")
        if len(names) < len(params):
            moved, memory = {**params, **moved}, _rejoin(replica.optim, memory)
        after = replace(quiet, buffers=buffers, _memo={})
        seen = Step(batch, params, grads, came, each)
        moved, state = strategy.after_step(after, moved, replica.state, seen)
        kept = bool(batch.joined) or batch.task is came.task
        self._learned[phase.name, len(came)] = (tally.total, kept)
        new = {"params": moved, "buffers": buffers, "state": state, "optim": memory}
        return Replica(**like(vars(replica), new, f"a step of {strategy}"))

    def _differentiate(
        self, net: Net, replica: Replica, learned: Params, batch: Batch, came: Batch
    ) -> tuple[Params, Params, Tensor]:
        """Return the gradient of all losses, or of each ``[losses, ...]``, the buffers and the losses."""
        strategy = self.strategy
        if strategy.per_loss_gradients and (found := self._by_block(net, replica, learned, batch, came)):
            return found

        def losses(learned: Params) -> tuple[Tensor, tuple[Params, Tensor]]:
            # The memo belongs to this differentiation: its tensors must not outlive it.
            inner, params = replace(net, _memo={}), {**replica.params, **learned}
            base = inner.losses(params, batch)
            total = strategy.losses(inner, params, replica.state, batch, base)
            value = total if strategy.per_loss_gradients else total.sum()
            return value, (inner.updated, total)

        gradient = jacrev(losses, has_aux=True) if strategy.per_loss_gradients else grad(losses, has_aux=True)
        taken, (buffers, vector) = gradient(learned)
        return taken, buffers, vector

    def _by_block(
        self, net: Net, replica: Replica, learned: Params, batch: Batch, came: Batch
    ) -> tuple[Params, Params, Tensor] | None:
        """Return what :meth:`_differentiate` does, where each loss has rows of its own and is of these alone.

        The gradient of each loss then goes through its own rows, not through those of all: T tasks cost what
        one gradient of all rows costs, and not T times that. ``None`` where rows may influence each other
        (norm statistics, random numbers drawn for all rows at once), or are not the stream's alone.
        """
        slot = batch.slot
        if (
            slot is None
            or slot is not came.slot
            or net.buffers
            or not net.mappable
            or couples_samples(net.module)
        ):
            return None
        blocks = {k: v.reshape(batch.entries, -1, *v.shape[1:]) for k, v in batch.rows.items() if k != "slot"}

        def loss(learned: Params, rows: Rows) -> Tensor:
            inner = replace(net, _memo={}, tally=None)
            return inner.losses({**replica.params, **learned}, batch.like(rows)).squeeze(0)

        try:
            taken, vector = vmap(grad_and_value(loss), in_dims=(None, 0))(learned, blocks)
        except PerdureError:
            raise
        except Exception:
            # What cannot be mapped, or draws random numbers, is differentiated as a whole: an error of the
            # model's own shows there.
            return None
        inner, params = replace(net, _memo={}), {**replica.params, **learned}
        if self.strategy.losses(inner, params, replica.state, batch, vector) is not vector:
            return None  # A strategy adds to the losses, or makes others of them.
        assert net.tally is not None
        net.tally.note(batch.y)
        return taken, replica.buffers, vector

    def accumulate(
        self, replica: Replica, hyper: dict[str, Tensor], samples: dict[str, Tensor], at: dict[str, Tensor],
        phase: Phase,
    ) -> Any:  # fmt: skip
        """Return what the strategy measures on a batch, with the model in evaluation mode."""
        rng = Rng(hyper["seed"], at["step"], "measure/")
        batch = Batch(samples, at["current"], rng, phase.name, place=at["place"])
        net = self.net(replica.buffers, rng)
        return self.strategy.accumulate(net, replica.params, replica.state, batch)

    def outputs(self, replica: Replica, x: Tensor, task: Tensor, rng: Rng | None = None) -> Tensor:
        """Outputs that are scored, ``[n, outputs]``; ``rng`` is for models that draw in evaluation mode."""
        net = self.net(replica.buffers, rng)
        return self.strategy.forward(net, replica.params, replica.state, x, task)

    def score(self, replica: Replica, rows: Rows, rng: Rng | None) -> tuple[Tensor, Tensor]:
        """What the score adds up, ``[n]`` or ``[n, width]``, and each sample's highest output, ``[n]``."""
        output = self.outputs(replica, rows["x"], rows["task"], rng)
        return self.objective.score(output, answered(output, rows, rng)), output.argmax(-1)

    def act(self, replica: Replica, task: Tensor, rng: Rng) -> Act:
        """Return the policy of a world's task: the outputs that are scored, in the world's kind of number."""
        kind = next(iter(replica.params.values())).dtype

        def act(x: Tensor) -> Tensor:
            seen = x.to(kind) if x.is_floating_point() else x
            found = self.outputs(replica, seen, task.expand(len(x)), rng.scoped("act"))
            return found.to(x.dtype) if x.is_floating_point() else found

        return act

    def loss(self, replica: Replica, rows: Rows, rng: Rng) -> Tensor:
        """Mean loss of samples, 0-d, by the outputs that are scored."""
        output = self.outputs(replica, rows["x"], rows["task"], rng)
        batch = answered(output, rows, rng)
        each = self.objective.loss(output, batch)
        return weighted_mean(each, batch.weight)


def clipped(grads: Params, names: Sequence[str], longest: float) -> Params:
    """Shorten a gradient to a norm: that over the parameters of these names, which are trained."""
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grads[k]) for k in names]))
    factor = (longest / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_ has it
    return {k: g * factor for k, g in grads.items()}


def answered(output: Tensor, rows: Rows, rng: Rng | None) -> Batch:
    """Return the batch that outputs answer."""
    last = rows["task"][-1]
    return Batch(weigh(rows, torch.ones_like(output[:, 0])), last, Rng(last, last) if rng is None else rng)


def _no_gradient(param: Tensor, taken: Params, strategy: Composition) -> Tensor:
    """Return zeros for a parameter that is not trained, with the axis of losses where there is one."""
    if not strategy.per_loss_gradients:
        return torch.zeros_like(param)
    entries = next(iter(taken.values())).shape[0]
    return param.new_zeros(entries, *param.shape)


def _rejoin(before: Any, after: Any) -> Any:
    """Put what the optimiser remembers of some parameters among what it remembers of the others."""
    return {k: {**before[k], **v} if isinstance(v, dict) else v for k, v in after.items()}
