"""What every environment keeps: copies by themselves, replicas by themselves, finite numbers, pictures."""

import pytest
import torch
from torch.func import vmap

from perdure import PerdureError
from perdure.core.random import Rng
from perdure.envs import Discrete, Env, get

SPECS = (
    "cartpole", "cartpole(gravity=20.0, force=-5.0)",
    "pendulum", "pendulum(torque=-1.0, length=2.0)",
    "acrobot", "acrobot(length_2=0.5, mass_1=2.0)",
    "mountain-car", "mountain-car(force=0.002, goal=0.3)",
    "grid-world", "grid-world(four-rooms, stay=true)",
    "grid-world(two-rooms, goal=(4, 7), key=(1, 1), door=(4, 4), image=true, start=(2, 2))",
    "reacher", "reacher(target=(0.3, 0.4), damping=0.0)",
    "catch", "catch(size=2, width=3, speed=2, drift=-1, inverted=true, brightness=0.5)",
)  # fmt: skip
ZERO = torch.tensor(0)


@pytest.fixture(params=SPECS)
def env(request):
    return get(request.param)


def draw(env, *shape, seed=0):
    """Return actions, ``[*shape]`` or ``[*shape, d]``, beyond the box where there is one."""
    draws = torch.Generator().manual_seed(seed)
    if isinstance(env.actions, Discrete):
        return torch.randint(env.actions.n, shape, generator=draws)
    return 2 * torch.randn(*shape, env.actions.d, generator=draws)


def play(env, state, actions, rng):
    """Return all that happens in steps: observations, rewards, ends, and the last state."""
    seen = []
    for k, action in enumerate(actions):
        state, reward, ended = env.step(state, action, Rng(rng.seed, rng.step + k))
        seen.append((env.observe(state), reward, ended))
    return [torch.stack(each) for each in zip(*seen, strict=True)], state


def equal(one, other):
    """Compare nested tensors."""
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_forms_and_bounds(env):
    state = env.reset(Rng(ZERO, ZERO), 7)
    kept = {k: v.clone() for k, v in state.items()}
    low, high = env.bounds
    assert low.shape == high.shape == env.shape
    (observed, reward, ended), last = play(env, state, draw(env, 30, 7), Rng(ZERO, ZERO))
    assert observed.shape == (30, 7, *env.shape)
    assert reward.shape == ended.shape == (30, 7)
    assert (observed.dtype, reward.dtype, ended.dtype) == (torch.float32, torch.float32, torch.bool)
    forms = [{k: (v.shape, v.dtype) for k, v in one.items()} for one in (kept, last)]
    assert forms[0] == forms[1]
    assert all(torch.equal(v, kept[k]) for k, v in state.items()), "a step writes on the state it is given"
    # What goes on after an end need not lie within bounds.
    first = env.observe(state)
    assert ((low <= first) & (first <= high)).all()
    on = ~ended.cumsum(0).bool()
    inside = ((low - 1e-6 <= observed) & (observed <= high + 1e-6)).flatten(2).all(-1)
    assert inside[on].all()


def test_draws_come_from_what_is_given(env):
    same, again, other = (env.reset(Rng(torch.tensor(seed), ZERO), 50) for seed in (3, 3, 4))
    assert all(torch.equal(same[k], again[k]) for k in same)
    fixed = getattr(env, "start", None) is not None
    assert fixed or any(not torch.equal(same[k], other[k]) for k in same)


def test_copies_do_not_influence_each_other(env):
    state, actions = env.reset(Rng(ZERO, ZERO), 6), draw(env, 20, 6)
    whole, last = play(env, state, actions, Rng(ZERO, ZERO))
    other = draw(env, 20, 6, seed=1)
    other[:, 2] = actions[:, 2]
    changed, _ = play(env, state, other, Rng(ZERO, ZERO))
    equal([v[:, 2] for v in whole], [v[:, 2] for v in changed])
    alone, end = play(env, {k: v[2:3] for k, v in state.items()}, actions[:, 2:3], Rng(ZERO, ZERO))
    equal([v[:, 2:3] for v in whole], alone)
    equal({k: v[2:3] for k, v in last.items()}, end)


def test_mapped_over_replicas_as_one_by_one(env):
    seeds, actions = torch.arange(3), draw(env, 3, 10, 4)

    def run(seed, actions):
        rng = Rng(seed, ZERO)
        state = env.reset(rng, 4)
        trail, last = play(env, state, actions, rng)
        return env.observe(state), trail, last, env.frame(last)

    mapped = vmap(run)(seeds, actions)
    for i in range(3):
        one = torch.utils._pytree.tree_map(lambda v, i=i: v[i], mapped)
        equal(one, run(seeds[i], actions[i]))


def test_extreme_actions(env):
    state, n = env.reset(Rng(ZERO, ZERO), 4), 300
    if isinstance(env.actions, Discrete):
        actions = torch.stack([torch.full((n,), k % env.actions.n) for k in range(4)], -1)
    else:
        sizes = torch.tensor([1e30, -1e30, torch.inf, -torch.inf])
        actions = sizes.expand(n, 4).unsqueeze(-1).expand(n, 4, env.actions.d)
    (observed, reward, _), _ = play(env, state, actions, Rng(ZERO, ZERO))
    assert observed.isfinite().all()
    assert reward.isfinite().all()


def test_float64(env):
    state = {k: v.double() if v.is_floating_point() else v for k, v in env.reset(Rng(ZERO, ZERO), 4).items()}
    (observed, _, _), last = play(env, state, draw(env, 5, 4), Rng(ZERO, ZERO))
    assert {k: v.dtype for k, v in last.items()} == {k: v.dtype for k, v in state.items()}
    floating = any(v.is_floating_point() for v in state.values())
    assert observed.dtype == (torch.float64 if floating else torch.float32)


def test_pictures(env):
    state = env.reset(Rng(ZERO, ZERO), 3)
    frame = env.frame(state)
    assert frame.dtype == torch.uint8
    assert (frame.ndim, len(frame), frame.shape[-1]) == (4, 3, 3)
    assert all(40 <= side <= 100 for side in frame.shape[1:3])
    assert len(frame[0].flatten(0, 1).unique(dim=0)) > 1
    assert torch.equal(env.frame({k: v[1:2] for k, v in state.items()}), frame[1:2])
    _, later = play(env, state, draw(env, 5, 3), Rng(ZERO, ZERO))
    assert not torch.equal(env.frame(later), frame)


def test_a_name_builds_it_again(env):
    assert get(repr(env)) == env


def test_an_environment_without_pictures_says_so():
    class Blind(Env):
        shape = (1,)
        actions, bounds = Discrete(2), None
        reset = observe = step = None

    with pytest.raises(PerdureError, match="does not say what it looks like: override `frame`"):
        Blind().frame({})
