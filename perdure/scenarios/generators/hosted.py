"""Streams of environments that Gymnasium knows, stepped on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from perdure.core.checks import check_whole, checked
from perdure.core.errors import PerdureError, shown
from perdure.core.specs import write
from perdure.envs.host_parts import imported, steps_in
from perdure.envs.hosted import Hosted
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.physics import Policies
from perdure.scenarios.generators.recipes import PPORecipe

# What attributes of an environment are set to, by their paths.
Numbers = Mapping[str, float | Sequence[float]]
NOTE = (
    "its environments are stepped on the host, one copy after the other: slower than Perdure's own, and the "
    "same again only with the same versions of the packages that they come from"
)


@checked
def gymnasium_ids(
    ids: Sequence[str],
    options: Sequence[Mapping[str, Any]] = (),
    physics: Sequence[Numbers] = (),
    *,
    names: Sequence[str] = (),
    wrapper: str | Callable[..., Any] | None = None,
    scale: float = 1.0,
    limit: int | None = None,
    steps: int = 30_000,
    episodes: int = 10,
    setting: Policies = "domain",
    copies: int = 8,
    horizon: int = 32,
    passes: int = 20,
    batch_size: int = 256,
    lr: float = 0.001,
    discount: float = 0.98,
    trace: float = 0.8,
    entropy: float = 0.0,
    worst: float = 0.0,
    best: float | None = None,
) -> Stream:
    """Make a task of each of some environments that Gymnasium knows.

    Learned and scored as ``cartpole-physics`` is, but that copies are stepped one after the other on the
    host, and observations are flattened. They are Box, or Discrete, of which a 1 at its place is seen;
    actions are Discrete or Box. Tasks may differ in how many numbers a row of observations has, and in how
    many Discrete actions there are: observations are padded with zeros, actions that a task lacks are never
    taken. Everything else of the spaces is the same.

    What an environment does must be decided by its seed. The copies of each replica are its own, and their
    seeds a function of its seed and of the step of training at which they begin.

    Parameters
    ----------
    ids:
        As ``gymnasium.make`` takes them; ``"minigrid:MiniGrid-Empty-5x5-v0"`` imports the package
        ``minigrid`` before. A single one may have several ``options`` or ``physics``: a task for each.
    options:
        Keyword arguments of each task's environment.
    physics:
        Attributes of each task's environment that are set once it is made, by their paths:
        ``{"gravity": 20.0}``, ``{"model.opt.gravity": [0, 0, -5]}``. What an environment has computed of them
        before stays as it was.
    names:
        Of the tasks; default: the ids, with what differs.
    wrapper:
        Of all environments, as a function or class of a module or as ``"module:name"``: for observations of
        several things, ``"minigrid.wrappers:ImgObsWrapper"`` or
        ``"gymnasium.wrappers:FlattenObservation"``.
    scale:
        What observations are multiplied by: 1 / 255 suits pictures.
    limit:
        Steps after which an episode is cut off; default: as Gymnasium says for each id, 1000 where it says
        nothing.
    steps, episodes, setting:
        As for :func:`cartpole_physics`.
    copies, horizon, passes, batch_size, lr, discount, trace, entropy:
        How a policy is learned: copies of the environment for each replica, steps of a rollout of each,
        passes over a rollout, samples of a step, Adam's learning rate, the factors of a step and of traces,
        and the weight of the policy's entropy.
    worst, best:
        Bounds of the return, by which metrics bring it to [0, 1]; none where the best is not known.

    Raises
    ------
    PerdureError
        For an id that is not known or cannot be made, spaces that do not fit together, physics that are not
        there or do not last, and an environment that its seed does not decide.

    Examples
    --------
    >>> stream = gymnasium_ids(["CartPole-v1"], physics=[{}, {"gravity": 20.0}])
    >>> stream.names
    ['CartPole-v1', 'CartPole-v1(gravity=20.0)']
    """
    recipe = PPORecipe(
        copies=copies, horizon=horizon, passes=passes, batch_size=batch_size, lr=lr, discount=discount,
        trace=trace, entropy=entropy,
    )  # fmt: skip
    envs = environments(ids, options, physics, names, wrapper, scale, limit)
    return acting("gymnasium", envs, recipe, setting, steps, episodes, worst, best, (NOTE,))


def environments(
    ids: Sequence[str],
    options: Sequence[Mapping[str, Any]] = (),
    physics: Sequence[Numbers] = (),
    names: Sequence[str] = (),
    wrapper: str | Callable[..., Any] | None = None,
    scale: float = 1.0,
    limit: int | None = None,
) -> dict[str, Hosted]:
    """Return the environments by their tasks' names; refuse what does not fit, as :func:`gymnasium_ids`."""
    if not ids:
        raise PerdureError("ids must name at least one environment; found none")
    tasks = max(len(ids), len(options), len(physics)) if len(ids) == 1 else len(ids)
    for what, given in (("options", options), ("physics", physics), ("names", names)):
        if given and len(given) != tasks:
            raise PerdureError(f"{what} must have one entry for each of {tasks} tasks; found {len(given)}")
    usual = [steps_in(id) for id in ids]
    limits = usual if limit is None else [check_whole("limit", limit)] * len(ids)
    path = None if wrapper is None else _path(wrapper)
    found: dict[str, Hosted] = {}
    for i in range(tasks):
        at = i if len(ids) > 1 else 0
        id = ids[at]
        own, set_to = dict(options[i]) if options else {}, dict(physics[i]) if physics else {}
        for key, value in own.items():
            _check_plain(f"options of task {i}: {key}", value)
        name = names[i] if names else write(id, kwargs={**own, **set_to})
        if name in found:
            raise PerdureError(f"names of tasks must differ; {shown(name)} is there twice")
        values = tuple((k, tuple(v) if isinstance(v, Sequence) else v) for k, v in sorted(set_to.items()))
        found[name] = Hosted(id, tuple(sorted(own.items())), values, path, scale, limit=limits[at])
    for env in found.values():
        env.check()
    first = next(iter(found.values()))
    for name, env in found.items():
        if not first.joins(env):
            raise PerdureError(
                f"task {name!r}: expected the first task's {first.form}, or other numbers of observations in "
                f"a row and of discrete actions; found {env.form}"
            )
    return found


def _path(wrapper: str | Callable[..., Any]) -> str:
    """Return ``"module:name"``: what a wrapper is known by in another process too."""
    if isinstance(wrapper, str):
        imported(wrapper)
        return wrapper
    path = f"{getattr(wrapper, '__module__', '')}:{getattr(wrapper, '__qualname__', '')}"
    if "<" in path or imported(path) is not wrapper:
        raise PerdureError(f"a wrapper must be a function or class of a module; found {shown(wrapper)}")
    return path


def _check_plain(what: str, value: Any) -> None:
    """Refuse values that do not say what they are in one form."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            _check_plain(what, one)
    elif isinstance(value, Mapping):
        for one in value.values():
            _check_plain(what, one)
    elif not isinstance(value, str | bool | int | float | np.number | None):
        raise PerdureError(f"{what} must be numbers, words, or lists or tables of such; found {shown(value)}")
