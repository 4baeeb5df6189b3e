"""One model trained for one preference over the tasks: what answering without training is held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from perdure.core.batch import Batch, Params, Rows, State, weigh
from perdure.core.checks import MOST_SAMPLES, check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.strategies.bayesian.credal import check_preference
from perdure.strategies.contract.phase import Phase, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.parts.memory import NOT_ROWS, balance, by_task, empty, join

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("weighted")
class Weighted(Strategy):
    """Learn all tasks at once for one preference w: minimise ``sum_t w_t L_t``, L_t the mean loss of task t.

    Each step draws a batch of every task. N preferences take N trainings, each with all data at hand: an
    upper baseline for methods that answer preferences without training.

    Parameters
    ----------
    preference:
        Weight of each task, at least 0, summing to 1; ``None`` weighs all equally.

    Source: linear scalarisation with static weights, as in Caruana, Machine Learning 1997.
    """

    preference: Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "preference", as_preference(self.preference))

    def phases(self, stream: Stream) -> list[Phase]:
        return [Phase(tuple(range(len(stream))), batch_per_task=True)]

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return {"preference": task_weights(self.preference, params, stream)}

    def losses(self, net: Net, params: Params, state: State, batch: Batch, losses: Tensor) -> Tensor:
        own = losses[: batch.entries] * state["preference"]
        return torch.cat([own, losses[batch.entries :]])


@strategy("weighted-replay")
class WeightedReplay(Strategy):
    """Learn task after task for one preference w, with a memory in which past tasks weigh as w says.

    Minimised at task s, over the samples at hand and those remembered:
    ``(sum_{t <= s} w_t L_t) / (sum_{t <= s} w_t)``. Tasks are drawn from the memory in proportion to their
    weight. While no task of positive weight has come, nothing is learned. N preferences take N trainings,
    each through the whole stream: a baseline for methods that answer preferences without training.

    Parameters
    ----------
    preference:
        Weight of each task of the stream, at least 0, summing to 1; ``None`` weighs all equally.
    capacity:
        Number of samples that the memory holds, equal shares for all past tasks.
    batch_size:
        Samples drawn at each step; ``None`` draws as many as come in.

    Reconstruction: it stands for the rehearsal baselines that Lu et al. (arXiv 2305.14782) train once for
    each preference.
    """

    preference: Sequence[float] | None = None
    capacity: int = 200
    batch_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "preference", as_preference(self.preference))
        check_whole("capacity", self.capacity)
        if self.batch_size is not None:
            check_whole("batch_size", self.batch_size, most=MOST_SAMPLES)

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        memory = empty(self.capacity, params, stream)
        weights = task_weights(self.preference, params, stream)
        return {"memory": memory, "preference": weights, "edges": share_out(memory, weights)}

    def batch(self, net: Net, params: Params, state: State, batch: Batch) -> Batch:
        preference, edges, n = state["preference"], state["edges"], self.batch_size or batch.fresh
        drawn = batch.rng.uniform("replay", n, dtype=torch.float64) * edges[-1]
        place = (edges.unsqueeze(0) <= drawn.unsqueeze(1)).sum(1).clamp_max(len(edges) - 1)
        rows = {k: v[place] for k, v in state["memory"].items() if k not in (*NOT_ROWS, "key")}
        # In units of the incoming batch, so that what others join weighs as it would without preferences.
        past = (edges[-1] / n).to(preference.dtype) * batch.sample_weight.sum()
        fresh = batch.with_rows(**weigh(batch.rows, preference[batch.task]))
        return join(net, fresh, rows, past.expand(n))

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        rows = task.rows
        memory = balance(state["memory"], task.rng, rows, by_task)[0]
        return params, {**state, "memory": memory, "edges": share_out(memory, state["preference"])}


def share_out(memory: Rows, preference: Tensor) -> Tensor:
    """Divide the weight of each task equally among its slots; return the sums up to each, ``[M]`` float64.

    The last one is the weight of all tasks that the memory holds.
    """
    tasks = torch.arange(len(preference), device=preference.device)
    own = (memory["task"].unsqueeze(0) == tasks.unsqueeze(1)) & memory["filled"]
    each = preference.double() / own.sum(1).clamp_min(1)
    return (own * each.unsqueeze(1)).sum(0).cumsum(0)


def as_preference(preference: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return the preference as a tuple of numbers; refuse what is not on the simplex."""
    if preference is None:
        return None
    if not isinstance(preference, Sequence):
        raise PerdureError(f"a preference must be a list of numbers; found {preference!r}")
    return tuple(check_preference(preference, [True] * len(preference)).tolist())


def task_weights(preference: Sequence[float] | None, params: Params, stream: Stream) -> Tensor:
    """Return the weight of each task of the stream, ``[tasks]``, in the parameters' type."""
    tasks, like = len(stream), next(iter(params.values()))
    if preference is None:
        return like.new_full((tasks,), 1 / tasks)
    return check_preference(preference, [True] * tasks).to(like)
