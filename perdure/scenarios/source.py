"""A source: labelled samples, with a test part, from which generators make streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from perdure.core.errors import PerdureError
from perdure.core.registry import Registry
from perdure.core.tree import forms
from perdure.scenarios.contract.objective import Classification, Objective
from perdure.scenarios.contract.transforms import Bytes
from perdure.scenarios.draws import Draws
from perdure.scenarios.objectives import as_objective
from perdure.scenarios.strata import holdout
from perdure.scenarios.values import (
    Kind,
    as_inputs,
    as_labels,
    as_tensor,
    check_range,
    check_samples,
    class_number,
    read_labels,
    same_length,
)

TEST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Source:
    """Labelled samples with a test part. :meth:`build` makes one from arrays.

    Parameters
    ----------
    name:
        What streams made of it are called after.
    x, x_test:
        Inputs, ``[n, ...]`` float32, token ids, int64, or bytes, uint8, that ``scale`` makes numbers.
    y, y_test:
        Classes, ``[n]`` int64 in 0..C-1; of a regression, targets, ``[n]`` float32.
    class_names:
        One name for each of the C classes; none for a regression.
    groups, group_names:
        Natural tasks as sets of classes (alphabets, domains of intents), or ``None``.
    domain, domain_test, domain_names:
        Natural tasks as a number for each sample, ``[n]`` int64 (a table's column), or ``None``.
    validation:
        Which samples of ``x`` are the validation part, ``[n]`` bool; ``None`` when generators choose them.
    notes:
        What is doubtful about the samples: one line each, which results repeat as warnings.
    scale:
        What the bytes of the inputs mean, or ``None``.
    objective:
        What the tasks made of it ask for.

    Raises
    ------
    PerdureError
        For inputs that are not finite, labels outside 0..C-1, parts that do not match.
    """

    name: str
    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    class_names: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...] | None = None
    group_names: tuple[str, ...] | None = None
    domain: Tensor | None = None
    domain_test: Tensor | None = None
    domain_names: tuple[str, ...] | None = None
    validation: Tensor | None = None
    notes: tuple[str, ...] = ()
    scale: Bytes | None = None
    objective: Objective = field(default_factory=Classification)

    def __post_init__(self) -> None:
        where = f"source {self.name!r}"
        self._check_kinds(where)
        check_samples(where, self.x, self.y, self.classes)
        check_samples(f"{where}, test part", self.x_test, self.y_test, self.classes)
        if self.x.shape[1:] != self.x_test.shape[1:]:
            raise PerdureError(
                f"{where}: test inputs must have the shape {list(self.x.shape[1:])} of the training inputs; "
                f"found {list(self.x_test.shape[1:])}"
            )
        for what, names in (("class", self.class_names), ("group", self.group_names or ())):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise PerdureError(f"{where}: {what} names must differ; {twice[0]!r} is there twice")
        self._check_groups(where)
        self._check_domain(where)

    def __repr__(self) -> str:
        names = ("x", "y", "x_test", "y_test")
        held = forms({name: getattr(self, name) for name in names})
        kind = f"{self.classes} classes" if self.classes else str(self.objective)
        return f"Source({self.name!r}, {kind}, {held})"

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def outputs(self) -> int:
        """How many outputs a task of all its samples has."""
        return self.classes if self.objective.reads is None else self.objective.reads

    def _check_kinds(self, where: str) -> None:
        for what in ("x", "y", "x_test", "y_test"):
            if not isinstance(getattr(self, what), Tensor):
                raise PerdureError(f"{where}: `{what}` must be a tensor (Source.build makes one)")
        if not all(isinstance(name, str) for name in (self.name, *self.class_names)):
            raise PerdureError(f"{where}: names must be texts; found {self.class_names}")
        if not isinstance(self.objective, Objective) or self.objective.targets > 1:
            raise PerdureError(f"{where}: expected an Objective of one label; found {self.objective!r}")
        if self.objective.real != self.y.is_floating_point():
            kind = "real numbers" if self.objective.real else "whole numbers"
            raise PerdureError(f"{where}: labels of {self.objective} must be {kind}; found {self.y.dtype}")
        held = self.validation
        if held is not None and (held.dtype != torch.bool or held.shape != self.y.shape):
            raise PerdureError(
                f"{where}: `validation` must be [{len(self.y)}] bool; found {list(held.shape)}"
            )

    def _check_groups(self, where: str) -> None:
        if self.groups is None:
            return
        flat = [c for group in self.groups for c in group]
        if not all(self.groups) or len(set(flat)) < len(flat) or not set(flat) <= set(range(self.classes)):
            raise PerdureError(
                f"{where}: groups must be non-empty and hold every class 0..{self.classes - 1} at most once; "
                f"found {self.groups}"
            )
        if self.group_names is None or len(self.group_names) != len(self.groups):
            raise PerdureError(f"{where}: expected a name for each of the {len(self.groups)} groups")

    def _check_domain(self, where: str) -> None:
        if self.domain is None:
            return
        if self.domain_test is None or self.domain_names is None:
            raise PerdureError(f"{where}: `domain` needs `domain_test` and `domain_names` beside it")
        for domain, y in ((self.domain, self.y), (self.domain_test, self.y_test)):
            if len(domain) != len(y):
                raise PerdureError(f"{where}: {len(y)} samples need as many domains; found {len(domain)}")
            check_range(where, "domains", domain, len(self.domain_names))

    @classmethod
    def build(
        cls,
        name: str,
        x: Any,
        y: Any,
        x_test: Any = None,
        y_test: Any = None,
        *,
        class_names: Sequence[str] | None = None,
        groups: Sequence[Sequence[int]] | None = None,
        group_names: Sequence[str] | None = None,
        domain: Any = None,
        domain_test: Any = None,
        domain_names: Sequence[str] | None = None,
        validation: Any = None,
        notes: Sequence[str] = (),
        tokens: bool = False,
        scale: Bytes | None = None,
        objective: Objective | str | None = None,
    ) -> Source:
        """Make a source of NumPy arrays or tensors.

        Without a test part, 20 % of every class is set aside as one, always the same samples.

        Parameters
        ----------
        name:
            What streams made of it are called after.
        x, x_test:
            Inputs, ``[n, ...]``, numbers of any kind; they become float32 as they are.
        y, y_test:
            Classes, ``[n]``: whole numbers from 0, or names, numbered in sorted order (or in the order of
            ``class_names``).
        class_names, groups, group_names, domain, domain_test, domain_names:
            As for :class:`Source`; names default to the numbers.
        validation, notes, scale:
            As for :class:`Source`; with a scale, the inputs are bytes (uint8) and stay so.
        tokens:
            The inputs are token ids: they stay whole numbers.
        objective:
            An :class:`Objective` or its name, such as ``"regression(r2)"``, for which labels are any numbers;
            default: a classification.

        Raises
        ------
        PerdureError
            When the arrays are not numbers or do not match.
        """
        where = f"source {name!r}"
        kind: Kind = "bytes" if scale is not None else "tokens" if tokens else "numbers"
        goal = as_objective(objective) or Classification()
        inputs, (labels, found) = as_inputs(where, x, kind), read_labels(where, y, class_names, goal.real)
        class_names = found if class_names is None else class_names
        same_length(where, inputs, labels)
        # Before samples are set aside: what is wrong is then in the row that the user knows.
        check_samples(where, inputs, labels, class_number(where, class_names, [labels]))
        domains = None if domain is None else as_labels(f"{where}, domains", domain)
        held_out = None if validation is None else as_tensor(f"{where}, validation", validation)
        if (x_test is None) != (y_test is None):
            raise PerdureError(f"{where}: expected test inputs and test labels, or neither; found one")
        for what, values in (("domains", domains), ("marks of validation", held_out)):
            if values is not None and len(values) != len(labels):
                raise PerdureError(f"{where}: {len(labels)} samples need as many {what}; found {len(values)}")
        if x_test is None:
            rest, held = set_aside(labels, domains)
            inputs_test, labels_test = inputs[held], labels[held]
            inputs, labels = inputs[rest], labels[rest]
            domains_test = None if domains is None else domains[held]
            domains = None if domains is None else domains[rest]
            held_out = None if held_out is None else held_out[rest]
        else:
            inputs_test = as_inputs(f"{where}, test", x_test, kind)
            labels_test, _ = read_labels(f"{where}, test", y_test, class_names, goal.real)
            domains_test = None if domain_test is None else as_labels(f"{where}, test domains", domain_test)
        number = len(class_names or ()) or class_number(where, (), [labels, labels_test])
        return cls(
            name,
            inputs,
            labels,
            inputs_test,
            labels_test,
            tuple(class_names or map(str, range(number))),
            None if groups is None else tuple(tuple(group) for group in groups),
            _names(group_names, None if groups is None else len(groups)),
            domains,
            domains_test,
            _names(domain_names, None if domains is None else int(domains.max()) + 1),
            held_out,
            tuple(notes),
            scale,
            goal,
        )


def _names(names: Sequence[str] | None, number: int | None) -> tuple[str, ...] | None:
    if names is None:
        return None if number is None else tuple(str(i) for i in range(number))
    return tuple(names)


def set_aside(y: Tensor, domain: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the indices of the training and of the test samples of a source without a test part."""
    if y.is_floating_point():
        y = torch.zeros(len(y), dtype=torch.int64)
    strata = y if domain is None else domain * (int(y.max()) + 1 if len(y) else 1) + y
    rest, held = holdout(strata, TEST_SHARE, Draws(0, "test part"))
    return rest.sort().values, held.sort().values


SourceLike: TypeAlias = Source | str | tuple[Any, ...]
SOURCES: Registry[Source] = Registry("source", "perdure.scenarios")


def as_source(source: SourceLike) -> Source:
    """Return the source that a name, a spec like ``"table(path='x.csv', label='y')"`` or arrays mean.

    Arrays come as ``(x, y)`` or ``(x, y, x_test, y_test)``.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str):
        return SOURCES.get(source)
    if isinstance(source, tuple) and len(source) in (2, 4):
        return Source.build("arrays", *source)
    raise PerdureError(
        f"expected a source's name, a Source, (x, y) or (x, y, x_test, y_test); found {type(source).__name__}"
    )
