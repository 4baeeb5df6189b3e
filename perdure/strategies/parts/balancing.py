"""What balances tasks: weights of their losses, or of their gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field
from typing import ClassVar, Literal, TypeVar, dataclass_transform

from torch import Tensor

from perdure.core.batch import State
from perdure.core.errors import PerdureError
from perdure.core.named import Named, entering
from perdure.core.random import Rng
from perdure.core.registry import Registry

Needs = Literal["losses", "gradients", "last layer"]

BALANCING: Registry[Rule] = Registry("balancing rule", "perdure.strategies")
R = TypeVar("R", bound="Rule")


@dataclass(frozen=True, repr=False)
class Rule(Named):
    """How much each task counts in a step: pure functions of ONE model's losses and gradients.

    T is the number of losses: one for each task, or for each target of the only task. All numbers are
    float64, and the methods are mapped over replicas: no branch on a value, no number of rounds that depends
    on one (:func:`perdure.strategies.parts.node.one_node` makes an exception).
    """

    name: ClassVar[str] = "rule"
    # What the weights are made of. "losses": the losses alone, which they weigh, so that all parameters see
    # them. "gradients": products of the tasks' gradients with respect to the parameters that all tasks share;
    # the weights are of these gradients. "last layer": products with respect to the last of the layers that
    # all tasks share; the weights are of the losses again.
    needs: ClassVar[Needs] = "gradients"
    # Whether `update` is given the losses after the step, which takes one more forward pass.
    looks_after: ClassVar[bool] = False

    def init(self, tasks: int, like: Tensor) -> State:
        """Allocate the state for so many losses: float64 tensors on the device of ``like``."""
        return {}

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        """Return the weight of each task, ``[T]``.

        Parameters
        ----------
        gram:
            Products of the tasks' gradients, ``[T, T]``; empty where the rule needs losses only.
        losses:
            The tasks' losses, ``[T]``.
        state:
            The rule's state.
        rng:
            The random numbers of this step.
        """
        raise PerdureError(f"{type(self).__name__} does not say how to weigh: override `weights`")

    def update(self, gram: Tensor, losses: Tensor, after: Tensor, state: State) -> State:
        """Return the state after a step; asked only of rules that have one.

        ``gram`` and ``losses`` are those before the step, ``after`` the losses of the same samples after it
        (those before it where the rule does not ask for others).
        """
        return state


@dataclass_transform(frozen_default=True, field_specifiers=(field, Field))
def balancing_rule(name: str) -> Callable[[type[R]], type[R]]:
    """Make the decorated class a frozen dataclass of its parameters, and enter it under ``name``.

    ``balance(rule=name)`` knows it from then on; its arguments are held against their annotations. What is no
    rule is refused, and so are one that has another name already, and a name that is taken.
    """
    return entering(BALANCING, Rule, "balancing_rule", name, repr=False)
