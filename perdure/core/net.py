"""The model as a pure function of its parameters."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from perdure.core.batch import CLOSED, Batch, Params, Tally, weighted_mean
from perdure.core.errors import PerdureError
from perdure.core.layer_draws import OwnDraws
from perdure.core.random import Rng
from perdure.core.refusals import describe


class Losses(Protocol):
    """What says how well outputs fit a batch: an objective."""

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Loss of each sample, ``[n]``, or of each label, ``[n, targets]``."""

    def surprise(self, output: Tensor, batch: Batch) -> Tensor:
        """``-log p(y | x)`` of each sample or label."""


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Turn off the fused layers of torch's transformers, which scoring alone uses and ``vmap`` cannot map."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def takes_task(module: nn.Module) -> bool:
    """Tell whether the module's ``forward`` has a parameter ``task`` (heads or weights per task)."""
    return "task" in inspect.signature(module.forward).parameters


def normalises(module: nn.Module) -> bool:
    """Tell whether the module has norm layers that need more than one value per channel in training."""
    return any(isinstance(m, nn.modules.batchnorm._NormBase) for m in module.modules())


def couples_samples(module: nn.Module) -> bool:
    """Tell whether the samples of a batch influence each other in training, so that padding would count.

    They do with batch norm, and with modules that say so themselves: those with a true ``couples_samples``.
    """
    norm = nn.modules.batchnorm._BatchNorm
    return any(isinstance(m, norm) or getattr(m, "couples_samples", False) is True for m in module.modules())


def _over_labels(each: Tensor, batch: Batch) -> Tensor:
    """Add up over the labels of a sample, ``[n]``; those that are missing do not count."""
    return each if each.ndim == 1 else (each * (batch.weight > 0)).sum(-1)


