"""The contract that every environment keeps, for users to run on their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from perdure.core.batch import State
from perdure.core.checks import check_whole
from perdure.core.layer_draws import NoDraws
from perdure.core.random import Rng
from perdure.core.refusals import describe
from perdure.envs.actions import Actions, Continuous
from perdure.envs.contract import Env
from perdure.envs.registry import ENVS, get
from perdure.testing.acted import Acted
from perdure.testing.batched import check_batched
from perdure.testing.form import check_class
from perdure.testing.promises import Broken, first_line
from perdure.testing.runs import CLOSE

# How many copies, replicas and seeds checks take; how far beyond their bounds actions go, in widths of these.
COPIES, REPLICAS, SEEDS, BEYOND = 4, 3, 8, 10.0


def check_env(env: Env, *, steps: int = 200) -> None:
    """Refuse an environment that does not keep the contract of environments, at the first promise broken.

    Checked are: that it is a frozen dataclass that its name builds again; its shape, actions and bounds;
    functions that leave their arguments alone, draw from ``rng`` only, and return what they should, finite,
    observations within bounds, a state of fixed structure, shapes and types; that two runs give the same,
    and another seed something else where there are draws; that copies do not influence each other, nor all
    start alike where starts are drawn; that it maps over replicas, which equal one by one; actions at the
    edges of what can be done, and beyond, which must be cut; that it runs in float64; and that many copies
    are the same in Gymnasium's form (:mod:`perdure.envs.gym`) as each alone, pictures
    included, where there are any.

    Parameters
    ----------
    env:
        What to check.
    steps:
        How long runs are; episodes that end start anew within them.

    Raises
    ------
    PerdureError
        With one line that says which promise, and what was found.

    Examples
    --------
    >>> from perdure.envs import CartPole
    >>> check_env(CartPole(gravity=20.0))
    """
    if not isinstance(env, Env):
        raise Broken(f"expected an Env; found {type(env).__name__}")
    check_whole("steps", steps)
    _check_form(env)
    acted = Acted(env)
    try:
        with torch.no_grad():
            _check_declared(env)
            first = _run(acted, 0, steps)
            _check_repeated(acted, first, steps)
            _check_seeds(acted, min(steps, 20))
            for check in (_check_double, _check_copies, _check_edges, _check_mapped):
                check(acted)
            check_batched(env, COPIES, min(steps, 60))
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"{env}: {type(error).__name__}: {first_line(error)}") from error


# ---- what it is ---------------------------------------------------------------------------------------


def _check_form(env: Env) -> None:
    check_class(env, Env, "environment")
    if env.name in ENVS and (again := get(str(env))) != env:
        raise Broken(f"{env} must be what its name builds; that is {again!r}")


def _check_declared(env: Env) -> None:
    """Refuse a shape, actions and bounds that are none, or that differ when asked for once more."""
    shape = getattr(env, "shape", None)
    if not isinstance(shape, tuple) or not shape or not all(type(n) is int and n > 0 for n in shape):
        raise Broken(f"{env}: shape must be a tuple of whole numbers, that of an observation; found {shape}")
    if not isinstance(env.actions, Actions):
        kind = type(env.actions).__name__
        raise Broken(f"{env}: actions must be Discrete, Continuous or Team; found {kind}")
    bounds = env.bounds
    tensors = isinstance(bounds, tuple) and len(bounds) == 2 and all(isinstance(b, Tensor) for b in bounds)
    if not tensors or any(tuple(bound.shape) != shape for bound in bounds):
        raise Broken(f"{env}: bounds must be two tensors {list(shape)}, the least and the largest")
    if not bool((bounds[0] < bounds[1]).all()):
        raise Broken(f"{env}: bounds must have low < high everywhere")


# ---- runs ---------------------------------------------------------------------------------------------


def _run(acted: Acted, seed: int, steps: int) -> list[Tensor]:
    """Return observations, rewards and ends of all steps of a few copies; each sees the same actions."""
    key, age = torch.tensor(seed), torch.zeros(COPIES, dtype=torch.int64)
    state = acted.reset(Rng(key, torch.tensor(0), "start/"), COPIES)
    trail = [acted.observe(state)]
    actions = acted.actions(Rng(torch.tensor(0), torch.tensor(0), "check/"), steps * COPIES)
    for t, action in enumerate(actions.chunk(steps)):
        at = torch.tensor(t)
        state, reward, ended = acted.step(state, action, Rng(key, at, "step/"))
        trail += [acted.observe(state), reward, ended]
        age += 1
        over = ended | (age >= acted.env.limit)
        if bool(over.any()):
            fresh = acted.reset(Rng(key, at, "reset/"), COPIES)
            state = {k: _where(over, fresh[k], v) for k, v in state.items()}
            age = torch.where(over, 0, age)
    return trail


def _where(condition: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(condition.view(-1, *(1,) * (one.ndim - 1)), one, other)


def _check_repeated(acted: Acted, first: list[Tensor], steps: int) -> None:
    again = _run(acted, 0, steps)
    if not all(torch.equal(a, b) for a, b in zip(first, again, strict=True)):
        raise Broken(f"{acted.env}: two runs with the same draws must give the same; they differ")


def _check_seeds(acted: Acted, steps: int) -> None:
    """Refuse draws that no seed changes, and starts that are drawn but the same for all copies."""
    if acted.drawing:
        first, others = _run(acted, 0, steps), (_run(acted, seed, steps) for seed in range(1, SEEDS))
        if all(torch.equal(a, b) for run in others for a, b in zip(run, first, strict=True)):
            raise Broken(
                f"{acted.env}: {min(acted.drawing)} draws, and another seed must give something else; "
                "it gives the same"
            )
    if "reset" in acted.drawing:
        starts = (acted.reset(Rng(torch.tensor(s), torch.tensor(0)), SEEDS) for s in range(SEEDS))
        if all(bool((v == v[:1]).all()) for start in starts for v in start.values()):
            raise Broken(f"{acted.env}: copies must each draw their start; all start alike")


# ---- copies -------------------------------------------------------------------------------------------


def _moved(acted: Acted, state: State, action: Tensor, rng: Rng) -> list[Tensor]:
    new, reward, ended = acted.step(state, action, rng)
    return [acted.observe(state), *new.values(), reward, ended]


def _check_copies(acted: Acted) -> None:
    """Refuse copies that live through something else when the others are replaced, or gone."""
    key = torch.tensor(1)
    one, other = (_double(acted.reset(Rng(key, torch.tensor(t)), COPIES)) for t in range(2))
    rng = Rng(key, torch.tensor(2))
    action, others = (acted.actions(Rng(key, torch.tensor(t)), COPIES) for t in (3, 4))
    # Further on, so that what all copies start with differs too.
    other, _, _ = acted.step(other, others, rng)
    mixed = {k: torch.cat([v[:1], other[k][1:]]) for k, v in one.items()}
    whole = _moved(acted, one, action, rng)
    among = _moved(acted, mixed, torch.cat([action[:1], others[1:]]), rng)
    promise = f"{acted.env}: copies must not influence each other"
    _check_close([v[:1] for v in whole], [v[:1] for v in among], f"{promise}; replacing others changes one")
    if "step" not in acted.drawing:
        alone = _moved(acted, {k: v[:1] for k, v in one.items()}, action[:1], rng)
        _check_close([v[:1] for v in whole], alone, f"{promise}; one alone differs from one of {COPIES}")


def _check_close(one: list[Tensor], other: list[Tensor], promise: str) -> None:
    for a, b in zip(one, other, strict=True):
        distance = float((a.double() - b.double()).abs().max())
        if not distance <= CLOSE * max(1.0, float(a.double().abs().max())):
            raise Broken(f"{promise} by {distance:.2g}")


def _double(state: State) -> State:
    return {k: v.double() if v.is_floating_point() else v for k, v in state.items()}


def _check_edges(acted: Acted) -> None:
    """Try the first and last of what can be done, and more than can be done."""
    actions, zero = acted.env.actions, torch.tensor(0)
    rng = Rng(zero, zero)
    state = acted.reset(rng, COPIES)
    if not isinstance(actions, Continuous):
        for a in (0, actions.n - 1):
            acted.observe(acted.step(state, torch.full((COPIES, *actions.parts), a), rng)[0])
        return
    low, high = (torch.tensor(end).expand(COPIES, -1) for end in (actions.low, actions.high))
    for edge, width in ((low, low - high), (high, high - low)):
        within = _moved(acted, state, edge, rng)
        acted.observe(acted.step(state, edge, rng)[0])
        beyond = _moved(acted, state, edge + BEYOND * width, rng)
        _check_close(within, beyond, f"{acted.env}: actions must be cut to the box; beyond it, one differs")


def _check_double(acted: Acted) -> None:
    """Run in float64, which the state must keep."""
    key = torch.tensor(2)
    state = _double(acted.reset(Rng(key, torch.tensor(0)), COPIES))
    for t in range(3):
        rng = Rng(key, torch.tensor(t))
        action = acted.actions(rng, COPIES)
        if action.is_floating_point():
            action = action.double()
        try:
            state, _, _ = acted.step(state, action, rng)
        except Broken as broken:
            raise Broken(f"{broken} (in float64)") from None
        acted.observe(state)


def _check_mapped(acted: Acted) -> None:
    """Refuse functions that cannot be mapped over replicas, or that give something else there."""
    env, times = acted.env, range(3)

    def live(seed: Tensor, actions: Tensor) -> list[Tensor]:
        state = _double(env.reset(Rng(seed, torch.tensor(0)), COPIES))
        found = [env.observe(state)]
        for t in times:
            state, reward, ended = env.step(state, actions[t], Rng(seed, torch.tensor(t), "step/"))
            found += [*state.values(), env.observe(state), reward, ended]
        return found

    seeds = torch.arange(REPLICAS)
    each = [
        torch.stack([acted.actions(Rng(seed, torch.tensor(t), "check/"), COPIES) for t in times])
        for seed in seeds
    ]
    try:
        with NoDraws():
            mapped: Any = vmap(live, randomness="different")(seeds, torch.stack(each))
    except Exception as error:
        raise Broken(f"{env}: must map over replicas; {describe(error)}") from error
    for i in range(REPLICAS):
        promise = f"{env}: a replica must be the same alone as among {REPLICAS}; it differs"
        _check_close(live(seeds[i], each[i]), [v[i] for v in mapped], promise)
