"""Policies of teams, and what their agents tell each other."""

from perdure.models.teams.channel import Channel, Passage
from perdure.models.teams.team_net import Silent, TeamNet, mean_of, scaled, team_net

__all__ = ["Channel", "Passage", "Silent", "TeamNet", "mean_of", "scaled", "team_net"]
