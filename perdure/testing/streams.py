"""Streams small enough for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.envs.multi_agent import Referential
from perdure.scenarios.contract.objective import Classification, Regression
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import Setting, Stream
from perdure.scenarios.contract.task import Task
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.recipes import TeamRecipe
from perdure.scenarios.generators.teams import padded

Kind = Literal["classes", "real", "tokens"]
# Training samples of the tasks, one after the other: no two neighbours alike, no multiples of a batch.
SIZES = (9, 12, 7)
VAL, TEST = 4, 6
# Numbers of an input, token ids there are, and tokens of an input.
WIDTH, VOCABULARY, TOKENS = 5, 100, 4


def tiny_stream(
    setting: Setting = "domain",
    tasks: int | Sequence[int] = 3,
    classes: int = 2,
    seed: int = 0,
    *,
    kind: Kind = "classes",
) -> Stream:
    """Make a stream of a few samples.

    Parameters
    ----------
    setting:
        As of any stream; with ``"task"`` and ``"class"`` each task has outputs of its own.
    tasks:
        How many, or the number of training samples of each. Each has 4 samples for validation, 6 for tests.
    classes:
        How many each task has; real labels have none.
    seed:
        Decides the samples.
    kind:
        ``"classes"``: clusters of 5 numbers; ``"real"``: 5 numbers and a real label, a linear function that
        turns from task to task; ``"tokens"``: rows of 4 token ids below 100, 0 is padding.

    Examples
    --------
    >>> [len(task.train) for task in tiny_stream("class", tasks=2)]
    [9, 12]
    >>> tiny_stream(kind="real")[0].objective
    Regression()
    """
    if kind not in get_args(Kind):
        raise PerdureError(f"kind must be one of {', '.join(get_args(Kind))}; found {kind!r}")
    sizes = [SIZES[t % len(SIZES)] for t in range(tasks)] if isinstance(tasks, int) else list(tasks)
    if not sizes or min(sizes) < 1:
        raise PerdureError(f"tasks must be at least one, of at least one sample each; found {tasks!r}")
    source = torch.Generator().manual_seed(seed)
    own, wide = setting in ("task", "class"), 1 if kind == "real" else classes
    make, objective = _MAKERS[kind], Regression() if kind == "real" else Classification()

    def part(t: int, n: int) -> Part:
        rank = torch.arange(n) % wide
        x, y = make(rank, t, t * wide if own else 0, wide, source)
        return Part(x, y)

    made = []
    for t, n in enumerate(sizes):
        outputs = tuple(range(t * wide, (t + 1) * wide)) if own else tuple(range(wide))
        made.append(Task(f"task {t}", part(t, n), part(t, VAL), part(t, TEST), outputs, objective))
    name = "tokens" if kind == "tokens" else "tiny"
    return Stream(name, tuple(made), setting, wide * len(sizes) if own else wide)


def tiny_team_stream(tasks: int = 2, *, steps: int = 9, episodes: int = 6) -> Stream:
    """Make a stream of a team: referential games of 2, 3, ... objects, for ``model=tiny_team``.

    A rollout has 9 samples, whose inputs are tables ``[agents, entities, features]``.

    Parameters
    ----------
    tasks:
        How many, up to 7. Tables have room for the objects of the largest.
    steps:
        Of the environment that each task is learned for; whole rollouts, one at least.
    episodes:
        How many are scored.

    Examples
    --------
    >>> [len(task.train) for task in tiny_team_stream()]
    [9, 9]
    """
    check_whole("tasks", tasks, most=7)
    games = padded({f"{n} objects": Referential(objects=n) for n in range(2, 2 + tasks)})
    recipe = TeamRecipe(copies=3, horizon=3, passes=1, batch_size=4, width=4)
    return acting("tiny-team", games, recipe, "domain", steps, episodes, best=1.0)


def _clusters(
    rank: Tensor, task: int, first: int, classes: int, source: torch.Generator
) -> tuple[Tensor, Tensor]:
    y = rank + first
    centres = torch.eye(WIDTH).roll(task, 0)[y % WIDTH] * 2
    return centres + torch.randn(len(y), WIDTH, generator=source), y


def _lines(
    rank: Tensor, task: int, first: int, classes: int, source: torch.Generator
) -> tuple[Tensor, Tensor]:
    x = torch.randn(len(rank), WIDTH, generator=source)
    return x, x @ torch.linspace(-1, 1, WIDTH).roll(task)


def _sentences(
    rank: Tensor, task: int, first: int, classes: int, source: torch.Generator
) -> tuple[Tensor, Tensor]:
    n, each = len(rank), VOCABULARY // classes
    x = torch.randint(1, each, (n, TOKENS), generator=source) + each * rank.unsqueeze(1)
    length = 2 + (torch.arange(n) % 3).unsqueeze(1)
    return torch.where(torch.arange(TOKENS) < length, x, 0), rank + first


_MAKERS: dict[str, Callable[[Tensor, int, int, int, torch.Generator], tuple[Tensor, Tensor]]] = {
    "classes": _clusters,
    "real": _lines,
    "tokens": _sentences,
}
