"""Models small enough for tests."""

from __future__ import annotations

import math

from torch import Tensor, nn

from perdure.models import team_net
from perdure.testing.streams import VOCABULARY


def tiny_model(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build a perceptron with one hidden layer of 6 units.

    Parameters
    ----------
    shape:
        Of one input.
    outputs:
        Number of outputs.
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 6), nn.ReLU(), nn.Linear(6, outputs))


def tiny_norm(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build the perceptron of :func:`tiny_model` with batch norm and dropout: samples of a batch are coupled.

    Parameters
    ----------
    shape:
        Of one input.
    outputs:
        Number of outputs.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(6, outputs),
    )


def tiny_team(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build a policy of a team with rows of 4 numbers, for :func:`perdure.testing.tiny_team_stream`.

    Parameters
    ----------
    shape:
        Of one input: agents, entities and features.
    outputs:
        Number of outputs.
    """
    return team_net(width=4, heads=1)(shape, outputs)


class TinyTokens(nn.Module):
    """The mean of learned vectors of tokens, and a head: for ``tiny_stream(kind="tokens")``.

    Parameters
    ----------
    shape:
        Of one input: the number of tokens.
    outputs:
        Number of outputs.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(VOCABULARY, 4), nn.Linear(4, outputs)

    def forward(self, ids: Tensor) -> Tensor:
        """Outputs ``[n, outputs]`` for token ids ``[n, tokens]``."""
        return self.head(self.table(ids).mean(1))  # type: ignore[no-any-return]
