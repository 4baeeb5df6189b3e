"""iCaRL: exemplars chosen by herding, distillation, and the nearest mean of exemplars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from perdure.core.batch import CLOSED, Batch, Params, Rows, State, weighted_mean
from perdure.core.checks import MOST_SAMPLES, check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.inspect import need_head
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.memory import draw, empty, join, pick

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream

# Samples that go through the model at a time between tasks.
CHUNK = 512


@strategy("icarl")
class ICaRL(Strategy):
    """Classify by the nearest mean of exemplars; learn features by replaying these and by distillation.

    - **Loss**, in place of the task's: binary cross-entropy of the sigmoids ``g_c(x)`` of the raw outputs,
      summed over the classes c seen so far, mean over new samples and exemplars. Targets are ``[y = c]`` for
      classes of the current task, and what the model of the last task's end said, ``g'_c(x)``, for earlier
      ones.
    - **Exemplars**: each of the t classes seen so far has ``m = floor(capacity / t)`` (all it has, if those
      are fewer). With features ``f(x)`` of length 1 and their mean ``mu`` over the class, the k-th is, of
      those not chosen yet, the x that minimises ``||mu - (f(x) + sum_{j<k} f(p_j)) / k||``. When m shrinks,
      the first m stay.
    - **Answers**: ``-||f(x) - mu_c||``, with ``mu_c`` the mean of the features of the exemplars of c, scaled
      to length 1; classes without exemplars are closed. While a task is being learned (``eval_every``, the
      untrained model), the classes it brings have no exemplars, and the net's outputs answer.

    Features are what goes into the head, the last linear or convolution layer with the stream's outputs. In
    the task-incremental setting the answers are closed as in other strategies; where tasks share their
    classes, nothing is distilled, and exemplars are chosen anew from the old ones and the new samples. In a
    composition it stands before the strategies that add to the loss.

    Parameters
    ----------
    capacity:
        Number of exemplars in all; at least the stream's number of outputs.
    batch_size:
        Exemplars joined at each step, drawn uniformly with replacement; ``None`` as many as come in.

    Source: Rebuffi et al., "iCaRL: incremental classifier and representation learning", CVPR 2017, arXiv
    1611.07725. Deviations: the paper passes over the union of new samples and exemplars; here an epoch is one
    pass over the new samples, and the exemplars joined are weighted so that the loss is that over the union
    in expectation. The authors' code takes the mean over all outputs, seen or not, counts a sample that
    comes out of the herding twice once, rounds m up and averages over mirrored images; this does not.
    """

    capacity: int = 200
    batch_size: int | None = None

    def __post_init__(self) -> None:
        check_whole("capacity", self.capacity)
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, most=MOST_SAMPLES)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        stream.need_classes(self.name)
        if self.capacity < stream.outputs:
            raise PerdureError(
                f"capacity must be at least {stream.outputs}, an exemplar for each class; "
                f"found {self.capacity}"
            )
        memory = empty(self.capacity, params, stream)
        none = torch.zeros(stream.outputs, dtype=torch.bool, device=memory["x"].device)
        width = features(net, params, memory["x"][:1], memory["task"][:1], stream.outputs)[0].shape[-1]
        return {
            "memory": memory,
            "means": next(iter(params.values())).new_zeros(stream.outputs, width),
            "params": {k: p.clone() for k, p in params.items()},
            "buffers": {k: b.clone() for k, b in net.buffers.items()},
            "old": none,
            "new": none.clone(),
            "size": torch.ones_like(memory["seen"]),
            "ready": torch.zeros_like(memory["filled"][0]),
        }

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        size = torch.full_like(state["size"], len(task.y))
        new, ready = task.outputs.clone(), torch.zeros_like(state["ready"])
        return params, {**state, "size": size, "new": new, "ready": ready}

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        n, memory = self.batch_size or batch.fresh, state["memory"]
        rows, weight = draw(memory, batch.rng, "exemplars", n)
        # As if every exemplar were a sample of the task among the others.
        share = memory["filled"].sum().to(weight.dtype) / state["size"]
        return join(net, batch, rows, weight * share * batch.sample_weight[: batch.fresh].sum() / n)

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        before = net.eval(state["buffers"]).raw(state["params"], batch.x, batch.task)
        now = net.raw(params, batch.x, batch.task)
        each = surrogate(now, before, batch.y, state["old"], state["new"])
        own = torch.arange(len(losses), device=losses.device) < batch.entries
        return torch.where(own, weighted_mean(each, batch.sample_weight) / batch.entries, losses)

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        memory, outputs = state["memory"], len(state["old"])
        classes = torch.arange(outputs, device=task.y.device)
        rows = task.rows
        unit = torch.cat(
            [
                features(net, params, x, t, outputs)[0]
                for source in (memory, rows)
                for x, t in zip(source["x"].split(CHUNK), source["task"].split(CHUNK), strict=True)
            ]
        )
        fresh = (task.y.unsqueeze(1) == classes).any(0)
        filled = torch.cat([memory["filled"], torch.ones_like(task.y, dtype=torch.bool)])
        label = torch.where(filled, torch.cat([memory["y"], task.y]), -1)
        share = self.capacity // (label.unsqueeze(1) == classes).any(0).sum().clamp_min(1)
        # Classes that the task brings are herded; the others keep their order.
        herded = filled & fresh[label.clamp_min(0)]
        order = herd(unit, torch.where(herded, label, -1), share)
        key = torch.where(herded, order, torch.cat([memory["key"], torch.zeros_like(task.y)]))
        kept = filled & (key < share)
        chosen = (~kept).to(torch.uint8).sort(stable=True).indices[: self.capacity]
        keyed: Rows = {**memory, "key": key[: self.capacity]}
        memory, _ = pick(keyed, {**rows, "key": key[self.capacity :]}, chosen, kept[chosen])
        return params, {
            **state,
            "memory": memory,
            "means": class_means(unit[chosen], label[chosen], kept[chosen], outputs),
            "params": dict(params),
            "buffers": dict(net.buffers),
            "old": state["old"] | task.outputs,
            "ready": torch.ones_like(state["ready"]),
        }

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        memory, classes = state["memory"], torch.arange(len(state["old"]), device=x.device)
        unit, answers = features(net, params, x, task, len(classes))
        known = ((memory["y"].unsqueeze(1) == classes) & memory["filled"].unsqueeze(1)).any(0)
        nearest = torch.where(known, -distances(unit, state["means"]), CLOSED)
        answers = torch.where(state["ready"], nearest, answers)
        if net.masks is None:
            return answers
        return answers.masked_fill(~net.masks.index_select(0, task.expand(len(x))), CLOSED)


def features(net: Net, params: Params, x: Tensor, task: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
    """Return what goes into the head, scaled to length 1, ``[n, width]``, and the raw outputs.

    ``net`` must be in evaluation mode.
    """
    inputs, answers = net.inside(params, x, task, need_head(net.module, outputs, "icarl"))
    return nn.functional.normalize(inputs.to(answers.dtype).flatten(1), dim=-1), answers


def surrogate(now: Tensor, before: Tensor, y: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Binary cross-entropy of each sample, ``[n]``, summed over the classes seen.

    Parameters
    ----------
    now, before:
        Raw outputs of the model that learns and of the one kept, ``[n, classes]``.
    y:
        Labels, ``[n]``.
    old, new:
        Classes of earlier tasks and of the current one, ``[classes]`` bool; one that is both is new.
    """
    label = (y.unsqueeze(1) == torch.arange(len(old), device=y.device)).to(now.dtype)
    target = torch.where(old & ~new, before.sigmoid(), label)
    each = nn.functional.binary_cross_entropy_with_logits(now, target, reduction="none")
    return torch.where(old | new, each, 0.0).sum(-1)


