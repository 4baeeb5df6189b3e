"""A listener that has to find the landmark whose colour only the speaker knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.random import Rng
from perdure.envs.multi_agent.coloured import Coloured
from perdure.envs.multi_agent.particles import MOVES
from perdure.envs.registry import environment


@environment("speaker-listener")
@dataclass(frozen=True, repr=False)
class SpeakerListener(Coloured):
    """Go to the landmark that the speaker means: each step costs the listener's squared distance from it.

    The speaker, the first agent, stays where it is and sees the colour of the goal, nothing else. The
    listener sees itself (its velocity), the speaker (what it has said) and the landmarks (where they are from
    it, and their colours). Both are rewarded by ``-|p - goal|^2`` after a step. Who is not told can do no
    better than to wait between the landmarks.

    Actions of the listener are its five moves, those of the speaker the symbols that it utters; without
    symbols it can only wait. There are as many actions as the one with more of them has; those that
    the other one lacks are its first. The physics are those of
    :class:`perdure.envs.multi_agent.particles.Particles`.

    Parameters
    ----------
    landmarks:
        How many, 2 to 5.
    talk:
        How many symbols the speaker may utter; 3 in mpe2. With 0, what it knows must go through messages of a
        strategy.
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For numbers of landmarks and symbols that are out of range.

    Examples
    --------
    >>> SpeakerListener(talk=3).actions.n, SpeakerListener(talk=7).moves
    (11, 7)

    Source: cooperative communication in Lowe et al., NeurIPS 2017, arXiv 1706.02275, as
    ``simple_speaker_listener_v4`` of the package mpe2. Deviations: colours are one-hot, the listener sees
    them, and which landmark has which is drawn for each episode, as rows of a table have no order.
    """

    radius: ClassVar[float] = 0.075

    @property
    def moves(self) -> int:
        return max(MOVES, self.talk)

    def decoded(self, move: Tensor) -> tuple[Tensor, Tensor]:
        speaker, listener = move.unbind(1)
        moved = torch.where(listener < MOVES, listener, 0)
        said = torch.where(speaker < self.talk, speaker, 0)
        # The speaker stays, and the listener says nothing.
        moves = torch.stack([torch.zeros_like(moved), moved], 1)
        return moves, torch.stack([said, torch.full_like(said, -1)], 1)

    def reset(self, rng: Rng, n: int) -> State:
        return self.coloured(rng, n, 1)

    def tables(self, state: State) -> Tensor:
        nowhere = torch.zeros_like(state["position"])
        # What one of them does not see is rows of zeros.
        listener = torch.arange(2, device=nowhere.device).view(2, 1, 1).to(nowhere.dtype)
        heard = self.other_rows(state, nowhere.unsqueeze(2)) * listener
        seen = self.landmark_rows(state) * listener
        goal = self.goal_rows(state) * (1 - listener)
        return torch.cat([self.own_rows(state, nowhere), heard, seen, goal], 2)

    def rewards(self, state: State) -> Tensor:
        far = (self.seekers(state) - self.goal_places(state)).square().sum(-1)
        return -far.expand(-1, 2)

    def seekers(self, state: State) -> Tensor:
        listener: Tensor = state["position"][:, 1:]
        return listener
