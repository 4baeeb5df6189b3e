"""What the agents of a team tell each other, what it costs in bits, and what it is good for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perdure.analysis.wellformed import is_whole
from perdure.core.errors import PerdureError, shown

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
# Random orders of labels that the control of an estimate is the mean of, and steps of k-means at most.
ORDERS, STEPS = 20, 50


@dataclass(frozen=True)
class Information:
    """How much a message tells of a label, in bits, and what the same estimate says of no relation at all.

    Parameters
    ----------
    bits:
        Mutual information of the messages' codes and the labels.
    control:
        The mean of the same estimate over shuffled labels: its bias, which grows with the number of codes.
    entropy:
        Of the labels: the most that a message can tell of them.
    """

    bits: float
    control: float
    entropy: float


@dataclass(frozen=True)
class Understood:
    """How much of what agents say is read rightly by one who knows what they used to say.

    Parameters
    ----------
    then:
        Of messages of that time: the mean over labels of the share that is read rightly.
    now:
        Of messages since.
    chance:
        Of guessing: one over the number of labels of that time.
    """

    then: float
    now: float
    chance: float


@dataclass(frozen=True, eq=False)
class Messages:
    """What was said and heard in the scored episodes of a team, and what returns are without it.

    All have ``steps`` as many as the longest episode; what is after the end of a shorter one (``on`` is
    False) does not count, nor what agents say who are not there.

    Parameters
    ----------
    messages:
        What each agent said, ``[steps, episodes, agents, size]``; of several rounds, one behind the other.
    links:
        How much each agent (row) heard of each (column), ``[steps, episodes, agents, agents]``, the mean of
        the rounds: 0 where a link was cut.
    bits:
        Sent in a step by all agents together, ``[steps, episodes]``: the bits of a message for each link
        that was kept, in each round.
    observations:
        What the agents saw, ``[steps, episodes, agents, entities, features]``.
    actions:
        What they did, ``[steps, episodes, agents]``.
    present:
        Which agents there were, ``[steps, episodes, agents]`` bool.
    on:
        Which episodes went on, ``[steps, episodes]`` bool.
    returns:
        Of the episodes, ``[episodes]``.
    returns_shuffled:
        Of the same episodes where each hears, at each step, what is said in another one: always the same one,
        by the same agents. All else is as it was: starts, draws of the environment, how actions are chosen.
    returns_silent:
        Of the same episodes where nobody hears anything.
    """

    messages: Floats
    links: Floats
    bits: Floats
    observations: Floats
    actions: Whole
    present: Mask
    on: Mask
    returns: Floats
    returns_shuffled: Floats
    returns_silent: Floats

    def __repr__(self) -> str:
        steps, episodes, agents, size = self.messages.shape
        usual, shuffled, silent = (
            f"{values.mean():.4g}" for values in (self.returns, self.returns_shuffled, self.returns_silent)
        )
        return (
            f"Messages of {size} numbers, {agents} agents, {episodes} episodes of up to {steps} steps: "
            f"return {usual}, shuffled {shuffled}, silent {silent}, {self.bits_per_step:.4g} bits a step"
        )

    @property
    def bits_per_step(self) -> float:
        """Bits sent in a step by all agents together, the mean over all steps of all episodes."""
        return float(self.bits[self.on].mean())

    @property
    def pairs_per_step(self) -> float:
        """Pairs of agents of which one hears the other in a step, the mean over all steps of all episodes.

        In how many rounds does not count; in ``links_per_step`` of the costs each round does.
        """
        return float((self.links > 0).sum((2, 3))[self.on].mean())

    @property
    def who_hears_whom(self) -> Floats:
        """How often each agent (row) heard each (column), ``[agents, agents]``, where both were there.

        NaN on the diagonal, and where two were never there together.
        """
        there = self.on[..., None] & self.present
        both = there[..., :, None] & there[..., None, :]
        often = ((self.links > 0) & both).sum((0, 1)) / np.maximum(both.sum((0, 1)), 1)
        never = (both.sum((0, 1)) == 0) | np.eye(often.shape[0], dtype=bool)
        return np.where(never, np.nan, often)

    def information(self, labels: npt.ArrayLike, agent: int, clusters: int = 16) -> Information:
        """Return how much the messages of an agent tell of a label of what it sees.

        Messages become whole numbers by :func:`codes_of`; see :func:`mutual_information`.

        Parameters
        ----------
        labels:
            A whole number for each step of each episode, ``[steps, episodes]``: usually made of
            :attr:`observations`.
        agent:
            Who says the messages.
        clusters:
            How many codes there are at most.
        """
        found, counts = self._checked(labels, agent)
        codes = codes_of(self.messages[:, :, agent][counts], clusters)
        return mutual_information(codes, found[counts])

    def _checked(self, labels: npt.ArrayLike, agent: int) -> tuple[Whole, Mask]:
        """Return labels, and the steps at which the agent is there, ``[steps, episodes]`` each."""
        found, agents = np.asarray(labels), self.present.shape[-1]
        if found.shape != self.on.shape or not np.issubdtype(found.dtype, np.integer):
            kind = f"{list(found.shape)} {found.dtype}"
            raise PerdureError(f"expected labels {list(self.on.shape)}, whole numbers; found {kind}")
        if not is_whole(agent) or not 0 <= agent < agents:
            raise PerdureError(f"agent must be a whole number from 0 to {agents - 1}; found {shown(agent)}")
        counts = self.on & self.present[:, :, agent]
        if not counts.any():
            raise PerdureError(f"expected an agent who is there; found agent {agent}, who never is")
        if not np.isfinite(self.messages[:, :, agent][counts]).all():
            raise PerdureError(f"expected finite messages; found some of agent {agent} that are not")
        return found, counts


def check_messages(messages: object) -> None:
    """Refuse what are no messages."""
    if not isinstance(messages, Messages):
        raise PerdureError(f"expected what `trained[name].messages()` returns; found {shown(messages)}")


def understood(
    earlier: Messages, later: Messages, label: Callable[[Messages], npt.ArrayLike], agent: int
) -> Understood:
    """Return whether messages still mean what they meant: what is forgotten of a language.

    A reader takes each message for what the nearest one (in Euclidean distance) of the even episodes of
    ``earlier`` meant. ``then`` is read in its odd episodes, ``now`` in all of ``later``. Shares are means
    over the labels that there are, so that what is rarely said counts as much as what is often said.

    Parameters
    ----------
    earlier, later:
        What was said in a task before and after others were learned; of messages of one size.
    label:
        Makes of messages what they may be about: whole numbers, ``[steps, episodes]``.
    agent:
        Who says the messages.

    Examples
    --------
    >>> understood(before, after, where_it_stands, agent=0)  # doctest: +SKIP
    Understood(then=0.93, now=0.41, chance=0.33)
    """
    from scipy.spatial import cKDTree

    for one in (earlier, later):
        check_messages(one)
    if not callable(label):
        raise PerdureError(f"label must be a function of messages; found {shown(label)}")
    sizes = [one.messages.shape[-1] for one in (earlier, later)]
    if sizes[0] != sizes[1]:
        raise PerdureError(f"expected messages of one size; found {sizes[0]} and {sizes[1]} numbers")
    known, counts = earlier._checked(label(earlier), agent)
    even = np.broadcast_to(np.arange(counts.shape[1]) % 2 == 0, counts.shape)
    for part, name in ((even, "an even"), (~even, "an odd")):
        if not (counts & part).any():
            raise PerdureError(f"expected an agent who is there in {name} episode; found none")
    said, meant = earlier.messages[:, :, agent], known[counts & even]
    nearest = cKDTree(said[counts & even])

    def share(messages: Floats, labels: Whole) -> float:
        right = meant[nearest.query(messages)[1]] == labels
        return float(np.mean([right[labels == one].mean() for one in np.unique(labels)]))

    then = share(said[counts & ~even], known[counts & ~even])
    labels, there = later._checked(label(later), agent)
    now = share(later.messages[:, :, agent][there], labels[there])
    return Understood(then, now, 1 / len(np.unique(meant)))


def codes_of(messages: Floats, clusters: int = 16) -> Whole:
    """Return a whole number for each message ``[n, size]``, ``[n]``: equal ones have the same.

    Up to ``clusters`` different messages, such as those of a few bits, keep a code each. More of them are put
    together by k-means of at most ``clusters`` centres, which start at messages far from each other: the
    first one, then always the one that is farthest from those before. There is no draw in it.
    """
    if not is_whole(clusters) or clusters < 1:
        raise PerdureError(f"clusters must be a whole number, at least 1; found {shown(clusters)}")
    if not np.isfinite(messages).all():
        raise PerdureError("expected finite messages; found some that are not")
    kinds, codes = np.unique(messages, axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    if len(kinds) <= clusters:
        return np.asarray(codes, dtype=np.int64)
    centres = messages[:1]
    for _ in range(clusters - 1):
        centres = np.concatenate([centres, messages[_squares(messages, centres).min(1).argmax()][None]])
    nearest = _squares(messages, centres).argmin(1)
    for _ in range(STEPS):
        # Each centre has a message: no two are alike, as there are more different messages than centres.
        centres = np.stack([messages[nearest == k].mean(0) for k in range(clusters)])
        before = nearest
        nearest = _squares(messages, centres).argmin(1)
        if np.array_equal(nearest, before):
            break
    return np.asarray(nearest, dtype=np.int64)


def _squares(messages: Floats, centres: Floats) -> Floats:
    """Squared distances, ``[n, centres]``."""
    return np.stack([np.square(messages - centre).sum(1) for centre in centres], 1)


def mutual_information(codes: npt.ArrayLike, labels: npt.ArrayLike, seed: int = 0) -> Information:
    """Return the mutual information of two rows of whole numbers, ``[n]`` each, as their frequencies say.

    ``I = sum_(c, l) p(c, l) log2(p(c, l) / (p(c) p(l)))``. The estimate is too high by about
    ``(codes - 1) (labels - 1) / (2 n ln 2)`` bits, also where nothing is told: the control shows by how much.

    Parameters
    ----------
    codes, labels:
        The whole numbers.
    seed:
        Decides the orders of the control.
    """
    first, second = np.asarray(codes), np.asarray(labels)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise PerdureError(
            f"expected as many codes as labels, [n] each; found {list(first.shape)} and {list(second.shape)}"
        )
    for name, values in (("codes", first), ("labels", second)):
        if not np.issubdtype(values.dtype, np.integer):
            raise PerdureError(f"{name} must be whole numbers; found {values.dtype}")
    if not is_whole(seed) or seed < 0:
        raise PerdureError(f"seed must be a whole number of at least 0; found {shown(seed)}")
    first, second = (np.unique(values, return_inverse=True)[1] for values in (first, second))
    draws = np.random.Generator(np.random.Philox(seed))
    control = [_information(first, draws.permutation(second)) for _ in range(ORDERS)]
    entropy = _information(second, second)
    return Information(_information(first, second), float(np.mean(control)), entropy)


def _information(codes: Any, labels: Any) -> float:
    joint = np.zeros((codes.max() + 1, labels.max() + 1))
    np.add.at(joint, (codes, labels), 1.0 / len(codes))
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    # Rounding may bring it below 0, where it cannot be.
    return max(0.0, float((joint[there] * np.log2(joint[there] / apart[there])).sum()))