def class_means(unit: Tensor, label: Tensor, kept: Tensor, classes: int) -> Tensor:
    """Return the mean of the kept features of each class, scaled to length 1, ``[classes, width]``."""
    mine = (label == torch.arange(classes, device=label.device).unsqueeze(1)) & kept
    total = mine.to(unit.dtype) @ unit
    return nn.functional.normalize(total / mine.sum(1, keepdim=True).clamp_min(1), dim=-1)


def distances(unit: Tensor, means: Tensor) -> Tensor:
    """Return the distance of each feature ``[n, width]`` to each mean ``[classes, width]`` of length 1."""
    # Their length is not computed: features that are all 0 are to be equally far from all, to the bit.
    return (unit.square().sum(-1, keepdim=True) + 1 - 2 * unit @ means.mT).clamp_min(0).sqrt()


@torch.library.custom_op("perdure::herd", mutates_args=())
def herd(unit: Tensor, group: Tensor, most: Tensor) -> Tensor:
    """Return the place of each sample in the herding order of its group, ``[..., n]`` int64.

    ``unit [..., n, width]`` are the features, ``group [..., n]`` the groups (below 0: none), and ``most``
    says how many of each are wanted; all others have the place ``n``.
    """
    n, width = unit.shape[-2:]
    flat, limits = group.reshape(-1, n), most.expand(group.shape[:-1]).reshape(-1).tolist()
    place = torch.full_like(flat, n)
    for r, x in enumerate(unit.reshape(-1, n, width)):
        for one in sorted({g for g in flat[r].tolist() if g >= 0}):
            members = (flat[r] == one).nonzero().squeeze(1)
            order = members[herding(x[members], limits[r])]
            place[r, order] = torch.arange(len(order), device=order.device)
    return place.view(group.shape)


@herd.register_fake
def _(unit: Tensor, group: Tensor, most: Tensor) -> Tensor:
    return torch.empty_like(group)


def herding(unit: Tensor, most: int) -> Tensor:
    """Return which of the features ``[n, width]`` of a class herding picks, at most so many, in its order.

    What is nearest up to rounding counts as equally near, and the first of these is taken.
    """
    # A replica that diverged stays so, and does not stop the others.
    unit = unit.nan_to_num(0.0, 0.0, 0.0)
    near = 32 * torch.finfo(unit.dtype).eps
    mean, total, order = unit.mean(0), torch.zeros_like(unit[0]), []
    left = torch.ones(len(unit), dtype=torch.bool, device=unit.device)
    for k in range(1, min(most, len(unit)) + 1):
        gap = (mean - (total + unit) / k).square().sum(-1).masked_fill(~left, torch.inf)
        i = (gap <= gap.min() + near).to(torch.uint8).argmax()
        order.append(i)
        left[i], total = False, total + unit[i]
    return torch.stack(order)


@herd.register_vmap
def _(info: Any, in_dims: Any, *tensors: Tensor) -> tuple[Tensor, int]:
    whole = [
        t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
        for t, dim in zip(tensors, in_dims, strict=True)
    ]
    return herd(*whole), 0
