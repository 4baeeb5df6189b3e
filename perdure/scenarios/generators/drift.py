"""Streams of one environment whose physics drift from one setting to another, in small steps."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

from perdure.core.checks import check_number, check_one_of, check_whole, checked
from perdure.core.errors import PerdureError
from perdure.envs.contract import Env
from perdure.scenarios.contract.stream import MOST_TASKS, Stream
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.physics import BALANCE, CARTS, LEAST, PENDULUMS, SWING, Policies
from perdure.scenarios.generators.recipes import Algorithm

TASKS = 20


@checked
def cartpole_drift(
    tasks: int | None = None,
    *,
    start: str = "usual",
    end: str = "heavy pole",
    path: Sequence[float] | None = None,
    there_and_back: bool = False,
    steps: int = 20_000,
    episodes: int = 10,
    setting: Policies = "domain",
    algorithm: Algorithm = "ppo",
) -> Stream:
    """Make many tasks of keeping a pole upright on a cart, whose physics drift from one setting to another.

    This is gradual drift as a sequence of close tasks: masses, lengths, gravity and force lie between those
    of ``start`` and ``end``, ``(1 - share) start + share end`` with a share for each task, and stay the same
    within it. In the domain setting a policy is not told which task it is in; strategies still do at the end
    of each what they do at the end of a task. Learned and scored as ``cartpole-physics`` is.

    Parameters
    ----------
    tasks:
        How many; 20 unless ``path`` says otherwise. The shares are then spread evenly from 0 to 1.
    start, end:
        Two of the tasks of ``cartpole-physics``: ``"usual"``, ``"swapped"``, ``"heavy pole"``, ``"weak"``,
        ``"moon"``. On the way to ``"swapped"`` the force passes through 0: no task may lie halfway.
    path:
        The share of each task, in [0, 1].
    there_and_back:
        Whether the second half of the tasks is the first one's backwards, so that what was learned recurs.
    steps, episodes, setting, algorithm:
        As for :func:`cartpole_physics`.

    Raises
    ------
    PerdureError
        For physics that there are not, a share outside [0, 1], and a way there and back of under four tasks,
        or beside ``path``.

    Examples
    --------
    >>> [str(task.train.env) for task in cartpole_drift(3, end="weak")]
    ['cartpole', 'cartpole(force=7.0)', 'cartpole(force=4.0)']
    >>> cartpole_drift(4, there_and_back=True).names
    ['0%', '100%', '100% (again)', '0% (again)']
    """
    envs = _drifting(CARTS, start, end, _shares(tasks, path, there_and_back))
    return acting("cartpole-drift", envs, BALANCE[algorithm], setting, steps, episodes, best=500.0)


@checked
def pendulum_drift(
    tasks: int | None = None,
    *,
    start: str = "usual",
    end: str = "moon",
    path: Sequence[float] | None = None,
    there_and_back: bool = False,
    steps: int = 40_000,
    episodes: int = 10,
    setting: Policies = "domain",
) -> Stream:
    """Make many tasks of swinging a rod up and holding it, whose physics drift from one setting to another.

    The actions are continuous; a return is 0 at most. Everything else is as for :func:`cartpole_drift`.

    Parameters
    ----------
    tasks, path, there_and_back:
        As for :func:`cartpole_drift`.
    start, end:
        Two of the tasks of ``pendulum-physics``: ``"usual"``, ``"swapped"``, ``"long"``, ``"moon"``.
    steps, episodes, setting:
        As for :func:`cartpole_physics`.
    """
    envs = _drifting(PENDULUMS, start, end, _shares(tasks, path, there_and_back))
    return acting("pendulum-drift", envs, SWING, setting, steps, episodes, LEAST, best=0.0)


def _shares(tasks: int | None, path: Sequence[float] | None, there_and_back: bool) -> list[float]:
    """Return how far each task is on the way, in [0, 1]."""
    if path is not None:
        if there_and_back:
            raise PerdureError("`path` says itself which way the tasks go: leave `there_and_back` out")
        if not path or (tasks is not None and tasks != len(path)):
            raise PerdureError(
                f"`path` must have a share for each task; found {len(path)} shares, tasks={tasks}"
            )
        return [check_number("a share of `path`", share, high=1, ends="[]") for share in path]
    least = 4 if there_and_back else 2
    number = check_whole("`tasks`", TASKS if tasks is None else tasks, least=least, most=MOST_TASKS)
    last = number - 1
    if there_and_back:
        return [min(i, last - i) / (last // 2) for i in range(number)]
    return [i / last for i in range(number)]


def _drifting(table: Mapping[str, Env], start: str, end: str, shares: Sequence[float]) -> dict[str, Env]:
    """Return an environment for each share of the way between two of a table, by names that say the share."""
    for name, value in (("start", start), ("end", end)):
        check_one_of(name, value, list(table))
    if start == end:
        raise PerdureError(f"expected physics that change; found start and end both {start!r}")
    found: dict[str, Env] = {}
    times: Counter[str] = Counter()
    for label, share in zip(_labels(shares), shares, strict=True):
        again = times[label]
        ending = "" if again == 0 else " (again)" if again == 1 else f" (again {again})"
        found[label + ending] = between(table[start], table[end], share)
        times[label] += 1
    return found


def _labels(shares: Sequence[float]) -> list[str]:
    """Return shares as percentages, with as many digits as tell different ones apart, up to ten."""
    labels: list[str] = []
    for digits in range(10):
        labels = [f"{share:.{digits}%}" for share in shares]
        if len({*labels}) == len({*shares}):
            break
    return labels


def between(start: Env, end: Env, share: float) -> Env:
    """Return the environment that is a share of the way from one to another of its class.

    Parameters
    ----------
    start, end:
        Environments of one class that differ in real numbers alone.
    share:
        In [0, 1]: 0 is the start, 1 the end.

    Examples
    --------
    >>> from perdure.envs import CartPole
    >>> between(CartPole(), CartPole(half=1.5), 0.5)
    cartpole(half=1.0)
    """
    changes = {}
    for field in dataclasses.fields(start):
        a, b = getattr(start, field.name), getattr(end, field.name)
        if a != b:
            changes[field.name] = (1 - share) * a + share * b
    return dataclasses.replace(start, **changes)
