"""Scores of all replicas on all tasks, the counts of their answers, and their loss in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import vmap

from perdure.core.batch import Rows
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.engine.replicas import Replica
from perdure.engine.scored import Scored
from perdure.engine.worlds import episodes
from perdure.scenarios.contract.objective import Classification
from perdure.scenarios.contract.several import totals
from perdure.scenarios.contract.task import samples
from perdure.scenarios.contract.world import World

if TYPE_CHECKING:
    from perdure.engine.engine import Engine
    from perdure.engine.film import Camera

# Training samples that tell whether a run has learned anything.
LOSS_SAMPLES = 256
# Numbers of all replicas' tables of labels and answers, beyond which answers are not counted.
MOST_COUNTS = 1_000_000
NOBODY: Mapping[int, Camera] = MappingProxyType({})


def examine(
    engine: Engine, replica: Replica, scored: Scored, cameras: Mapping[int, Camera] = NOBODY
) -> tuple[Tensor, Tensor | None]:
    """Score all tasks, ``[replicas, tasks]``, and count their answers; cameras look on in some worlds.

    The second is ``[replicas, label, answer]``, over the samples of all tasks; ``None`` where tasks are
    no classifications, or classes are too many to count.
    """
    classes = _counted(engine)
    tasks = len(scored.counts)
    view = replica.view()

    def mapped(total: Any, view: Any, seed: Tensor, step: Tensor, rows: Rows, owner: Tensor) -> Any:
        def score(view: Any, seed: Tensor, step: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
            rng, x = Rng(seed, step, "score/"), rows["x"]
            if owner.ndim == 1:
                return engine.program.score(view, rows, rng)
            labels = {k: v for k, v in rows.items() if k != "x"}
            # What does not depend on the task is computed once for all of them.
            each = side_by_side(lambda own: engine.program.score(view, {**own, "x": x}, rng), labels)
            return each[0].flatten(0, 1), each[1].flatten()

        rows = {**rows, "x": engine.place.numbers(rows["x"])}
        found, answer = engine.mapper(score, view, seed, step, rows, shared=(2, 3), kind="score")
        of = owner.flatten()
        sums = add_by_task(total["sums"], of, found.to(total["sums"].dtype))
        if not classes:
            return {**total, "sums": sums}
        # Padding belongs to no task: it is counted behind the others.
        cell = torch.where(of < tasks, rows["y"].flatten() * classes + answer, classes**2)
        counts = total["counts"].scatter_add(1, cell, torch.ones_like(found, dtype=torch.float32))
        return {"sums": sums, "counts": counts}

    width = engine.program.objective.width(engine.stream.outputs)
    shape = (engine.replicas, tasks + 1) if width is None else (engine.replicas, tasks + 1, width)
    # Sums of squares and counts need more digits than a mean of scores.
    sums = torch.zeros(shape, dtype=engine.dtype if width is None else torch.float64, device=engine.device)
    counts = torch.zeros(engine.replicas, classes**2 + 1 if classes else 0, device=engine.device)
    total = {"sums": sums, "counts": counts}
    # Draws of a model that draws in evaluation mode differ by evaluation and by chunk.
    first = engine.step_count << 24
    steps = torch.arange(first, first + len(scored.chunks), device=engine.device)
    for i, (rows, owner) in enumerate(scored.chunks):
        arguments = (total, view, engine.hyper["seed"], steps[i], rows, owner)
        key = ("score", rows["x"].shape, rows["x"].dtype, owner.shape)
        total = engine.records.run(key, mapped, arguments, first + i)
    engine.records.forget()
    sums = total["sums"][:, :tasks]
    sums = sums.unsqueeze(-1) if width is None else sums
    scores = totals(engine.program.objective, sums, scored.counts)
    for t, world in scored.worlds:
        scores[:, t] = episodes(engine, view, t, world, cameras.get(t))
    shape = (engine.replicas, classes, classes)
    return scores, total["counts"][:, :-1].view(shape) if classes else None


def side_by_side(function: Callable[[Rows], tuple[Tensor, ...]], labels: Rows) -> tuple[Tensor, ...]:
    """Map a function over the tasks in front of ``labels [tasks, n, ...]``; or go through them one by one."""
    try:
        return vmap(function, randomness="same")(labels)
    except PerdureError:
        raise
    except Exception:
        # An error of the function's own shows here as well.
        tasks = range(len(labels["task"]))
        found = [function({k: v[t] for k, v in labels.items()}) for t in tasks]
        return tuple(torch.stack(each) for each in zip(*found, strict=True))


def _counted(engine: Engine) -> int:
    """How many classes answers are counted by; 0: they are not, for there are none, or too many."""
    stream = engine.stream
    classes = all(isinstance(task.objective, Classification) for task in stream)
    few = engine.replicas * stream.outputs**2 <= MOST_COUNTS
    return stream.outputs if classes and few and len(stream.tables) == 3 * len(stream) else 0


def training_loss(engine: Engine, replica: Replica, tasks: Sequence[int]) -> Tensor:
    """Mean loss of some training samples of tasks, the model in evaluation mode, ``[replicas]``."""
    if any(isinstance(engine.stream[t].train, World) for t in tasks):
        return torch.zeros(engine.replicas, device=engine.device)
    share = max(1, LOSS_SAMPLES // len(tasks))
    parts = [samples(engine.stream[t].train) for t in tasks]
    some = [p.take(torch.arange(0, len(p), -(-len(p) // share))) for p in parts]
    rows = engine.place.end_to_end(engine.stream, some)
    rows["x"] = engine.place.numbers(rows["x"])
    rows["task"] = torch.cat(
        [torch.full((len(p),), t, device=engine.device) for t, p in zip(tasks, some, strict=True)]
    )
    view = replica.view()

    def loss(view: Any, seed: Tensor, rows: Rows) -> Tensor:
        return engine.program.loss(view, rows, Rng(seed, torch.zeros_like(seed), "loss/"))

    with torch.no_grad():
        return engine.mapper(loss, view, engine.hyper["seed"], rows, shared=(2,), kind="loss")  # type: ignore[no-any-return]


def add_by_task(total: Tensor, owner: Tensor, found: Tensor) -> Tensor:
    """Add ``found [replicas, n, ...]`` to ``total [replicas, tasks, ...]`` at each sample's ``owner [n]``.

    The order of summation is the same every time: that of ``index_add`` is so on a CPU alone.
    """
    if total.device.type == "cpu":
        return total.index_add(1, owner, found)
    added = total.transpose(0, 1).index_put((owner,), found.transpose(0, 1), accumulate=True)
    return added.transpose(0, 1).contiguous()
