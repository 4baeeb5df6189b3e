"""Hierarchy of multi-gate experts: groups of tasks, then tasks, mix their own and shared experts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perdure.models.sharing.bank import Bank
from perdure.models.sharing.gates import Gates, linear, mix, mix_own
from perdure.models.sharing.heads import Heads


class Experts(nn.Module):
    """Normed experts behind feature gates: ``E_e(x) = Swish(norm(F_e(x * 2 sigmoid(B_e A_e x))))``.

    The norm is a layer norm over all numbers of a sample, with gains ``[experts, h]`` and shifts of each
    expert. ``A [experts, rank, width]`` is drawn as torch draws a linear layer, and ``B [experts, width,
    rank]`` is 0: each expert sees the whole input at first.

    Parameters
    ----------
    bank:
        The F.
    width, features:
        How many numbers go into an expert, and come out.
    rank:
        Rank of the feature gates.
    """

    def __init__(self, bank: Bank, width: int, features: int, rank: int) -> None:
        super().__init__()
        self.bank = bank
        self.down = nn.Parameter(linear(len(bank), rank, width))
        self.up = nn.Parameter(torch.zeros(len(bank), width, rank))
        self.gain = nn.Parameter(torch.ones(len(bank), features))
        self.shift = nn.Parameter(torch.zeros(len(bank), features))

    def __len__(self) -> int:
        return len(self.bank)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[experts, n, ...]`` for what goes into each expert, ``[experts, n, ...]``."""
        scale = 2 * (x.flatten(2) @ self.down.mT @ self.up.mT).sigmoid()
        made = self.bank(x * scale.view(x.shape), each=True)
        flat = F.layer_norm(made.flatten(2), made.flatten(2).shape[-1:])
        flat = flat * self.gain.unsqueeze(1) + self.shift.unsqueeze(1)
        return F.silu(flat).view(made.shape)


class SelfGates(Gates):
    """What a unit takes of its own experts besides: a softmax over several, a sigmoid for one."""

    def forward(self, x: Tensor, each: bool = False) -> Tensor:
        """Return the shares, as of any gates."""
        logits = self.logits(x, each)
        return logits.softmax(0) if len(logits) > 1 else logits.sigmoid()


class Layer(nn.Module):
    """One layer: each unit mixes its own experts and the shared ones, and takes of its own again.

    ``z_u = sum_e softmax(W_u x_u)_e E_e + sum_{e of u} self_u(x_u)_e E_e``, the first sum over both, with
    units that are groups of tasks, or tasks. What is shared mixes all experts, and the shared ones again.

    Parameters
    ----------
    own:
        Experts of the units, as many of each.
    shared:
        Experts that all units share.
    units:
        How many units there are.
    width:
        How many numbers go in.
    goes_on:
        Whether another layer follows, which needs what is shared.
    """

    def __init__(self, own: Experts, shared: Experts, units: int, width: int, goes_on: bool) -> None:
        super().__init__()
        self.own, self.shared = own, shared
        self.own_each = len(own) // units
        self.gates = Gates(units, width, self.own_each + len(shared))
        self.self_gates = SelfGates(units, width, self.own_each)
        self.common = Gates(1, width, len(own) + len(shared)) if goes_on else None
        self.self_common = SelfGates(1, width, len(shared)) if goes_on else None

    def forward(self, x: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each unit makes, ``[units, n, ...]``, and what is shared, ``[n, ...]``.

        Parameters
        ----------
        x:
            The input of each unit, ``[units, n, ...]``.
        common:
            That of the shared experts, ``[n, ...]``.
        """
        own = self.own(x.repeat_interleave(self.own_each, 0))
        shared = self.shared(common.expand(len(self.shared), *common.shape))
        shares, again = self.gates(x, each=True), self.self_gates(x, each=True)
        mixed = mix_own(shares[: self.own_each] + again, own) + mix(shares[self.own_each :], shared)
        if self.common is None or self.self_common is None:
            return mixed, common
        every = mix(self.common(common), torch.cat([own, shared])) + mix(self.self_common(common), shared)
        return mixed, every[0]


class HoME(nn.Module):
    """A layer of groups of tasks, a layer of tasks, and heads.

    Parameters
    ----------
    meta:
        The layer whose units are the groups.
    last:
        The layer whose units are the tasks.
    group:
        The group of each task.
    head:
        The heads.
    """

    headless = True
    # Groups' gates belong to no one task; their experts reach all through what is shared.
    task_specific = ("last.own.", "last.gates.", "last.self_gates.", "head.")

    def __init__(self, meta: Layer, last: Layer, group: Sequence[int], head: Heads) -> None:
        super().__init__()
        self.meta, self.last, self.head = meta, last, head
        self.group = tuple(group)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all tasks, ``[n, outputs]``."""
        groups, common = self.meta(x.expand(max(self.group) + 1, *x.shape), x)
        tasks, _ = self.last(torch.stack([groups[g] for g in self.group]), common)
        return self.head(tasks)  # type: ignore[no-any-return]
