"""MultiTab-Net: a transformer over the columns of a table, which all tasks learn at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from perdure.core.batch import Params, State
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.models.sharing.multitab_net import Mask, MultiTabNet, check_sizes
from perdure.strategies.contract.phase import Phase, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("multitab-net")
class MultiTab(Strategy):
    """Learn all tasks of a table at once: features and tasks are tokens that attend to each other.

    **The run's model is replaced**, whatever it is, by a :class:`perdure.models.sharing.MultiTabNet` for the
    stream's features and tasks. Each step takes a batch of every task, or one of rows with all labels where
    the tasks share their rows; minimised is the sum of the tasks' losses.

    Samples attend to each other too. In training these are the samples of the batch. A prediction, however,
    must not depend on which other samples are scored with it: when scoring, a sample attends to itself and
    to ``context`` training samples, drawn as training begins and held in the network's buffers. Before
    training there are none.

    Each feature is one number: a category comes as one feature for each of its values (one-hot columns), as
    streams of tables give it. Streams do not say which columns belong together, so there are no embeddings
    of categories.

    With a stream of one task it is a single-task transformer of columns (FT-Transformer; with attention
    between samples, SAINT).

    Parameters
    ----------
    mask:
        What does not attend between tokens: ``"tasks"``: a task to other tasks; ``"features"``: a feature to
        tasks; ``"both"``; ``"none"``.
    width, heads, blocks, hidden, head:
        Numbers in a token (a multiple of ``heads``), heads of attention, blocks, and units of the
        feed-forward layers and of the heads.
    inter_sample:
        Whether samples attend to each other.
    context:
        Training samples that scoring attends to; of fewer, all.

    Raises
    ------
    PerdureError
        For tasks that share outputs (another setting than ``"task"``), and for inputs that are no rows
        ``[features]`` of numbers.

    Source: arXiv 2511.09970. Deviations: the context (the paper's predictions depend on the test batch).
    """

    # Only inputs are read, for the context.
    reads_all_labels: ClassVar[bool] = True
    mask: Mask = "tasks"
    width: int = 16
    heads: int = 4
    blocks: int = 1
    hidden: int = 256
    head: int = 64
    inter_sample: bool = True
    context: int = 256

    def __post_init__(self) -> None:
        check_sizes(
            mask=self.mask, width=self.width, heads=self.heads, blocks=self.blocks, hidden=self.hidden,
            head=self.head, context=self.context,
        )  # fmt: skip

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        if stream.setting != "task":
            raise PerdureError(
                f"{self.name} needs the setting 'task', in which each task has outputs of its own; "
                f"found {stream.setting!r}"
            )
        x = stream.example()["x"]
        if x.ndim != 2 or not x.is_floating_point():
            kind = str(x.dtype).removeprefix("torch.")
            raise PerdureError(
                f"{self.name} needs inputs that are rows [features] of real numbers; "
                f"found {kind} {list(x.shape[1:])}"
            )
        with torch.random.fork_rng(devices=[]):
            # From the seed afresh: what the model that is replaced has drawn must make no difference.
            torch.manual_seed(torch.initial_seed())
            return MultiTabNet(
                x.shape[1], [task.outputs for task in stream], self.mask, self.width, self.heads, self.blocks,
                self.hidden, self.head, self.inter_sample, self.context, stream.outputs,
            )  # fmt: skip

    def phases(self, stream: Stream) -> list[Phase]:
        return [Phase(tuple(range(len(stream))), batch_per_task=True)]

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        if not self.inter_sample:
            return params, state
        # Not only at the end: scores in the middle of a phase need a context as well.
        prefix = _where(net.module)
        context = net.buffers[f"{prefix}context"]
        drawn = task.rng.permutation("context", len(task))[: self.context]
        place = torch.arange(len(context), device=context.device)
        rows = task.x.index_select(0, drawn).to(context.dtype)
        rows = torch.cat([rows, context.new_zeros(len(context) - len(drawn), rows.shape[1])])
        return {**params, f"{prefix}context": rows, f"{prefix}filled": place < len(drawn)}, state


def _where(module: nn.Module) -> str:
    """Return what names of the network's tensors begin with, in a model that another strategy wrapped."""
    for name, part in module.named_modules():
        if isinstance(part, MultiTabNet):
            return f"{name}." if name else ""
    raise PerdureError(f"multitab-net must be the last to replace the model; found {type(module).__name__}")
