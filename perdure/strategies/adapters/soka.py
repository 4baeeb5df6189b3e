"""SoKA: train the strongest Kronecker products of each weight, and leave the rest of it frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from perdure.core.batch import Params, State
from perdure.core.checks import check_number, check_whole
from perdure.core.net import Net
from perdure.models.adapters import kronecker
from perdure.models.adapters.lowrank import check_targets, key
from perdure.strategies.adapters.by_task import WARM, TaskAdapters
from perdure.strategies.contract.phase import TaskData
from perdure.strategies.contract.registry import strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("soka")
class SoKA(TaskAdapters):
    """Freeze the model but the strongest Kronecker products of its weights; all tasks train these at once.

    ``W = W_rest + sum_(k <= r) A_k (x) B_k`` for each adapted weight ``[out, in]``, with A ``[m1, n1]``,
    B ``[m2, n2]``, m1 m2 = out and n1 n2 = in. When adapters begin, the A_k and B_k become
    ``sqrt(s_k) U_k`` and ``sqrt(s_k) V_k``, from the singular value decomposition of the weight's
    rearrangement, whose rows are its blocks ``[m2, n2]``; W_rest is what is left, so that W is the frozen
    model's at first. One change serves all tasks: none need be known. Each step takes a batch of every task;
    minimised is the sum of the tasks' losses. Weight decay acts on the A_k and B_k, hence on W itself. The
    head, the last linear layer as wide as the outputs, is trained too; all else stays as it is.

    **The rank r** is chosen from the singular values when adapters begin: the fewest that hold the share
    ``energy`` of the squares' sum, and none from the elbow of the spectrum on, at most ``most``. It is each
    weight's and each replica's own. All replicas have room for ``most`` products, of which those from r on
    are zero and stay so: replicas that start from scratch, whose spectra differ, need not agree. Spectra of
    drawn weights are nearly flat: there ``most`` decides, or ``elbow`` at little. With ``warm`` it is the
    spectrum of what all tasks have learned. Results keep the ranks, as ``rank of`` and a layer's name.

    Parameters
    ----------
    most:
        How many products a weight may have.
    energy:
        Share of the squared singular values, in (0, 1].
    elbow:
        Whether the elbow of the spectrum bounds the rank too.
    targets:
        Which linear layers and 2-d convolutions: ``None`` for all but the head; a regular expression that
        whole names match; or names, whole or what follows a dot (``["query", "value"]``).
    warm:
        Whether all tasks first train the whole model together, as long as they then train the products: for
        models that start from scratch. With ``False`` nothing but products and the head ever moves: for
        pretrained ones.

    Examples
    --------
    >>> from perdure.strategies import get
    >>> get("soka(most=4, elbow=false)").energy
    0.9

    Source: Chong & Qu, "Singular value decomposition on Kronecker adaptation for large language model",
    arXiv 2506.15251 (the decomposition; that energy and elbow choose the rank). Reconstructed: the shapes of
    A and B (as near to squares as the sides' divisors allow), the root of s_k in both, the share of energy,
    where the elbow is (farthest below the straight line from the first to the last value) and that the
    smaller of both ranks counts. That all tasks train one change together, ``most`` and ``warm`` are
    additions.
    """

    # Its hook reads no sample.
    reads_all_labels: ClassVar[bool] = True
    most: int = 8
    energy: float = 0.9
    elbow: bool = True
    targets: str | Sequence[str] | None = None
    warm: bool = True

    def __post_init__(self) -> None:
        check_whole("most", self.most)
        check_number("energy", self.energy, 0.0, 1.0, "(]")
        check_targets(self.targets)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        return kronecker.adapt(model, stream.outputs, self.most, self.targets, not self.warm)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        like = next(iter(params.values()))
        return {
            path: torch.zeros((), dtype=torch.int64, device=like.device)
            for path in kronecker.adapters(net.module)
        }

    def own(self, model: nn.Module) -> set[str]:
        return {key(path, part) for path in kronecker.adapters(model) for part in ("left", "right")}

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if task.phase.name == WARM:
            return params, state
        tensors, new, ranks = {**net.buffers, **params}, dict(params), {}
        for path, adapter in kronecker.adapters(net.module).items():
            base, left, right = (key(path, part) for part in ("base", "left", "right"))
            weight = tensors[base]
            # A replica that diverged stays so, and does not stop the others.
            matrix = weight.flatten(1).nan_to_num(0.0, 0.0, 0.0)
            count = len(adapter.left)
            a, b, values = kronecker.components(matrix, count)
            ranks[path] = kronecker.rank_of(values, self.energy, self.elbow).clamp_max(count)
            # Where both factors are zero, neither has a gradient: what is left out stays out.
            chosen = (torch.arange(count, device=weight.device) < ranks[path]).view(-1, 1, 1)
            new[left], new[right] = torch.where(chosen, a, 0.0), torch.where(chosen, b, 0.0)
            new[base] = weight - kronecker.summed(new[left], new[right]).view(weight.shape)
        return new, ranks

    def report(self, state: State) -> State:
        return {f"rank of {path}": rank for path, rank in state.items()}