@dataclass(frozen=True, eq=False)
class Net:
    """One replica's model as a function: ``net(params, x, task)`` gives the outputs ``[n, outputs]``.

    Outputs that may not compete on a sample's task are closed (set to a large negative number). In training
    the same call made twice in a step costs once, so a strategy may ask again for the batch's outputs.

    Parameters
    ----------
    module:
        The architecture; its own tensors are never read.
    buffers:
        What is not trained (running statistics).
    masks:
        Outputs that may compete on each task, ``[tasks, outputs]`` bool, or ``None`` for all of them.
    objective:
        What the task at hand asks for.
    training:
        Whether norm and dropout layers are in training mode.
    mappable:
        False when the model refuses ``vmap``: :meth:`each` then loops over samples.
    precision:
        Data type of the matrix products under autocast, or ``None``.
    tally:
        Where the samples whose losses are taken are counted, or ``None``.
    kept:
        Layers of which what goes into them is kept when the outputs of a step are computed: to ask for it
        with :meth:`inside` then costs no further call.
    """

    module: nn.Module
    buffers: Params
    masks: Tensor | None
    objective: Losses
    training: bool = False
    rng: Rng | None = None
    mappable: bool = True
    precision: torch.dtype | None = None
    tally: Tally | None = field(default=None, repr=False)
    kept: tuple[str, ...] = ()
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __call__(self, params: Params, x: Tensor, task: Tensor) -> Tensor:
        """Outputs for ``x`` ``[n, ...]``; ``task`` is a task index for each sample, or one 0-d for all."""
        return self._once("closed", self._closed, params, x, task)

    def raw(self, params: Params, x: Tensor, task: Tensor) -> Tensor:
        """Outputs as the module gives them, none of them closed: what other tasks' heads say of ``x``."""
        return self._once("raw", self._run, params, x, task)

    def close(self, output: Tensor, task: Tensor) -> Tensor:
        """Close, in raw outputs ``[n, outputs]``, those that may not compete on each sample's task."""
        if self.masks is None:
            return output
        each = task.expand(len(output)) if task.ndim == 0 else task
        return output.masked_fill(~self.masks.index_select(0, each), CLOSED)

    def inside(
        self, params: Params, x: Tensor, task: Tensor, layer: str,
        put: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return what goes into a layer of the model, ``[n, ...]``, and the raw outputs.

        Parameters
        ----------
        params, x, task:
            As for the outputs.
        layer:
            Name of the layer, as ``named_modules`` gives it.
        put:
            What is to go into the layer instead, as a function of what would.

        Raises
        ------
        PerdureError
            When the model has no such layer, or does not call it.
        """
        if self.training and put is None and layer in self.kept:
            outputs = self.raw(params, x, task)
            caught = self._memo["inside", id(params), id(x), id(task)]
        else:
            with self._caught((layer,), put) as caught:
                # Another call of the same inputs must not answer for this one.
                outputs = replace(self, _memo={}, kept=()).raw(params, x, task)
        if not caught[layer]:
            raise PerdureError(f"the model does not call its layer {layer!r} with what goes through it")
        return caught[layer][-1], outputs

    @contextmanager
    def _caught(
        self, layers: Sequence[str], put: Callable[[Tensor], Tensor] | None = None
    ) -> Iterator[dict[str, list[Tensor]]]:
        """Collect what goes into layers, by their names, whenever they are called."""
        modules = dict(self.module.named_modules())
        caught: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        handles = []

        def catch(layer: str, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            caught[layer].append(args[0])
            return None if put is None else (put(args[0]), *args[1:])

        for layer in layers:
            if layer not in modules:
                name = type(self.module).__name__
                raise PerdureError(f"expected the name of a layer of {name}; found {layer!r}")
            handles.append(modules[layer].register_forward_pre_hook(partial(catch, layer)))
        try:
            yield caught
        finally:
            for handle in handles:
                handle.remove()

    def _once(
        self, what: str, call: Callable[..., Tensor], params: Params, x: Tensor, task: Tensor
    ) -> Tensor:
        key = (what, id(params), id(x), id(task))
        if self.training and key in self._memo:
            return self._memo[key][0]  # type: ignore[no-any-return]
        output = call(params, x, task)
        if self.training:
            # The arguments are kept with the result: a freed object's id may be given to another.
            self._memo[key] = (output, params, x, task)
        return output

    def _closed(self, params: Params, x: Tensor, task: Tensor) -> Tensor:
        return self.close(self.raw(params, x, task), task)

    def _run(self, params: Params, x: Tensor, task: Tensor) -> Tensor:
        if not (self.training and self.kept):
            return self._forward(params, x, task)
        with self._caught(self.kept) as caught:
            output = self._forward(params, x, task)
        self._memo["inside", id(params), id(x), id(task)] = caught
        return output

    def _forward(self, params: Params, x: Tensor, task: Tensor) -> Tensor:
        task = task.expand(x.shape[0]) if task.ndim == 0 else task
        if self.module.training != self.training:
            self.module.train(self.training)
        # Models may write on their inputs, and norm layers do on their statistics: each call gets copies.
        written = {k for k, _ in self.module.named_buffers()}
        buffers = {k: v.clone() if k in written else v for k, v in self.buffers.items()}
        x = x.clone()
        # A parameter absent from `params` would be read from the module itself: hence the merge.
        tensors = {**buffers, **params}
        arguments = (x, task) if takes_task(self.module) else (x,)
        with self._autocast(x), self._draws(), _plain_attention():
            output: Tensor = functional_call(self.module, tensors, arguments)
        if self.training and "buffers" not in self._memo:
            self._memo["buffers"] = buffers
        return output.float() if self.precision is not None else output

    def _autocast(self, x: Tensor) -> AbstractContextManager[Any]:
        if self.precision is None:
            return nullcontext()
        return torch.autocast(x.device.type, dtype=self.precision)

    def _draws(self) -> AbstractContextManager[Any]:
        if self.rng is None:
            return nullcontext()
        if "draws" not in self._memo:
            self._memo["draws"] = OwnDraws(self.rng.scoped("model"))
        mode: OwnDraws = self._memo["draws"]
        return mode

    @property
    def updated(self) -> Params:
        """The buffers after the step's first call in training mode."""
        return self._memo.get("buffers", self.buffers)  # type: ignore[no-any-return]

    def eval(self, buffers: Params | None = None) -> Net:
        """Return the same model in evaluation mode, with its own or other buffers."""
        rng = None if self.rng is None else self.rng.scoped("eval")
        return replace(
            self, training=False, buffers=self.updated if buffers is None else buffers, rng=rng, _memo={}
        )

    def sample_losses(self, params: Params, batch: Batch) -> Tensor:
        """Loss of each sample of the batch, ``[n]``; of several labels, the sum over those that are there."""
        return _over_labels(self.objective.loss(self(params, batch.x, batch.task), batch), batch)

    def surprises(self, output: Tensor, batch: Batch) -> Tensor:
        """``-log p(y | x)`` of each sample with these outputs, ``[n]``."""
        return _over_labels(self.objective.surprise(output, batch), batch)

    def losses(self, params: Params, batch: Batch) -> Tensor:
        """Weighted mean loss of each entry, ``[entries]``: one for all samples, or one per task or target."""
        if self.tally is not None:
            self.tally.note(batch.y)
        each = self.objective.loss(self(params, batch.x, batch.task), batch)
        if each.ndim == 2:
            total = batch.weight.sum(0).clamp_min(1e-12)
            return (each * (batch.weight / total)).sum(0)
        if batch.slot is None:
            return weighted_mean(each, batch.weight).unsqueeze(0)
        entries = torch.arange(batch.entries, device=each.device)
        share = (batch.slot.unsqueeze(0) == entries.unsqueeze(1)).to(each.dtype) * batch.weight
        return (share * each).sum(1) / share.sum(1).clamp_min(1e-12)

    def each(self, function: Callable[..., Any], *samples: Tensor) -> Any:
        """Map ``function`` over the first axis of ``samples``; results are stacked.

        What ``vmap`` refuses goes through the samples one by one, with a warning and the same results.
        """
        if self.mappable:
            try:
                with nullcontext() if self.tally is None else self.tally.each(len(samples[0])):
                    return vmap(function, randomness="different")(*samples)
            except PerdureError:
                raise
            except Exception as error:
                # If the function fails for a single sample as well, that failure is the one to report.
                result = self._loop(function, samples)
                said = f"single samples cannot be mapped and are gone through one by one: {describe(error)}"
                warnings.warn(said, RuntimeWarning, stacklevel=3)
                return result
        return self._loop(function, samples)

    def _loop(self, function: Callable[..., Any], samples: tuple[Tensor, ...]) -> Any:
        results = [function(*row) for row in zip(*samples, strict=True)]
        return torch.utils._pytree.tree_map(lambda *r: torch.stack(r), *results)
