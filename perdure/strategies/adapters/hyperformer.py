"""Hyperformer++: adapters made, for each task and layer, by one small network that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from perdure.core.checks import check_whole
from perdure.models.adapters.by_task import TaskLayer, adapt, linear_targets
from perdure.models.adapters.hyperformer import HyperLinear, HyperModel
from perdure.models.adapters.lowrank import check_targets
from perdure.strategies.adapters.by_task import TaskAdapters
from perdure.strategies.contract.registry import strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("hyperformer")
class Hyperformer(TaskAdapters):
    """Freeze the model; learn the network that makes all adapters, on all tasks at once, and the head.

    After each adapted layer p, whose output is y ``[width]``, a sample of task t gets

    ``y + gain norm(U gelu(D y)) + shift`` with ``(D, U, gain, shift) = generator(e)``,
    ``e = norm(A2 relu(A1 [z_t, l_p] + a1) + a2)``,

    where D is ``[bottleneck, width]``, U ``[width, bottleneck]``, gain and shift ``[width]``, all linear in e
    ``[embedding]``. Trained are the embeddings z_t of tasks and l_p of layers, A1 ``[hidden, 2 embedding]``,
    A2 ``[embedding, hidden]`` and the generator: what one task learns about adapting serves the others.
    Layers of the same width share a generator. At first gain and shift are zero, and so is the change.

    Each step takes a batch of every task; minimised is the sum of the tasks' losses. The head is the last
    linear layer as wide as the outputs.

    It asks for the task-incremental setting: which adapter a sample gets is the task's to say.

    Parameters
    ----------
    bottleneck:
        Numbers within an adapter.
    embedding, hidden:
        Numbers of an embedding, at least 2, and between A1 and A2.
    targets:
        Which linear layers: ``None`` for all but the head; a regular expression that whole names match; or
        names, whole or what follows a dot (``["query", "value"]``).
    warm:
        Whether all tasks first train the whole model together, as long as they then train the adapters: for
        models that start from scratch. With ``False`` nothing but the network and the head ever moves: for
        pretrained ones.

    Examples
    --------
    >>> from perdure.strategies import get
    >>> get("hyperformer(bottleneck=8, warm=False)").bottleneck
    8

    Source: Karimi Mahabadi et al., "Parameter-efficient multi-task fine-tuning for transformers via shared
    hypernetworks", ACL 2021, arXiv 2106.04489, and its code (the form of e, the norm on it, and adapters with
    a norm whose gain and shift are made too). Deviations: each adapted layer has an embedding of its own, in
    place of one for the block and one for the position in it; a generator for each width, as widths differ
    here; adapters without biases; the start (the authors draw all maps from N(0, 0.01^2), which is near the
    frozen model). ``warm`` is an addition.
    """

    bottleneck: int = 4
    embedding: int = 16
    hidden: int = 32
    targets: str | Sequence[str] | None = None
    warm: bool = True

    def __post_init__(self) -> None:
        check_whole("bottleneck", self.bottleneck)
        check_whole("embedding", self.embedding, 2)
        check_whole("hidden", self.hidden)
        check_targets(self.targets)

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        self.check_setting(stream)
        chosen = linear_targets(model, stream.outputs, self.targets, self.name)

        def wrap(layer: Any) -> TaskLayer:
            return HyperLinear(layer)

        body = adapt(model, stream.outputs, wrap, chosen, not self.warm).body
        return HyperModel(body, len(stream), self.bottleneck, self.embedding, self.hidden)
