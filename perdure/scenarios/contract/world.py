"""Worlds: parts of a task whose samples the policy makes itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from perdure.core.batch import Rows, State
from perdure.core.errors import PerdureError
from perdure.core.random import Rng

# Outputs of the model (as the strategy answers) for observations [n, ...].
Act = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class World:
    """A world that a policy acts in: what it lives through are the samples that it learns from.

    All functions are pure, for ONE replica, over tensors of fixed shapes, and are recorded and mapped as a
    training step is: no branch on a value. A world may hold many copies that run side by side.

    Parameters
    ----------
    horizon:
        Steps of the world between two updates: a rollout.
    passes:
        How often a rollout is passed over in training. One epoch of a phase is one rollout.
    limit:
        Steps that an episode which is scored may take at most.
    samples:
        How many samples a rollout makes: what :meth:`rows` returns.
    """

    horizon: int
    passes: int
    limit: int
    samples: int

    def __len__(self) -> int:
        return self.samples

    @property
    def closed(self) -> tuple[int, ...]:
        """Outputs of the model that are of no use here: those of actions that only other tasks have.

        No task of the stream learns or acts by an output that is closed to it: it is set to a large negative
        number (:class:`perdure.core.net.Net`).
        """
        return ()

    def begin(self, rng: Rng) -> State:
        """Return the world as training starts."""
        raise PerdureError(f"{type(self).__name__} does not say how it begins: override `begin`")

    def play(self, act: Act, state: State, rng: Rng) -> tuple[State, Rows]:
        """Go one step on; return the world after it, and what is remembered of the step."""
        raise PerdureError(f"{type(self).__name__} does not say how it goes on: override `play`")

    def rows(self, act: Act, state: State, trail: Rows) -> Rows:
        """Return a rollout as samples: ``x [samples, ...]``, ``y [samples]`` and what the loss needs besides.

        Parameters
        ----------
        act, state:
            The policy, and the world after the last step.
        trail:
            What was remembered of each step, ``[horizon, ...]``.
        """
        raise PerdureError(f"{type(self).__name__} does not say what it makes: override `rows`")

    def start(self, rng: Rng) -> State:
        """Return the worlds of episodes that are scored."""
        raise PerdureError(f"{type(self).__name__} does not say where episodes start: override `start`")

    def step(self, act: Act, state: State, rng: Rng) -> State:
        """Go one step on in the episodes that are scored; what has ended stays as it is."""
        raise PerdureError(f"{type(self).__name__} does not say how episodes go on: override `step`")

    def over(self, state: State) -> Tensor | None:
        """Tell whether all episodes that are scored have ended, 0-d bool: nothing changes from then on.

        ``None``, the default, where a world does not say: all ``limit`` steps are taken.
        """
        return None

    def score(self, state: State) -> Tensor:
        """Return the score of each episode, ``[episodes]``, after ``limit`` steps; a task's is their mean."""
        raise PerdureError(f"{type(self).__name__} does not say how episodes are scored: override `score`")

    def watch(self, act: Act, state: State, rng: Rng) -> tuple[State, Rows]:
        """Go one step on as :meth:`step` does, and tell of it: rows ``[episodes, ...]``.

        ``x`` is what the policy saw, ``action`` what it did, ``reward`` what that brought, and ``on`` 1 where
        the episode was going on, else 0.
        """
        raise PerdureError(f"{type(self).__name__} does not tell of its episodes: override `watch`")

    def glimpse(self, state: State) -> State:
        """Return what pictures of the scored episodes are made of: tensors ``[episodes, ...]``.

        ``on [episodes]`` is 1 where an episode goes on, else 0.
        """
        raise PerdureError(f"{type(self).__name__} does not show its episodes: override `glimpse`")

    def frames(self, glimpses: State) -> Tensor:
        """Return a small picture of each row of glimpses ``[n, ...]``, ``[n, height, width, 3]`` uint8."""
        raise PerdureError(f"{type(self).__name__} does not say what it looks like: override `frames`")

    def example(self) -> Rows:
        """Return one sample as rows ``[1, ...]``, by the names that :meth:`rows` gives."""
        who = type(self).__name__
        raise PerdureError(f"{who} does not say what its samples look like: override `example`")

    def digest(self) -> bytes:
        """Return what identifies the world: by default its type and parameters."""
        return repr((type(self).__qualname__, vars(self))).encode()
