"""The layers of Hyperformer: adapters whose weights a network shared by all tasks and layers makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from perdure.models.adapters.by_task import ByTask, TaskLayer, of_each


class Made(NamedTuple):
    """The weights of a layer's adapter for every task.

    ``down`` is D ``[tasks, h, width]``, ``up`` U ``[tasks, width, h]``; ``gain`` and ``shift`` are
    ``[tasks, width]``.
    """

    down: Tensor
    up: Tensor
    gain: Tensor
    shift: Tensor


class HyperLinear(TaskLayer):
    """``y + gain_t * norm(U_t gelu(D_t y)) + shift_t`` with ``y = W0 x + b``, for a sample of task t.

    Parameters
    ----------
    base:
        The linear layer, W0 and b.

    ``norm`` takes the mean off the numbers of a row and divides by their standard deviation. The weights are
    what :class:`HyperModel` makes for the layer, in ``made`` during a call.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base)
        self.width = base.out_features
        self.made: Made | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, ..., in]`` to ``[n, ..., out]``."""
        task, y = self.tasks_of(x), self.base(x)
        assert self.made is not None, "the model around the layer makes its weights"
        inner = nn.functional.gelu(of_each(self.made.down, task, y))
        change = nn.functional.layer_norm(of_each(self.made.up, task, inner), (self.width,))
        gain, shift = (
            v.index_select(0, task).view(-1, *(1,) * (y.ndim - 2), self.width)
            for v in (self.made.gain, self.made.shift)
        )
        return y + gain * change + shift  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Linear maps from embeddings ``[tasks, embedding]`` to the weights of adapters of one width.

    Parameters
    ----------
    width, bottleneck, embedding:
        Numbers of what is adapted, within the adapter, and of an embedding.

    Embeddings have a mean square of 1: ``down`` and ``up`` are drawn so that what they make has the spread of
    what torch draws for a linear layer. ``gain`` and ``shift`` make 0: at first an adapter changes nothing.
    """

    def __init__(self, width: int, bottleneck: int, embedding: int) -> None:
        super().__init__()
        self.down = nn.Parameter(_drawn(bottleneck, width, embedding))
        self.up = nn.Parameter(_drawn(width, bottleneck, embedding))
        self.gain = nn.Parameter(torch.zeros(width, embedding))
        self.shift = nn.Parameter(torch.zeros(width, embedding))

    def forward(self, embedded: Tensor) -> Made:
        """Make the weights for each row of embeddings."""
        down, up = (torch.einsum("te,oie->toi", embedded, part) for part in (self.down, self.up))
        return Made(down, up, embedded @ self.gain.mT, embedded @ self.shift.mT)


def _drawn(out: int, width: int, embedding: int) -> Tensor:
    bound = (width * embedding) ** -0.5
    return torch.empty(out, width, embedding).uniform_(-bound, bound)


class HyperNetwork(nn.Module):
    """Makes the adapter of each task at each place: ``generator(norm(A2 relu(A1 [z_t, l_p] + a1) + a2))``.

    Parameters
    ----------
    tasks:
        Number of tasks; each has an embedding z_t, drawn from N(0, 1).
    widths:
        Width of each place, that is, of the layer adapted there; each has an embedding l_p, drawn likewise.
    bottleneck, embedding, hidden:
        Numbers within an adapter, of each embedding, and between A1 and A2.

    Places of the same width share a generator.
    """

    def __init__(
        self, tasks: int, widths: Sequence[int], bottleneck: int, embedding: int, hidden: int
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.task = nn.Parameter(torch.randn(tasks, embedding))
        self.place = nn.Parameter(torch.randn(len(widths), embedding))
        self.project = nn.Sequential(
            nn.Linear(2 * embedding, hidden), nn.ReLU(), nn.Linear(hidden, embedding), nn.LayerNorm(embedding)
        )
        self.generators = nn.ModuleDict(
            {str(w): Generator(w, bottleneck, embedding) for w in dict.fromkeys(widths)}
        )

    def forward(self, place: int) -> Made:
        """Make the adapters of a place, one for each task."""
        where = self.place[place].expand(len(self.task), -1)
        embedded = self.project(torch.cat([self.task, where], 1))
        return self.generators[str(self.widths[place])](embedded)  # type: ignore[no-any-return]


class HyperModel(ByTask):
    """A model with :class:`HyperLinear` inside, and the network that makes their adapters.

    Parameters
    ----------
    body:
        The model.
    tasks, bottleneck, embedding, hidden:
        As for :class:`HyperNetwork`.
    """

    def __init__(self, body: nn.Module, tasks: int, bottleneck: int, embedding: int, hidden: int) -> None:
        super().__init__(body)
        layers = self.layers()
        like = next(layers[0].base.parameters())
        made = HyperNetwork(tasks, [layer.width for layer in layers], bottleneck, embedding, hidden)
        self.network = made.to(like.device, like.dtype)

    def layers(self) -> list[HyperLinear]:
        """Return the layers with adapters: place p is that of the layer p."""
        return [part for part in self.body.modules() if isinstance(part, HyperLinear)]

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        """Outputs ``[n, outputs]`` for inputs ``[n, ...]`` and their tasks ``[n]``."""
        layers = self.layers()
        for place, layer in enumerate(layers):
            layer.made = self.network(place)
        try:
            return super().forward(x, task)
        finally:
            for layer in layers:
                layer.made = None
