"""MultiTab-Net: a transformer over the columns of a table, with a token for each task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from perdure.core.batch import CLOSED
from perdure.core.checks import check_one_of, check_whole
from perdure.core.errors import PerdureError, shown

Mask = Literal["tasks", "features", "both", "none"]
MASKS = ("tasks", "features", "both", "none")


class Attention(nn.Module):
    """Multi-head attention, ``softmax(q k' / sqrt(width / heads)) v`` and a linear layer.

    Written as products, which map over replicas as they are: torch's own attention leaves its fast path
    there.

    Parameters
    ----------
    width:
        Numbers in a token; a multiple of ``heads``.
    heads:
        How many heads share them.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def split(self, layer: nn.Module, tokens: Tensor) -> Tensor:
        """Return what a layer makes of tokens ``[n, s, width]``: ``[n, heads, s, width / heads]``."""
        return layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-any-return]

    def join(self, found: Tensor) -> Tensor:
        """Return what goes out, ``[n, s, width]``, for what each head found."""
        return self.out(found.transpose(1, 2).flatten(-2))  # type: ignore[no-any-return]

    def forward(self, tokens: Tensor, allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Let tokens ``[n, s, width]`` attend to each other; ``allowed`` ``[..., s, s]`` bool says to which.

        Returns what goes out, ``[n, s, width]``, and the weights of attention, ``[n, heads, s, s]``.
        """
        query = self.split(self.query, tokens)
        scores = query @ self.split(self.key, tokens).mT / query.shape[-1] ** 0.5
        if allowed is not None:
            scores = scores.masked_fill(~allowed, CLOSED)
        weights = scores.softmax(-1)
        return self.join(weights @ self.split(self.value, tokens)), weights

    def beside(self, tokens: Tensor, others: Tensor, allowed: Tensor) -> Tensor:
        """Let each token ``[1, s, width]`` attend to itself, and to the ``others`` ``[1, c, width]`` allowed.

        ``allowed`` is ``[c]`` bool.
        """
        query, own = self.split(self.query, tokens), self.split(self.key, tokens)
        scale = query.shape[-1] ** -0.5
        theirs = query @ self.split(self.key, others).mT * scale
        to_own = (query * own).sum(-1, keepdim=True) * scale
        weights = torch.cat([theirs.masked_fill(~allowed, CLOSED), to_own], -1).softmax(-1)
        found = weights[..., :-1] @ self.split(self.value, others)
        return self.join(found + weights[..., -1:] * self.split(self.value, tokens))


class Block(nn.Module):
    """Attention between the tokens of a sample, then between samples.

    Each is followed by a feed-forward layer of its own: linear, GELU, linear. All four work on normed tokens,
    and what they find is added to the tokens.

    Parameters
    ----------
    tokens, width:
        Tokens of a sample, and numbers in each. Between samples, a sample is one token of all its numbers.
    heads, hidden:
        Heads of attention, and units of the feed-forward layers.
    inter_sample:
        Whether there is attention between samples.
    """

    def __init__(self, tokens: int, width: int, heads: int, hidden: int, inter_sample: bool) -> None:
        super().__init__()

        def layers(size: int) -> nn.ModuleDict:
            forth = [nn.LayerNorm(size), nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size)]
            attention = Attention(size, heads)
            return nn.ModuleDict(
                {"norm": nn.LayerNorm(size), "attention": attention, "feed": nn.Sequential(*forth)}
            )

        self.features = layers(width)
        self.samples = layers(tokens * width) if inter_sample else None

    def forward(
        self, tokens: Tensor, allowed: Tensor, context: int, filled: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the tokens ``[n, s, width]`` after the block, and the weights of attention between them.

        ``allowed`` is ``[s, s]``. The first ``context`` samples are a context, of which ``filled``
        ``[context]`` counts: it attends to itself, and each other sample to it and to itself. Without one,
        all samples attend to all.
        """
        part = self.features
        found, weights = part["attention"](part["norm"](tokens), allowed)
        tokens = tokens + found
        tokens = tokens + part["feed"](tokens)
        if self.samples is None:
            return tokens, weights
        part, rows = self.samples, tokens.flatten(1).unsqueeze(0)
        attention: Any = part["attention"]
        normed = part["norm"](rows)
        if filled is None:
            found, _ = attention(normed)
        else:
            among, _ = attention(normed[:, :context], filled)
            beside = attention.beside(normed[:, context:], normed[:, :context], filled)
            found = torch.cat([among, beside], 1)
        rows = rows + found
        rows = rows + part["feed"](rows)
        return rows.view_as(tokens), weights


class MultiTabNet(nn.Module):
    """A token for each task and each numeric feature, blocks of attention, and a head on each task's token.

    Feature j of a sample is the token ``x_j a_j + b_j``, task t the learned token ``u_t``, all of ``width``
    numbers; the tasks' tokens come first. The head of task t is linear, ReLU, linear, on its token after the
    last :class:`Block`. The outputs are those of all tasks: which one is asked for makes no difference.

    In training mode each sample attends to all samples of its batch. In evaluation mode no sample is to
    depend on those that happen to stand beside it: it attends to itself and to the rows of the buffer
    ``context``, which attend to each other; ``filled`` says which of these there are, at first none.

    Parameters
    ----------
    features:
        Number d of numeric features: inputs are ``[n, d]``.
    outputs:
        Outputs of each task; those of two tasks must differ. Outputs are numbered from 0 to the largest, and
        what no task owns follows the first task's token.
    mask:
        What does not attend between tokens: ``"tasks"``: a task to other tasks; ``"features"``: a feature to
        tasks; ``"both"``; ``"none"``.
    width, heads, blocks, hidden, head:
        Numbers in a token (a multiple of ``heads``), heads of attention, blocks, and units of the
        feed-forward layers and of the heads.
    inter_sample:
        Whether samples attend to each other.
    context:
        Rows of the context.
    total:
        Number of outputs, where it is more than the largest of a task and 1.

    Examples
    --------
    >>> net = MultiTabNet(5, [(0,), (1, 2)], inter_sample=False)
    >>> net(torch.zeros(7, 5)).shape, net.attention(torch.zeros(7, 5))[0].shape
    (torch.Size([7, 3]), torch.Size([7, 4, 7, 7]))

    Source: arXiv 2511.09970. Deviations: the context; a task's token is one vector, not a linear layer of the
    constant 1, whose weight and bias only add up.
    """

    # No linear layer is the head: there are several, held as one tensor.
    headless = True
    task_specific = ("tasks", "hidden_", "answer_")
    context: Tensor
    filled: Tensor

    def __init__(
        self,
        features: int,
        outputs: Sequence[Sequence[int]],
        mask: Mask = "tasks",
        width: int = 16,
        heads: int = 4,
        blocks: int = 1,
        hidden: int = 256,
        head: int = 64,
        inter_sample: bool = True,
        context: int = 256,
        total: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(
            mask=mask, width=width, heads=heads, blocks=blocks, hidden=hidden, head=head, context=context
        )
        owner = {o: t for t, own in enumerate(outputs) for o in own}
        if not owner or len(owner) < sum(len(own) for own in outputs):
            found = [list(own) for own in outputs]
            raise PerdureError(f"each task must have outputs of its own; found {shown(found)}")
        total = max(owner) + 1 if total is None else total
        self.owner = [owner.get(o, 0) for o in range(total)]
        self.count, self.mask = len(outputs), mask
        # Whether samples of a batch influence each other: as the engine asks (`core.net.couples_samples`).
        self.couples_samples = inter_sample
        tokens = self.count + features

        def drawn(*shape: int, inputs: int = 1) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-1, 1) / inputs**0.5)

        # As torch draws linear layers: of one number each, and of a task's token.
        self.tasks = drawn(self.count, width)
        self.feature_weight, self.feature_bias = drawn(features, width), drawn(features, width)
        self.blocks = nn.ModuleList(Block(tokens, width, heads, hidden, inter_sample) for _ in range(blocks))
        self.hidden_weight = drawn(self.count, width, head, inputs=width)
        self.hidden_bias = drawn(self.count, head, inputs=width)
        self.answer_weight, self.answer_bias = drawn(total, head, inputs=head), drawn(total, inputs=head)
        if inter_sample:
            self.register_buffer("context", torch.zeros(context, features))
            self.register_buffer("filled", torch.zeros(context, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``[n, outputs]`` for inputs ``[n, features]``."""
        tokens, _ = self._run(x)
        each = torch.einsum("ntw,twh->nth", tokens[:, : self.count], self.hidden_weight)
        each = (each + self.hidden_bias).relu()
        place = torch.tensor(self.owner, device=x.device)
        return (each.index_select(1, place) * self.answer_weight).sum(-1) + self.answer_bias

    def attention(self, x: Tensor) -> list[Tensor]:
        """Weights of attention between the tokens of each sample in each block, ``[n, heads, s, s]``.

        Row i says what token i attends to; the tasks' tokens come first, then the features'.
        """
        return self._run(x)[1]

    def allowed(self) -> Tensor:
        """Which token may attend to which, ``[s, s]`` bool."""
        task = torch.arange(self.count + len(self.feature_weight)) < self.count
        rows, columns = task.unsqueeze(1), task.unsqueeze(0)
        closed = torch.zeros(len(task), len(task), dtype=torch.bool)
        if self.mask in ("tasks", "both"):
            closed = rows & columns & ~torch.eye(len(task), dtype=torch.bool)
        if self.mask in ("features", "both"):
            closed = closed | (~rows & columns)
        return ~closed

    def _run(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the tokens ``[n, s, width]`` of samples after all blocks, and the weights of attention."""
        filled = self.filled if self.couples_samples and not self.training else None
        context = 0 if filled is None else len(filled)
        rows = x if filled is None else torch.cat([self.context.to(x.dtype), x])
        features = rows.unsqueeze(-1) * self.feature_weight + self.feature_bias
        tokens = torch.cat([self.tasks.expand(len(rows), -1, -1), features], 1)
        allowed, each = self.allowed().to(x.device), []
        for block in self.blocks:
            tokens, weights = block(tokens, allowed, context, filled)
            each.append(weights[context:])
        return tokens[context:], each


def check_sizes(*, mask: str, width: int, heads: int, **sizes: int) -> None:
    """Refuse a mask that does not exist, sizes below 1, and a width that the heads cannot share."""
    check_one_of("mask", mask, MASKS)
    for name, size in {"width": width, "heads": heads, **sizes}.items():
        check_whole(name, size)
    if width % heads:
        raise PerdureError(f"width must be a multiple of {heads}, the number of heads; found {width}")
