"""Tables of entities: what agents of a team see, a row for each entity."""

from __future__ import annotations

import torch
from torch import Tensor

from perdure.core.errors import PerdureError

# What a row of an agent's table says of an entity, by column: whether there is one, whether it is the agent
# itself, whether the agent can act on it, its kind (one of KINDS), where it is from the agent, and more.
PRESENT, SELF, TARGET, KIND = 0, 1, 2, 3
KINDS = ("agent", "landmark", "goal", "key", "enemy", "wall", "symbol", "other")
PLACE = KIND + len(KINDS)
MORE = PLACE + 2
EXTRAS = 11
FEATURES = MORE + EXTRAS


def row(
    kind: str, place: Tensor, *more: Tensor, own: bool = False, present: Tensor | None = None,
    target: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return what agents see of an entity, ``[..., FEATURES]``.

    Parameters
    ----------
    kind:
        One of ``KINDS``.
    place:
        Where it is from the agent, ``[..., 2]``; for the agent itself, where it is.
    more:
        Up to ``EXTRAS`` further numbers, each ``[...]``: speeds, colours, what is held.
    own:
        Whether it is the agent itself.
    present, target:
        Whether it is there, and can be acted on, ``[...]``; by default it is, and cannot.
    """
    if len(more) > EXTRAS:
        raise PerdureError(f"a row has room for {EXTRAS} further numbers; found {len(more)}")
    # Of what is not there nothing is seen.
    there = torch.ones_like(place[..., 0]) if present is None else present.to(place.dtype)
    nothing = torch.zeros_like(there)
    shown = [place[..., 0], place[..., 1], *(value.to(place.dtype) for value in more)]
    told = [value.expand_as(there) if present is None else value * there for value in shown]
    able = nothing if target is None else target.to(place.dtype) * there
    kinds = [there if name == kind else nothing for name in KINDS]
    rest = [nothing] * (EXTRAS - len(more))
    return torch.stack([there, there if own else nothing, able, *kinds, *told, *rest], -1)
