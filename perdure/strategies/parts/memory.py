"""Memories of past samples: pure functions over a dictionary of tensors, for ONE replica.

A memory holds one row per slot: what the samples of the stream hold (``x [M, ...]``, ``y [M]``,
``task [M]``), the random ``key [M]`` by which a balanced memory decides, and whatever a strategy adds
(logits). ``filled [M]`` says which slots hold a sample (always the first ones), and ``seen []`` how many
samples were offered one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, Rows, weigh
from perdure.core.errors import PerdureError
from perdure.core.net import Net, couples_samples
from perdure.core.random import Rng

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream
    from perdure.strategies.contract.phase import Step

# Which group each of the rows belongs to: [n] int64 in [0, 2^30).
Groups = Callable[[Rows], Tensor]
Policy = Literal["reservoir", "class", "task"]
NOT_ROWS = ("filled", "seen")
_NOBODY = 2**30


def check_policy(policy: str) -> None:
    """Refuse a policy that does not exist."""
    if policy not in get_args(Policy):
        raise PerdureError(f"policy must be {', '.join(map(repr, get_args(Policy)))}; found {policy!r}")


def empty(capacity: int, params: Params, stream: Stream) -> Rows:
    """Return a memory of ``capacity`` empty slots for the samples of ``stream``."""
    like = next(iter(params.values()))

    def slots(one: Tensor) -> Tensor:
        kind = like.dtype if one.is_floating_point() else one.dtype
        return like.new_zeros(capacity, *one.shape[1:], dtype=kind)

    return {
        **{name: slots(one) for name, one in stream.example().items()},
        "key": like.new_zeros(capacity, dtype=torch.int64),
        "filled": like.new_zeros(capacity, dtype=torch.bool),
        "seen": like.new_zeros((), dtype=torch.int64),
    }


def check_labels(policy: Policy, stream: Stream) -> None:
    """Refuse to balance over classes where there are none."""
    if policy == "class":
        stream.need_classes("policy 'class'")


def by_class(rows: Rows) -> Tensor:
    """Group rows by label."""
    return rows["y"]


def by_task(rows: Rows) -> Tensor:
    """Group rows by the task they come from."""
    return rows["task"]


# What a memory that is filled at the end of each task is balanced over.
BALANCED_OVER: dict[str, Groups] = {"class": by_class, "task": by_task}


def offer(memory: Rows, rng: Rng, rows: Rows, weight: Tensor) -> Rows:
    """Insert samples by reservoir sampling: every sample offered so far is held with equal probability.

    Vitter's algorithm R (1985): the t-th sample offered takes slot t while there is room, and a slot drawn
    from the t possible ones afterwards, if the memory has it. A batch leaves exactly the memory that its
    samples would leave one by one: where two want the same slot, the later one has it.

    Parameters
    ----------
    memory, rng:
        The memory and the random numbers.
    rows:
        The samples, ``[n, ...]`` each, by the memory's names.
    weight:
        ``[n]``: samples of weight 0 are padding and not offered.
    """
    capacity, n = len(memory["filled"]), len(weight)
    real = weight > 0
    count = memory["seen"] + real.cumsum(0)
    drawn = rng.integers("slot", count.clamp_min(1), n)
    slot = torch.where(count <= capacity, count - 1, drawn)
    taken = real & (slot < capacity)
    index = torch.arange(n, device=slot.device)
    later = taken & (slot == slot.unsqueeze(1)) & (index > index.unsqueeze(1))
    wins = taken & ~later.any(1)
    # Every sample writes, as shapes are fixed: those that stay outside repeat what the first winner writes,
    # or, where nobody wins, what the slot holds already. Equal writes may come in any order.
    source = torch.where(wins, index, wins.to(torch.int64).argmax())
    place, some = slot[source].clamp(0, capacity - 1), wins.any()
    new = dict(memory)
    for name, values in rows.items():
        kept = memory[name][place]
        value = torch.where(some, values[source].to(kept.dtype), kept)
        new[name] = memory[name].index_put((place,), value)
    new["seen"] = memory["seen"] + real.sum()
    new["filled"] = torch.arange(capacity, device=slot.device) < new["seen"]
    return new


def balance(
    memory: Rows, rng: Rng, rows: Rows, groups: Groups, share: int | None = None
) -> tuple[Rows, Tensor]:
    """Offer all samples of a task, keeping equally many of each group: a random choice within each.

    Every sample gets a random key when it is first offered, and a group keeps its lowest keys: a uniform
    choice among all that the group ever offered, from which a group whose share shrinks drops at random.

    Parameters
    ----------
    memory, rng, rows:
        As in :func:`offer`.
    groups:
        What is balanced over.
    share:
        Slots of each group; ``None`` divides the capacity by the number of groups seen so far, the first
        groups taking one more each where that leaves a remainder.

    Returns
    -------
    Rows, Tensor
        The memory, and which of its slots hold a sample of ``rows``, ``[M]`` bool.
    """
    capacity, n = len(memory["filled"]), len(rows["y"])
    rows = {**rows, "key": rng.bits("key", n)}
    real = torch.cat([memory["filled"], torch.ones_like(rows["key"], dtype=torch.bool)])
    owner = torch.where(real, torch.cat([groups(memory), groups(rows)]), _NOBODY)
    # Sorted by group, and by key within it; keys are below 2^32.
    order = (owner * 2**32 + torch.cat([memory["key"], rows["key"]])).sort(stable=True).indices
    real, owner = real[order], owner[order]
    first = torch.cat([torch.ones_like(real[:1]), owner[1:] != owner[:-1]])
    index = torch.arange(capacity + n, device=owner.device)
    rank = index - torch.where(first, index, 0).cummax(0).values
    number = (first & real).sum().clamp_min(1)
    limit = capacity // number + (first.cumsum(0) <= capacity % number) if share is None else share
    kept = real & (rank < limit)
    chosen = (~kept).to(torch.uint8).sort(stable=True).indices[:capacity]
    return pick(memory, rows, order[chosen], kept[chosen])


def pick(memory: Rows, rows: Rows, chosen: Tensor, filled: Tensor) -> tuple[Rows, Tensor]:
    """Fill slot i with candidate ``chosen[i]``: the memory's slots come first, the new rows behind them.

    What the memory holds beyond the names in ``rows`` moves along, and is left over where a row is new.
    """
    capacity = len(filled)
    new = filled & (chosen >= capacity)
    old_place, new_place = chosen.clamp_max(capacity - 1), (chosen - capacity).clamp_min(0)
    result = {k: v if k in NOT_ROWS else v[old_place] for k, v in memory.items()}
    for name, values in rows.items():
        old = result[name]
        mask = new.view(-1, *(1,) * (old.ndim - 1))
        result[name] = torch.where(mask, values[new_place].to(old.dtype), old)
    return {**result, "filled": filled}, new


def came_in(step: Step) -> Rows:
    """Return the samples of a step as they came from the stream: what a memory is offered."""
    rows = step.incoming.rows
    # The weight of whole samples is the step's own business; that of labels says which of them are there.
    kept = {k: v for k, v in rows.items() if k not in ("slot", "weight")}
    return {**kept, "weight": rows["weight"]} if rows["weight"].ndim > 1 else kept


def outputs_of(net: Net, params: Params, step: Step) -> Tensor:
    """Return the outputs for the samples of a step as they came, ``[n, outputs]``.

    They are those of the step's own pass. Where another strategy changed the samples, the pass is made once
    more with the unchanged ones in their place: outputs belong to the inputs that a memory stores.
    """
    batch, incoming = step.batch, step.incoming
    x, task = batch.front
    if x is incoming.x and task is incoming.task:
        # The same call as in the step's loss: recorded, it is computed once.
        return net(params, batch.x, batch.task)[: len(incoming)]
    whole = torch.cat([incoming.x, batch.x[batch.fresh :]])
    tasks = torch.cat([incoming.task, batch.task[batch.fresh :]])
    return net(params, whole, tasks)[: len(incoming)]


def draw(memory: Rows, rng: Rng, purpose: str, n: int) -> tuple[Rows, Tensor]:
    """Return ``n`` rows, drawn uniformly with replacement, and their weights: 0 while the memory is empty."""
    count = memory["filled"].sum()
    place = rng.integers(purpose, count.clamp_min(1), n)
    rows = {k: v[place] for k, v in memory.items() if k not in (*NOT_ROWS, "key")}
    x = rows["x"]
    # Token ids are no numbers to weigh with; joined to a batch's weights, these take their kind.
    return rows, (count > 0).to(x.dtype if x.is_floating_point() else torch.float32).expand(n)


def join(net: Net, batch: Batch, rows: Rows, weight: Tensor, counted: bool = True) -> Batch:
    """Return the batch with rows of a memory behind it; ``counted`` says whether its mean loss includes them.

    Where samples influence each other (batch norm), an empty memory repeats the incoming samples.
    """
    x = rows["x"]
    if couples_samples(net.module):
        stand_in = batch.x[torch.arange(len(x), device=x.device) % batch.fresh]
        x = torch.where(weight.view(-1, *(1,) * (x.ndim - 1)) > 0, x, stand_in)
    named = {k: v for k, v in {**rows, "x": x}.items() if k in batch.rows}
    return batch.join(weigh(named, weight if counted else torch.zeros_like(weight)))
