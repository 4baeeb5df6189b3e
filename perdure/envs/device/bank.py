"""Instances of tasks as rows of tables, which the batched phone starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from perdure.envs.device.phone import Phone
from perdure.envs.device.tables import Compiler, Tables, answer_hash, whole
from perdure.envs.device.task import SLOTS, Task


@dataclass(frozen=True, eq=False)
class Bank:
    """Instances of tasks, ready to start: ``[instances, ...]`` each.

    Parameters
    ----------
    cells:
        What the phone holds, int16.
    digest, goal:
        Its hash, and what it must be in the end.
    answers:
        The sum of the hashes of what must be answered.
    template:
        One-hot vectors of the template, float32.
    slots:
        The numbers of the slots' values, -1 where there is none, ``[instances * SLOTS]``.
    told:
        Which slots the goal tells, a bit each.
    equal:
        Which slots a text is the value of, a bit each, ``[instances * texts]`` int16; those of no use to a
        policy (:meth:`~perdure.envs.device.task.Task.usable`) left out.
    shares:
        The numbers of slots' values as shares of all texts, ``[instances, SLOTS]`` float32.
    budget:
        In steps.
    """

    cells: Tensor
    digest: Tensor
    goal: Tensor
    answers: Tensor
    template: Tensor
    slots: Tensor
    told: Tensor
    equal: Tensor
    shares: Tensor
    budget: Tensor


def bank(compiler: Compiler, tables: Tables, tasks: list[Task]) -> Bank:
    """Return tasks as rows of tables."""
    phone, codes = Phone(compiler.catalogue), compiler.codes
    cells, goals, answers = [], [], []
    slots = np.full((len(tasks), SLOTS), -1)
    equal = np.zeros((len(tasks), len(codes.texts)), dtype=np.int16)
    told = np.zeros(len(tasks), dtype=np.int64)
    for i, task in enumerate(tasks):
        task.initialize_task(phone)
        cells.append(compiler.fill(phone.contents))
        goals.append(compiler.fill(task.expected))
        answers.append(int(answer_hash(whole([codes.texts[text] for text in task.answers])).sum()))
        told_names, usable = task.told(), task.usable()
        for k, (name, text) in enumerate(task.params.items()):
            slots[i, k] = codes.texts[text]
            equal[i, slots[i, k]] |= (name in usable) << k
            told[i] |= (name in told_names) << k
    template = torch.tensor([[name == task.name() for name in codes.templates] for task in tasks]).float()
    shares = torch.from_numpy(np.maximum(slots, 0) / len(codes.texts)).float()
    before, after = np.stack(cells), np.stack(goals)
    digest, goal = (compiler.digest(held, tables.salts) for held in (before, after))
    return Bank(
        torch.from_numpy(before), digest, goal, whole(answers), template,
        whole(slots.ravel()), whole(told), torch.from_numpy(equal.ravel()), shares,
        whole([task.budget() for task in tasks]),
    )  # fmt: skip
