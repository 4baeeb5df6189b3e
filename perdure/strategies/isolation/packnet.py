"""PackNet: a share of the weights for each task, by pruning."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from perdure.core.batch import Params, State
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.inspect import need_head, width
from perdure.strategies.contract.phase import Phase, Step, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("packnet")
class PackNet(Strategy):
    """Give each task weights of its own: train all that are free, give most of them back, retrain the rest.

    Every weight of a linear or convolution layer is owned by one task or by none. Task t trains the ``n``
    weights of a layer that nobody owns, beside those of earlier tasks, which are used and stay as they are;
    then the ``floor(prune * n)`` smallest of the n by magnitude are set to 0 and are nobody's again; the
    others are retrained and are the task's for good. Task t is scored with the weights of tasks up to t:
    ``W_t = W * [owner <= t]``. Of N weights, task t (from 0) owns about ``N prune^t (1 - prune)``.

    All other tensors of the body (biases, norms, embeddings) are learned with the first task, then frozen;
    layers that keep running statistics go by those of the first task from then on, in training too. The head,
    the last layer with the stream's outputs, is not pruned: each task has one of its own, which starts as
    drawn. So nothing is forgotten, to the bit.

    It asks for the task-incremental setting: scoring chooses the task's weights, in a forward pass per task
    of the stream. Samples that another strategy replays go through the weights of the task at hand.

    Parameters
    ----------
    prune:
        Share of the weights just trained that is given back, in (0, 1). The last task gives back its share
        too, so that more tasks could follow.
    retrain_epochs:
        Passes over the task's data after pruning; ``None`` takes as many steps as the second half of the
        training, at the learning rates of the schedule's second half.

    Source: Mallya & Lazebnik, "PackNet: adding multiple tasks to a single network by iterative pruning", CVPR
    2018, arXiv 1711.05769, and its code. There the first task comes pretrained and shares of 0.5 and 0.75
    were taken, each layer by itself, as here; retraining takes half the epochs, at a tenth of the rate, with
    fresh optimiser memory, where here the run's rate and its memory go on. Attention's packed
    ``in_proj_weight`` counts among what is frozen after the first task.
    """

    prune: float = 0.5
    retrain_epochs: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.prune < 1:
            raise PerdureError(f"prune, a share, must lie in (0, 1); found {self.prune}")
        if self.retrain_epochs is not None:
            check_whole("retrain_epochs", self.retrain_epochs)

    def _check(self, stream: Stream) -> None:
        if stream.setting != "task":
            raise PerdureError(
                "packnet must be told the task when it scores: give a stream with setting='task'; "
                f"found setting={stream.setting!r}"
            )
        if stream.online:
            raise PerdureError(
                "packnet passes over a task's samples again after pruning; found an online stream, whose "
                "samples may be passed over once"
            )

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        self._check(stream)
        head = need_head(model, stream.outputs, "packnet")
        if not _weights(model, head):
            raise PerdureError(
                "packnet needs a linear or convolution layer with plain weights besides the head; "
                f"found none in {type(model).__name__}"
            )
        return _holding(model)

    def phases(self, stream: Stream) -> list[Phase]:
        self._check(stream)
        phases, own = [], self.retrain_epochs
        start = 0.0 if own else 0.5
        for t in range(len(stream)):
            phases.append(Phase((t,), stage=False, reset=True))
            phases.append(Phase((t,), "retrain", epochs=own, portion=(start, 1.0)))
        return phases

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        head = need_head(net.module, stream.outputs, "packnet")
        own = {k: params[k] for k in _named(head, net.module.get_submodule(head)) if k in params}
        device = next(iter(params.values())).device
        return {
            # Before any training the first task owns all, which scoring the untrained model asks for.
            "owner": {
                k: torch.zeros_like(params[k], dtype=torch.int32)
                for k in _weights(net.module, head)
                if k in params
            },
            "start": {k: v.clone() for k, v in own.items()},
            "heads": {k: torch.stack([v] * len(stream)) for k, v in own.items()},
            # Which task the model at hand answers for, with its head instead of the one that is kept.
            "live": torch.arange(len(stream), device=device) == 0,
        }

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name == "retrain":
            return params, state
        owner = {k: torch.where(v == _nobody(state), task.index, v) for k, v in state["owner"].items()}
        live = torch.arange(_nobody(state), device=state["live"].device) == task.index
        start = {k: v.clone() for k, v in state["start"].items()}
        return {**params, **start}, {**state, "owner": owner, "live": live}

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        # Momentum and weight decay move what has no gradient: what is not the task's own is put back.
        new, current = {}, step.batch.current
        for k, p in params.items():
            if k in state["owner"]:
                new[k] = torch.where(state["owner"][k] == current, p, step.previous[k])
            elif k in state["start"]:
                new[k] = p
            else:
                new[k] = torch.where(current > 0, step.previous[k], p)
        return new, state

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name != "retrain":
            return self._pruned(params, state, task.index)
        heads = {k: v.clone() for k, v in state["heads"].items()}
        for k, v in heads.items():
            v[task.index] = params[k]
        held = {k: torch.ones_like(v) for k, v in net.buffers.items() if k.split(".")[-1] == _Held.flag}
        return {**params, **held}, {**state, "heads": heads}

    def _pruned(self, params: Params, state: State, task: int) -> tuple[Params, State]:
        params, owner = dict(params), {}
        for k, who in state["owner"].items():
            out = smallest(params[k], who == task, self.prune)
            params[k] = torch.where(out, 0.0, params[k])
            owner[k] = torch.where(out, _nobody(state), who)
        return params, {**state, "owner": owner}

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        output = self._answer(net, params, state, 0, x, task)
        for t in range(1, _nobody(state)):
            own = (task == t).unsqueeze(-1)
            output = torch.where(own, self._answer(net, params, state, t, x, task), output)
        return output

    def _answer(self, net: Net, params: Params, state: State, t: int, x: Tensor, task: Tensor) -> Tensor:
        own = {k: torch.where(who <= t, params[k], 0.0) for k, who in state["owner"].items()}
        head = {k: torch.where(state["live"][t], params[k], v[t]) for k, v in state["heads"].items()}
        return net({**params, **own, **head}, x, task)


def smallest(weight: Tensor, among: Tensor, share: float) -> Tensor:
    """Mark the ``floor(share * n)`` smallest by magnitude of the n weights ``among``; ties by place."""
    count = (among.sum().double() * share + 1e-9).floor()
    size = torch.where(among, weight.abs(), torch.inf).flatten()
    rank = size.sort(stable=True).indices.argsort()
    return (rank < count).view(weight.shape) & among


def _named(path: str, layer: nn.Module) -> list[str]:
    """Return the names of a layer's own parameters within the model."""
    return [f"{path}.{k}".lstrip(".") for k, _ in layer.named_parameters()]


