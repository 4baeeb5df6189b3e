"""What stands in a channel's passage: ears, and what takes messages away to see what they are good for."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from perdure.core.errors import PerdureError
from perdure.models.teams.channel import Channel, Passage
from perdure.models.teams.team_net import Silent, TeamNet


class Shuffled(Passage):
    """Each row hears what is said in another one: by the same agents, in the same round.

    All that receivers make of messages, their attention included, is then of the other row.

    Parameters
    ----------
    order:
        Which row each one hears, ``[n]`` int64.
    """

    def __init__(self, order: Tensor):
        super().__init__()
        self.order = order

    def forward(self, messages: Tensor) -> Tensor:
        return messages.index_select(0, self.order)


class Muted(Passage):
    """Messages are said, and nobody hears any."""

    def links(self, links: Tensor) -> Tensor:
        return torch.zeros_like(links)


class Overheard(Passage):
    """Keeps what passes another passage, round by round.

    Parameters
    ----------
    inner:
        The other passage.
    """

    def __init__(self, inner: Passage):
        super().__init__()
        self.inner = inner
        self.said: list[Tensor] = []
        self.heard: list[Tensor] = []

    def forward(self, messages: Tensor) -> Tensor:
        self.said.append(messages)
        arrived: Tensor = self.inner(messages)
        return arrived

    def links(self, links: Tensor) -> Tensor:
        self.heard.append(self.inner.links(links))
        return self.heard[-1]

    def forget(self) -> None:
        """Keep nothing of what has passed so far."""
        self.said, self.heard = [], []


def talks(module: nn.Module) -> bool:
    """Tell whether a model has a team's policy in it whose messages can be heard."""
    return any(isinstance(part, TeamNet) and isinstance(part.talk, Channel) for part in module.modules())


def channel_of(module: nn.Module) -> Channel:
    """Return the channel of a model with a team's policy in it; refuse one whose agents are silent."""
    teams = [part for part in module.modules() if isinstance(part, TeamNet)]
    if not teams:
        raise PerdureError(f"expected agents of a team-net; found {type(module).__name__}")
    talk = teams[0].talk
    if isinstance(talk, Silent):
        raise PerdureError("expected agents that talk (mcs, commnet, tarmac, dial); found silent ones")
    if not isinstance(talk, Channel):
        raise PerdureError(f"expected a Channel, whose messages can be heard; found {type(talk).__name__}")
    return talk


def through(module: nn.Module, passage: Passage) -> nn.Module:
    """Return a copy of a model whose agents' messages go through a passage."""
    module = deepcopy(module)
    channel_of(module).passage = passage
    return module
