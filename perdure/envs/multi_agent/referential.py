"""A referential game: one agent sees which object is meant, another one has to choose it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.entities import row
from perdure.core.random import Rng
from perdure.envs.multi_agent.contract import TeamEnv
from perdure.envs.registry import environment


@environment("referential")
@dataclass(frozen=True, repr=False)
class Referential(TeamEnv):
    """Choose the object that only the other agent knows to be meant: without messages it is a guess.

    Two agents, and ``objects`` objects in an order drawn for each episode, each with a number of its own.
    The sender sees the number of the one that is meant; the receiver sees all objects and acts on one. The
    reward is 1 where it is the right one, and 0 elsewhere; an episode is one step. The best that can be
    reached is 1 with messages and ``1 / objects`` without.

    The agents have one move, to wait. The sender's table has itself and the meant object; the receiver's has
    itself and all of them. The numbers of objects are one-hot, in the further numbers of a row.

    Parameters
    ----------
    objects:
        How many, 2 to 8.

    Source: Lewis signalling games as in Lazaridou et al., "Multi-agent cooperation and the emergence of
    (natural) language", ICLR 2017, arXiv 1612.07182, with numbers in place of images.
    """

    objects: int = 5
    limit: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        check_whole("objects", self.objects, least=2, most=8)
        super().__post_init__()

    @property
    def team(self) -> int:
        return 2

    @property
    def entities(self) -> int:
        return 1 + self.objects

    @property
    def moves(self) -> int:
        return 1

    def reset(self, rng: Rng, n: int) -> State:
        order = rng.uniform("order", n, self.objects).argsort(-1)
        return {"order": order, "meant": rng.integers("meant", self.objects, n)}

    def tables(self, state: State) -> Tensor:
        order, meant = state["order"], state["meant"]
        kinds = torch.arange(self.objects, device=order.device)
        nowhere = torch.zeros(*order.shape, 2, device=order.device)
        role = torch.ones_like(nowhere[:, 0, 0])
        sender = row("agent", nowhere[:, 0], role, own=True)
        receiver = row("agent", nowhere[:, 0], 0 * role, own=True)

        def shown(number: Tensor, sees: Tensor, acts: Tensor) -> Tensor:
            numbers = (number.unsqueeze(-1) == kinds).to(nowhere.dtype).unbind(-1)
            return row("symbol", nowhere, 0 * nowhere[..., 0], *numbers, present=sees, target=acts)

        first = (kinds == 0).expand_as(order)
        told = shown(meant.unsqueeze(1).expand_as(order), first, ~first & first)
        seen = shown(order, first | ~first, first | ~first)
        return torch.stack(
            [torch.cat([sender.unsqueeze(1), told], 1), torch.cat([receiver.unsqueeze(1), seen], 1)], 1
        )

    def act(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        chosen = action[:, 1] - self.moves - 1
        at = chosen.clamp(0, self.objects - 1).unsqueeze(1)
        right = (state["order"].gather(1, at).squeeze(1) == state["meant"]) & (chosen >= 0)
        return state, right.float(), torch.ones_like(right)
