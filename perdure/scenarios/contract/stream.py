"""A stream: an ordered, re-iterable sequence of tasks with a setting and a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from perdure.core.batch import Rows
from perdure.core.checks import check, check_one_of, check_whole
from perdure.core.errors import PerdureError
from perdure.scenarios.contract.fetched import Fetched
from perdure.scenarios.contract.objective import Classification, Objective
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.several import together
from perdure.scenarios.contract.task import Task, samples
from perdure.scenarios.contract.views import in_html, in_lines
from perdure.scenarios.contract.world import World

Setting = Literal["task", "domain", "class", "joint"]
HASHED = 1024  # samples that are read and hashed at a time
SETTINGS: tuple[str, ...] = get_args(Setting)
# Beyond these, a number is a mistake, and would only end when memory does.
MOST_TASKS, MOST_OUTPUTS = 10_000, 10_000_000


def check_setting(setting: object) -> None:
    """Refuse a setting that does not exist."""
    check_one_of("`setting`", setting, SETTINGS)


@dataclass(frozen=True, eq=False)
class Stream:
    """An ordered sequence of tasks that share a model's outputs.

    Parameters
    ----------
    name:
        What results call it.
    tasks:
        The tasks, in the order in which they come.
    setting:
        ``"task"``: the task's identity is known when scoring, so only the task's own outputs compete;
        ``"domain"``: the tasks share the outputs; ``"class"``: every class has an output of its own and
        all compete; ``"joint"``: all tasks are learned at once.
    outputs:
        Width of the model's output.
    online:
        True when the samples may be passed over only once.
    notes:
        What is doubtful about the stream: one line each, which results repeat as warnings.
    info:
        What a generator knows about the tasks that it made, which results keep: names, numbers, lists and
        tables of such, as JSON has them. ``task_correlation`` and ``label_correlation``, ``[tasks][tasks]``
        in the order of the names under ``tasks``, are drawn in the report. Of worlds: ``best``, ``worst``,
        ``threshold`` and ``world_steps_per_step`` (:mod:`perdure.analysis.metrics.worlds`), numbers or lists
        in that order.
    defaults:
        Settings of training, and the ``model``, that suit the stream: a comparison takes them unless it is
        given others.
    """

    name: str
    tasks: tuple[Task, ...]
    setting: Setting
    outputs: int
    online: bool = False
    notes: tuple[str, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_setting(self.setting)
        if not isinstance(self.tasks, (tuple, list)) or not all(isinstance(t, Task) for t in self.tasks):
            raise PerdureError(f"stream {self.name!r} must hold a tuple of tasks; found something else")
        if not self.tasks:
            raise PerdureError(f"stream {self.name!r} must hold at least one task; found none")
        check_whole("`outputs`", self.outputs, most=MOST_OUTPUTS)
        check("`online`", self.online, bool)

    def __repr__(self) -> str:
        return in_lines(self)

    def _repr_html_(self) -> str:
        return in_html(self)

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __getitem__(self, index: int) -> Task:
        return self.tasks[index]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, as the model sees it."""
        return tuple(self.tasks[0].train.example()["x"].shape[1:])

    @cached_property
    def objective(self) -> Objective:
        """What the tasks ask for: the objective that all share, or theirs side by side."""
        return together([t.objective for t in self], [t.outputs for t in self], self.outputs)

    @cached_property
    def tables(self) -> list[Part]:
        """All parts that are samples, in memory or fetched."""
        parts = [part for t in self for part in (t.train, t.val, t.test)]
        return [part for part in parts if isinstance(part, Part)]

    @cached_property
    def real(self) -> bool:
        """Whether labels are kept as real numbers: those of some task are."""
        return any(part.y.is_floating_point() for part in self.tables)

    def need_classes(self, asker: str) -> None:
        """Refuse, for what needs labels that are classes, tasks that ask for something else."""
        for task in self:
            if not isinstance(task.objective, Classification):
                found = f"{type(task.objective).__name__} ({task.objective.metric}) in task {task.name!r}"
                raise PerdureError(f"{asker} needs labels that are classes; found {found}")

    def need_samples(self, asker: str) -> None:
        """Refuse, for what learns from a memory alone, tasks whose samples the policy makes itself."""
        for task in self:
            if isinstance(task.train, World):
                raise PerdureError(
                    f"{asker} learns from kept samples alone, and a rollout holds for the policy that "
                    f"made it only; found the world {type(task.train).__name__} in task {task.name!r}"
                )

    @cached_property
    def missing(self) -> bool:
        """Whether some labels are not there (NaN); they weigh nothing."""
        return any(bool(part.y.isnan().any()) for part in self.tables)

    def labels(self, part: Part) -> Rows:
        """Return the labels of a part as rows: ``y``, and their ``weight`` where some are missing.

        Several labels of a sample have a weight each, ``[n, targets]``, whether some are missing or not.
        """
        y = part.y.to(torch.float32) if self.real and not part.y.is_floating_point() else part.y
        if not self.missing and y.ndim == 1:
            return {"y": y}
        there = ~y.isnan() if y.is_floating_point() else torch.ones_like(y, dtype=torch.bool)
        weight = there.to(torch.float32)
        return {"y": y.nan_to_num() if y.is_floating_point() else y, "weight": weight}

    def example(self) -> Rows:
        """Return one sample as rows ``[1, ...]``: what memories are laid out for."""
        first = self.tasks[0].train
        if isinstance(first, World):
            return {**first.example(), "task": torch.zeros(1, dtype=torch.int64)}
        labels = self.labels(first.take(torch.arange(1)))
        return {"x": first.example()["x"], **labels, "task": torch.zeros(1, dtype=torch.int64)}

    @property
    def names(self) -> list[str]:
        """Names of the tasks, in order."""
        return [task.name for task in self.tasks]

    def masks(self) -> Tensor:
        """Outputs that may compete on each task, ``[tasks, outputs]`` bool."""
        own = self.setting == "task"
        table = torch.full((len(self), self.outputs), not own)
        for row, task in zip(table, self.tasks, strict=True):
            if own:
                row[list(task.outputs)] = True
            row[list(task.closed)] = False
        return table

    def with_tasks(self, tasks: Sequence[Task], name: str | None = None, **changes: Any) -> Stream:
        """Return the stream with other tasks: what operators are made of."""
        return replace(self, tasks=tuple(tasks), name=name or self.name, **changes)

    def map_train(self, change: Callable[[int, Part], Part], name: str) -> Stream:
        """Return the stream with ``change(index, part)`` in place of every training part."""
        return self.with_tasks(
            [replace(task, train=change(i, samples(task.train))) for i, task in enumerate(self.tasks)], name
        )

    def fingerprint(self) -> str:
        """Hash of all that the stream yields: 16 hexadecimal digits.

        The same on every machine, as long as the inputs are: not for sentence embeddings, whose last bits
        depend on the processor. Of samples that are fetched, only a few are read
        (:meth:`perdure.scenarios.contract.fetched.Fetched.digest`).
        """
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr((self.setting, self.outputs, self.online)).encode())
        for task in self.tasks:
            digest.update(repr((task.name, task.outputs, task.objective)).encode())
            for part in (task.train, task.val, task.test):
                if isinstance(part, World | Fetched):
                    digest.update(part.digest())
                    continue
                _hash(digest, part.read(HASHED), len(part))
                _hash(digest, [part.y], len(part))
                if part.task is not None:
                    _hash(digest, [part.task], len(part))
        return digest.hexdigest()


def _hash(digest: hashlib.blake2b, pieces: Iterable[Tensor], n: int) -> None:
    """Hash the kind of a tensor of ``n`` rows, and its values, which come in pieces."""
    for i, piece in enumerate(pieces):
        if i == 0:
            digest.update(repr(((n, *piece.shape[1:]), str(piece.dtype))).encode())
        digest.update(piece.detach().cpu().contiguous().numpy().tobytes())


def check_is_stream(stream: object) -> None:
    """Refuse what is no stream."""
    if not isinstance(stream, Stream):
        raise PerdureError(f"expected a Stream; found {type(stream).__name__}")
