"""A policy for teams: attention over the entities that an agent sees, messages, and one value of all."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from perdure.core.checks import check_whole
from perdure.core.entities import PRESENT, TARGET
from perdure.core.errors import PerdureError
from perdure.models.backbones.actor_critic import HIDDEN_GAIN, POLICY_GAIN, VALUE_GAIN
from perdure.models.registry import MODELS, Builder, sized

# Logits of what cannot be done: their probability is 0 in float32.
NEVER = -1e9


@MODELS.register("team-net")
def team_net(width: int = 64, blocks: int = 1, heads: int = 4) -> Builder:
    """Build one policy that all agents of a team share, and a value that sees what they all see.

    The agents see tables of entities (:class:`perdure.envs.TeamEnv`). Each agent's table goes through
    attention among its entities; its own row then says which move is likely, the row of an entity what is
    done to it. Agents share all weights. What they tell each other is for strategies to say (``mcs``,
    ``commnet``, ...): without one they are silent.

    Parameters
    ----------
    width:
        Of the rows of entities inside, and of layers.
    blocks, heads:
        How often the entities attend to each other, and heads of each attention; ``heads`` divides ``width``.
    """
    for name, value in (("width", width), ("blocks", blocks), ("heads", heads)):
        check_whole(name, value)
    if width % heads:
        raise PerdureError(f"heads must divide width={width}; found {heads}")

    def build(shape: tuple[int, ...], outputs: int) -> nn.Module:
        if len(shape) != 3 or (outputs - 1) % shape[0] or (outputs - 1) // shape[0] <= shape[1]:
            raise PerdureError(
                "team-net needs tables [agents, entities, features] and an output for each move and entity "
                f"of each agent, and a value; found inputs {list(shape)} and {outputs} outputs"
            )
        agents, entities, features = shape
        return TeamNet(features, (outputs - 1) // agents - entities, width, blocks, heads)

    return sized("team-net", build)


class TeamNet(nn.Module):
    """Outputs ``[n, agents (moves + entities) + 1]`` of tables ``x [n, agents, entities, features]``.

    ``talk`` makes, of each agent's row, the mean of its entities and who is there, what it hears
    ``[n, agents, width]``, which is added to its row.
    """

    def __init__(self, features: int, moves: int, width: int, blocks: int, heads: int):
        super().__init__()
        self.width = width
        self.embed = scaled(nn.Linear(features, width), HIDDEN_GAIN)
        self.blocks = nn.ModuleList(Attention(width, heads) for _ in range(blocks))
        self.talk: nn.Module = Silent()
        self.mind = scaled(nn.Linear(width, width), HIDDEN_GAIN)
        self.move = scaled(nn.Linear(width, moves), POLICY_GAIN)
        self.on = scaled(nn.Linear(width, width), POLICY_GAIN)
        self.judge = scaled(nn.Linear(2 * width, width), HIDDEN_GAIN)
        self.value = scaled(nn.Linear(width, 1), VALUE_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        rows, there = self.encode(x)
        present = there[:, :, 0]
        own, pooled = rows[:, :, 0], mean_of(rows, there)
        heard = own + self.talk(own, pooled, present)
        mind = torch.tanh(self.mind(heard))
        on = (self.on(mind).unsqueeze(2) * rows).sum(-1) / math.sqrt(self.width)
        able = (x[..., TARGET] > 0.5) & there
        logits = torch.cat([self.move(mind), torch.where(able, on, NEVER)], -1)
        # Who is not there does the first move, for certain.
        first = torch.arange(logits.shape[-1], device=x.device) == 0
        logits = torch.where(present.unsqueeze(-1) | first, logits, NEVER)
        both = torch.cat([mean_of(heard, present), mean_of(pooled, present)], -1)
        value = self.value(torch.tanh(self.judge(both)))
        return torch.cat([logits.flatten(1), value], 1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entities' rows ``[n, agents, entities, width]`` and which there are, bool."""
        there = x[..., PRESENT] > 0.5
        rows = torch.tanh(self.embed(x))
        for block in self.blocks:
            rows = block(rows, there)
        return rows, there


class Silent(nn.Module):
    """Agents that hear nothing."""

    def forward(self, own: Tensor, pooled: Tensor, present: Tensor) -> Tensor:
        return torch.zeros_like(own)


class Attention(nn.Module):
    """Entities ``[..., m, width]`` attend to each other; those that are not there are left out."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.triple = scaled(nn.Linear(width, 3 * width), 1.0)
        self.out = scaled(nn.Linear(width, width), 1.0)
        self.wide = scaled(nn.Linear(width, width), HIDDEN_GAIN)

    def forward(self, rows: Tensor, there: Tensor) -> Tensor:
        parts = (part.unflatten(-1, (self.heads, -1)) for part in self.triple(rows).chunk(3, -1))
        query, key, value = (part.transpose(-3, -2) for part in parts)
        score = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        score = torch.where(there[..., None, None, :], score, NEVER)
        mixed = (score.softmax(-1) @ value).transpose(-3, -2).flatten(-2)
        rows = rows + self.out(mixed)
        return rows + torch.tanh(self.wide(rows))


def mean_of(rows: Tensor, there: Tensor) -> Tensor:
    """Mean of rows ``[..., m, width]`` over those that are there, ``[..., m]`` bool; zeros where none is."""
    weight = there.to(rows.dtype).unsqueeze(-1)
    return (rows * weight).sum(-2) / weight.sum(-2).clamp_min(1.0)


def scaled(layer: nn.Linear, gain: float) -> nn.Linear:
    """Return a layer with orthogonal weights of a scale, and zero biases if it has any."""
    if layer.weight.device.type != "meta":
        nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
