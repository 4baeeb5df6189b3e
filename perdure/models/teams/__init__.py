"""Policies of teams, and what their agents tell each other."""

from perdure.models.teams.team_net import Silent, TeamNet, mean_of, scaled, team_net

__all__ = ["Silent", "TeamNet", "mean_of", "scaled", "team_net"]
