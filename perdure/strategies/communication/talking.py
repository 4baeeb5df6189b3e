"""What strategies of communication share: a channel between the agents of a team's policy."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from torch import nn

from perdure.core.errors import PerdureError
from perdure.envs.actions import Team
from perdure.models.teams.team_net import Silent, TeamNet
from perdure.strategies.contract.strategy import Strategy

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


class Talking(Strategy):
    """Agents that tell each other something: subclass and say what goes through the channel."""

    def channel(self, model: TeamNet) -> nn.Module:
        """Return the channel: ``(own, pooled, present)`` to what each agent hears ``[n, agents, width]``.

        A :class:`perdure.models.teams.Channel` can be listened to (``results.trained[name].messages()``).
        """
        raise PerdureError(f"{type(self).__name__} does not say what agents tell: override `channel`")

    def extend(self, model: nn.Module, stream: Stream) -> nn.Module:
        if not all(isinstance(getattr(task.objective, "actions", None), Team) for task in stream):
            raise PerdureError(
                f"{self.name} lets agents of a team talk, and needs a stream of teams, such as "
                f"referential-games; found {stream.name}"
            )
        if not isinstance(model, TeamNet):
            found = type(model).__name__
            raise PerdureError(
                f"{self.name} lets agents of a team talk, and needs the model team-net; found {found}"
            )
        if not isinstance(model.talk, Silent):
            raise PerdureError(
                f"{self.name} beside another strategy of communication: agents talk one way only"
            )
        model = deepcopy(model)
        model.talk = self.channel(model)
        return model
