"""Proximal policy optimisation of a team: each agent's ratio is clipped for itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perdure.core.batch import Batch
from perdure.core.entities import PRESENT
from perdure.core.errors import PerdureError, shown
from perdure.envs.actions import Team
from perdure.scenarios.rl.ppo import PPO


@dataclass(frozen=True)
class TeamPPO(PPO):
    """Multi-agent PPO: the clipped objective of each agent, averaged over those that are there.

    ``mean_i [-min(r_i A, clip(r_i, 1 - clip, 1 + clip) A) - entropy H_i] + weight (V - R)^2``. All agents
    share the advantage ``A`` of the team's reward, under a value that sees what all of them see; the
    information of a sample is that of what all agents do. Agents that are not there count nowhere.

    Parameters as :class:`PPO`'s; the actions are those of a :class:`perdure.envs.Team`.

    Source: Yu et al., "The surprising effectiveness of PPO in cooperative multi-agent games", NeurIPS 2022,
    arXiv 2103.01955. Deviations: values are not normalised, and nothing is recurrent.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.actions, Team):
            raise PerdureError(f"expected the actions of a team; found {shown(self.actions)}")

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        assert isinstance(self.actions, Team)
        policy, value, gain = output[:, :-1], output[:, -1], batch.rows["gain"].unsqueeze(1)
        ratio = (self.actions.log_probs(policy, batch.rows["action"]) - batch.rows["logp"]).exp()
        free, kept = ratio * gain, ratio.clamp(1 - self.clip, 1 + self.clip) * gain
        each = -torch.where(free < kept, free, kept)
        if self.entropy:
            each = each - self.entropy * self.actions.entropies(policy)
        there = batch.x[:, :, 0, PRESENT]
        mean = (each * there).sum(1) / there.sum(1).clamp_min(1)
        return mean + self.weight * (value - batch.rows["value"]).square()

    def surprise(self, output: Tensor, batch: Batch) -> Tensor:
        assert isinstance(self.actions, Team)
        each = self.actions.log_probs(output[:, :-1], batch.rows["action"])
        return -torch.where(batch.x[:, :, 0, PRESENT] > 0, each, 0).sum(1)
