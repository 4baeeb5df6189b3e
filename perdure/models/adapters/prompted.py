"""A frozen transformer that reads prompts from a pool before the tokens: what the strategy ``l2p`` trains."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from perdure.core.errors import PerdureError
from perdure.models.backbones.huggingface import Classifier


class Prompted(nn.Module):
    """A head on a frozen transformer that reads, before the tokens, the prompts nearest to the input.

    The query ``q(x)`` is what the transformer makes of the tokens alone, without a gradient: the mean of its
    outputs. Of the pool, those ``top`` prompts are chosen whose keys have the highest cosine with the query;
    they stand before the tokens' embeddings in the order of the pool. Into the head goes the mean of the
    outputs at their places; of a decoder, where these see no token, the output at the last token.

    Parameters
    ----------
    model:
        A model of :func:`perdure.models.encoder`; it is copied.
    pool, length, top:
        Number M of prompts, vectors in each, and how many are chosen.

    ``prompts`` are ``[M, length, width of the embeddings]``, uniform at first, with the mean 0 and the
    deviation of the table of embeddings; ``keys`` are ``[M, width]``, uniform in +-1. In training mode the
    distances ``1 - cos`` are multiplied by the buffer ``penalty`` ``[M]``, which is 1 at first.
    """

    penalty: Tensor

    def __init__(self, model: Classifier, pool: int, length: int, top: int) -> None:
        super().__init__()
        model = copy.deepcopy(model)
        self.body, self.head, self.top = model.body.requires_grad_(False), model.head, top
        table: Tensor = self.body.inner.get_input_embeddings().weight.detach()  # type: ignore[operator]
        drawn = table.new_empty(pool, length, table.shape[1]).uniform_(-1, 1)
        self.prompts = nn.Parameter(drawn * (3**0.5 * table.std()))
        self.keys = nn.Parameter(table.new_empty(pool, self.body.width).uniform_(-1, 1))
        self.register_buffer("penalty", table.new_ones(pool))

    def forward(self, ids: Tensor) -> Tensor:
        return self.answer(ids, self.choose(self.near(ids), ids, None, self._penalty))

    @property
    def _penalty(self) -> Tensor | None:
        return self.penalty if self.training else None

    def near(self, ids: Tensor) -> Tensor:
        """Cosine of each input's query with each key, ``[n, M]``."""
        # In full precision always: what is chosen must not depend on who asks.
        with torch.autocast(ids.device.type, enabled=False):
            return cosines(self.body(ids), self.keys)

    def choose(self, near: Tensor, ids: Tensor, task: Tensor | None, penalty: Tensor | None) -> Tensor:
        """Tell which prompts each input gets, ``[n, M]`` bool, from its cosines ``near``."""
        return smallest(1 - near if penalty is None else (1 - near) * penalty, self.top)

    def answer(self, ids: Tensor, chosen: Tensor) -> Tensor:
        """Return the outputs ``[n, outputs]`` for inputs with the prompts that are chosen for each."""
        length = self.prompts.shape[1] * self.top
        place = torch.arange(self.top, device=ids.device)
        # A product with ones and zeros: the gradient of an indexed read may be added up in any order.
        pick = chosen.unsqueeze(1) & ((chosen.cumsum(-1) - 1).unsqueeze(1) == place.view(1, -1, 1))
        rows = (pick.to(self.prompts.dtype) @ self.prompts.flatten(1)).reshape(len(ids), length, -1)
        real = torch.cat([torch.ones_like(ids[:, :1], dtype=torch.bool).expand(-1, length), ids != 0], 1)
        states = self.body.states(real, inputs_embeds=torch.cat([rows, self.body.embeddings(ids)], 1))
        return self.head((states * self._read(real, length).unsqueeze(-1).to(states.dtype)).sum(1))  # type: ignore[no-any-return]

    def _read(self, real: Tensor, length: int) -> Tensor:
        """Return the weight of each place in what goes into the head, ``[n, places]``."""
        place = torch.arange(real.shape[1], device=real.device)
        if self.body.causal:
            return place == (place * real).amax(1, keepdim=True)
        return ((place < length) / length).expand(real.shape)


class Voted(Prompted):
    """The same, but all inputs of a task that are seen together get the prompts most of them would choose."""

    def __init__(self, model: Classifier, pool: int, length: int, top: int, tasks: int) -> None:
        super().__init__(model, pool, length, top)
        self.tasks = tasks

    def forward(self, ids: Tensor, task: Tensor) -> Tensor:  # type: ignore[override]
        return self.answer(ids, self.choose(self.near(ids), ids, task, self._penalty))

    def choose(self, near: Tensor, ids: Tensor, task: Tensor | None, penalty: Tensor | None) -> Tensor:
        assert task is not None
        own = super().choose(near, ids, task, penalty).to(near.dtype)
        # Inputs that hold nothing but padding have no vote.
        voters = (task == torch.arange(self.tasks, device=task.device).unsqueeze(1)) & (ids != 0).any(1)
        return smallest(-(voters.to(near.dtype) @ own), self.top).index_select(0, task)


def prompted(
    model: nn.Module, pool: int, length: int, top: int, *, tasks: int | None, tokens: int
) -> Prompted:
    """Return a model with a pool of prompts: a :class:`Voted` one where a number of tasks is given.

    Raises
    ------
    PerdureError
        Where the model is not of :func:`perdure.models.encoder`, or has no room for prompts and ``tokens``.
    """
    if not isinstance(model, Classifier):
        raise PerdureError(
            "l2p puts prompts before the tokens of a transformer with a head: give model='encoder'; "
            f"found {type(model).__name__}"
        )
    new = Prompted(model, pool, length, top) if tasks is None else Voted(model, pool, length, top, tasks)
    ids = torch.ones(1, tokens, dtype=torch.int64)
    try:
        with torch.no_grad():
            new.answer(ids, new.choose(new.near(ids), ids, torch.zeros_like(ids[:, 0]), None))
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        most = getattr(new.body.inner.config, "max_position_embeddings", None)
        raise PerdureError(
            f"expected a transformer with room for {top * length} vectors of prompts before {tokens} tokens; "
            f"found max_position_embeddings={most}: {str(error).strip().splitlines()[0]}"
        ) from error
    return new


def cosines(query: Tensor, keys: Tensor) -> Tensor:
    """Cosines of queries ``[n, width]``, which get no gradient, with keys ``[M, width]``: ``[n, M]``."""
    return nn.functional.normalize(query.detach(), dim=-1) @ nn.functional.normalize(keys, dim=-1).mT


def smallest(values: Tensor, count: int) -> Tensor:
    """Mark the ``count`` smallest of each row, the first of equals, ``[n, M]`` bool.

    >>> smallest(torch.tensor([[0.3, 0.1, 0.3, 0.2]]), 3).tolist()
    [[True, True, False, True]]
    """
    order = values.sort(dim=-1, stable=True).indices
    return order.sort(dim=-1).indices < count