def _weights(model: nn.Module, head: str) -> list[str]:
    """Return the names of the weights that tasks share out: not those of the head, nor computed ones."""
    names = set(dict(model.named_parameters()))
    layers = [k for k, m in model.named_modules() if width(m) is not None and k != head]
    return [name for k in layers if (name := f"{k}.weight".lstrip(".")) in names]


def _nobody(state: State) -> int:
    """Return the owner of the weights that are free: the number of tasks, above every task's index."""
    return len(state["live"])


class _Held(nn.Module):
    """A layer whose running statistics stop once ``held`` is set: it then goes by them in training too."""

    flag = "held"

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.register_buffer(self.flag, torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``."""
        if not self.training:
            out: Tensor = self.norm(x)
            return out
        # Both go by copies: what was kept for the gradient must not be written on.
        kept, moved = ({k: v.clone() for k, v in self.norm.named_buffers()} for _ in range(2))
        fresh: Tensor = functional_call(self.norm, moved, (x,))
        self.norm.eval()
        still: Tensor = functional_call(self.norm, kept, (x,))
        self.norm.train()
        held = self.get_buffer(self.flag)
        for k, v in self.norm.named_buffers():
            v.copy_(torch.where(held, kept[k], moved[k]))
        return torch.where(held, still, fresh)


def _holding(model: nn.Module) -> nn.Module:
    """Return a copy of the model whose layers with running statistics can be held."""
    model = copy.deepcopy(model)
    tracking: list[Any] = [m for m in model.modules() if isinstance(m, _NormBase) and m.track_running_stats]
    wrappers = {id(m): _Held(m) for m in tracking}
    for parent in list(model.modules()):
        # Not `named_children`, which leaves out a layer that is there twice.
        for name, child in list(parent._modules.items()):
            if id(child) in wrappers:
                setattr(parent, name, wrappers[id(child)])
    return model
