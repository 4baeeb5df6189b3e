"""The contract, over all environments; and that its check sees what breaks it."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from perdure import PerdureError, check_env
from perdure.core.random import Rng
from perdure.envs import ENVS, CartPole, Continuous, Discrete, Env, get
from perdure.envs.copies import Copies
from perdure.testing import Broken


@pytest.mark.parametrize("name", list(ENVS))
def test_every_environment_keeps_the_contract(name):
    check_env(get(name))


@pytest.mark.parametrize("spec", ["cartpole(gravity=20.0, force=-10.0)", "cartpole(limit=3)"])
def test_other_physics_keep_it(spec):
    check_env(get(spec), steps=50)


# ---- what breaks it -----------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Walk(Env):
    """A walk on a line, steered to the left or to the right; each subclass breaks one promise."""

    name: ClassVar[str] = "walk"
    shape: ClassVar[Any] = (2,)
    limit: int = field(default=9, kw_only=True)

    @property
    def actions(self) -> Any:
        return Discrete(2)

    @property
    def bounds(self) -> Any:
        return -torch.full((2,), 3.0), torch.full((2,), 3.0)

    def reset(self, rng, n):
        place = rng.uniform("start", n) - 0.5
        return {"place": place, "visits": torch.zeros(n, 2, dtype=torch.int64)}

    def observe(self, state):
        return torch.stack([state["place"], state["place"].square()], -1)

    def step(self, state, action, rng):
        place = state["place"] + 0.2 * (2 * action - 1)
        visits = state["visits"] + (torch.arange(2) == action.unsqueeze(-1))
        return {"place": place.clamp(-1.5, 1.5), "visits": visits}, -place.abs(), place.abs() > 1.2


@dataclass(frozen=True, repr=False)
class Gusts(Walk):
    """The walk, in wind: steps draw."""

    def step(self, state, action, rng):
        gust = rng.uniform("gust", len(action)) - 0.5
        return super().step({**state, "place": state["place"] + 0.1 * gust}, action, rng)


@dataclass(frozen=True, repr=False)
class Steered(Walk):
    """The walk, by real numbers."""

    @property
    def actions(self):
        return Continuous((-1.0,), (2.0,))

    def step(self, state, action, rng):
        moved = state["place"] + 0.2 * self.actions.cut(action).squeeze(-1)
        return {**state, "place": moved.clamp(-1.5, 1.5)}, -moved.abs(), moved.abs() > 1.2


@dataclass(frozen=True, repr=False)
class Uncut(Steered):
    def step(self, state, action, rng):
        moved = state["place"] + 0.2 * action.squeeze(-1)
        return {**state, "place": moved.clamp(-1.5, 1.5)}, -moved.abs(), moved.abs() > 1.2


class NotDecorated(Walk):
    pass


@dataclass(frozen=True, repr=False)
class Nameless(Walk):
    name: ClassVar[str] = "named"


@dataclass(frozen=True, repr=False)
class Shadows(Walk):
    reset: float = 1.0


@dataclass(frozen=True, repr=False)
class Disguised(Walk):
    name: ClassVar[str] = "cartpole"


@dataclass(frozen=True, repr=False)
class NoShape(Walk):
    shape: ClassVar[Any] = 2


@dataclass(frozen=True, repr=False)
class CountsActions(Walk):
    @property
    def actions(self):
        return 2


@dataclass(frozen=True, repr=False)
class NarrowBounds(Walk):
    @property
    def bounds(self):
        return torch.zeros(1), torch.ones(1)


@dataclass(frozen=True, repr=False)
class CrossedBounds(Walk):
    @property
    def bounds(self):
        return torch.zeros(2), torch.zeros(2)


@dataclass(frozen=True, repr=False)
class TightBounds(Walk):
    @property
    def bounds(self):
        return -torch.full((2,), 1.0), torch.full((2,), 1.0)


@dataclass(frozen=True, repr=False)
class StartsAsATensor(Walk):
    def reset(self, rng, n):
        return super().reset(rng, n)["place"]


@dataclass(frozen=True, repr=False)
class KeepsANumber(Walk):
    def reset(self, rng, n):
        return {**super().reset(rng, n), "mass": 1.0}


@dataclass(frozen=True, repr=False)
class OneForAll(Walk):
    def reset(self, rng, n):
        return {**super().reset(rng, n), "mass": torch.ones(1)}


@dataclass(frozen=True, repr=False)
class StartsNowhere(Walk):
    def reset(self, rng, n):
        return {**super().reset(rng, n), "mass": torch.full((n,), torch.nan)}


@dataclass(frozen=True, repr=False)
class Flat(Walk):
    def observe(self, state):
        return state["place"]


@dataclass(frozen=True, repr=False)
class Whole(Walk):
    def observe(self, state):
        return state["visits"]


@dataclass(frozen=True, repr=False)
class Blind(Walk):
    def observe(self, state):
        return super().observe(state) * torch.inf


@dataclass(frozen=True, repr=False)
class NoEnds(Walk):
    def step(self, state, action, rng):
        return super().step(state, action, rng)[:2]


@dataclass(frozen=True, repr=False)
class Grows(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return {**new, "visits": new["visits"].repeat(1, 2)}, reward, ended


@dataclass(frozen=True, repr=False)
class ChangesType(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return {**new, "visits": new["visits"].float()}, reward, ended


@dataclass(frozen=True, repr=False)
class RewardsAsAColumn(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return new, reward.unsqueeze(-1), ended


@dataclass(frozen=True, repr=False)
class WholeRewards(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return new, reward.long(), ended


@dataclass(frozen=True, repr=False)
class NoReward(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return new, reward * torch.nan, ended


@dataclass(frozen=True, repr=False)
class EndsAsNumbers(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return new, reward, ended.float()


@dataclass(frozen=True, repr=False)
class WritesInPlace(Walk):
    def step(self, state, action, rng):
        state["visits"].add_(1)
        return super().step(state, action, rng)


@dataclass(frozen=True, repr=False)
class WritesOnTheDictionary(Walk):
    def step(self, state, action, rng):
        state["place"] = state["place"] * 0.9
        return super().step(state, action, rng)


@dataclass(frozen=True, repr=False)
class DrawsGlobally(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return new, reward + torch.rand(len(action)), ended


@dataclass(frozen=True, repr=False)
class DrawsFromNumPy(Walk):
    def reset(self, rng, n):
        return {k: v + int(np.random.rand() < 0.5) for k, v in super().reset(rng, n).items()}  # noqa: NPY002


@dataclass(frozen=True, repr=False)
class Remembers(Walk):
    seen: ClassVar[list] = []

    def step(self, state, action, rng):
        self.seen.append(1)
        new, reward, ended = super().step(state, action, rng)
        return new, reward + 0.01 * len(self.seen), ended


@dataclass(frozen=True, repr=False)
class OneSeed(Walk):
    def reset(self, rng, n):
        return super().reset(Rng(torch.tensor(3), rng.step), n)


@dataclass(frozen=True, repr=False)
class StartsAlike(Walk):
    def reset(self, rng, n):
        return {k: v.repeat(n, *(1,) * (v.ndim - 1)) for k, v in super().reset(rng, 1).items()}


@dataclass(frozen=True, repr=False)
class Together(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return new, reward - reward.mean(), ended


@dataclass(frozen=True, repr=False)
class SeesOthers(Walk):
    def observe(self, state):
        return super().observe(state) - 0.01 * state["place"].roll(1).unsqueeze(-1)


@dataclass(frozen=True, repr=False)
class CountsCopies(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return new, reward / len(action), ended


@dataclass(frozen=True, repr=False)
class Branches(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return new, (reward * 2 if bool((state["place"] > 9).any()) else reward), ended


@dataclass(frozen=True, repr=False)
class Narrows(Walk):
    def step(self, state, action, rng):
        new, reward, ended = super().step(state, action, rng)
        return {**new, "place": new["place"].float()}, reward, ended


@dataclass(frozen=True, repr=False)
class OnlyLeft(Walk):
    @property
    def actions(self):
        return Discrete(1 << 40)

    def step(self, state, action, rng):
        new, reward, ended = super().step(state, (action > 0).long(), rng)
        return new, torch.where(action == 0, torch.inf, reward), ended


@dataclass(frozen=True, repr=False)
class DrawsFloats(Walk):
    def frame(self, state):
        return torch.zeros(len(state["place"]), 4, 4, 3)


@dataclass(frozen=True, repr=False)
class DrawsTheFirst(Walk):
    def frame(self, state):
        return (100 + 50 * state["place"]).byte().view(-1, 1, 1, 1)[:1].expand(len(state["place"]), 4, 4, 3)


@dataclass(frozen=True, repr=False)
class Fails(Walk):
    def observe(self, state):
        return state["height"]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (NotDecorated, "must be a frozen dataclass"),
        (Nameless, "must have a name of its own: decorate it, @environment"),
        (Shadows, "must name 'reset' otherwise"),
        (Disguised, "must be what its name builds"),
        (NoShape, "shape must be a tuple of whole numbers"),
        (CountsActions, "actions must be Discrete, Continuous or Team; found int"),
        (NarrowBounds, "bounds must be two tensors [2]"),
        (CrossedBounds, "bounds must have low < high"),
        (TightBounds, "observations must lie within bounds"),
        (StartsAsATensor, "reset must return a dictionary of tensors; found [4] float32"),
        (KeepsANumber, "reset must return tensors [4, ...]; found float at 'mass'"),
        (OneForAll, "reset must return tensors [4, ...]; found [1] float32 at 'mass'"),
        (StartsNowhere, "the state that reset returns must be finite"),
        (Flat, "observe must return observations [4, 2], floating point; found [4] float32"),
        (Whole, "observe must return observations [4, 2], floating point; found [4, 2] int64"),
        (Blind, "observations must be finite"),
        (NoEnds, "step must return a state, rewards and what has ended"),
        (Grows, "the state that step returns must keep its shape: [4, 2] int64 at ['visits']"),
        (ChangesType, "the state that step returns must keep its shape: [4, 2] int64 at ['visits']"),
        (RewardsAsAColumn, "step must return rewards [4], floating point; found [4, 1] float32"),
        (WholeRewards, "step must return rewards [4], floating point; found [4] int64"),
        (NoReward, "rewards must be finite"),
        (EndsAsNumbers, "step must return what has ended as [4] bool; found [4] float32"),
        (WritesInPlace, "step must leave its arguments alone"),
        (WritesOnTheDictionary, "step must leave its arguments alone"),
        (DrawsGlobally, "step must draw from `rng`"),
        (DrawsFromNumPy, "reset must draw from `rng`"),
        (Remembers, "two runs with the same draws must give the same"),
        (OneSeed, "reset draws, and another seed must give something else"),
        (StartsAlike, "copies must each draw their start"),
        (Together, "copies must not influence each other; replacing others"),
        (SeesOthers, "copies must not influence each other; replacing others"),
        (CountsCopies, "copies must not influence each other; one alone"),
        (Branches, "must map over replicas"),
        (Narrows, "float32 (in float64)"),
        (OnlyLeft, "rewards must be finite"),
        (Uncut, "actions must be cut to the box"),
        (DrawsFloats, "frame must return pictures [n, height, width, 3] uint8; found one [4, 4, 3] float32"),
        (DrawsTheFirst, "one copy must be the same alone as among 4; pictures differ"),
        (Fails, "KeyError: 'height'"),
    ],
)
def test_the_check_sees_a_broken_promise(broken, line):
    with pytest.raises(Broken) as caught:
        check_env(broken(), steps=30)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [Walk, Gusts, Steered])
def test_the_model_of_the_broken_ones_keeps_it(kind):
    check_env(kind())


def test_copies_in_gymnasiums_form_that_differ_from_one_alone_are_seen(monkeypatch):
    draw = Copies._draw
    monkeypatch.setattr(Copies, "_draw", lambda self, keys, episodes: draw(self, keys * self.n, episodes))
    with pytest.raises(Broken, match="alone as among 4; observations differ after 0"):
        check_env(CartPole(), steps=5)
    monkeypatch.undo()
    step = Copies.step

    def paid_by_number(self, action):
        reward, ended = step(self, action)
        return reward + self.n, ended

    monkeypatch.setattr(Copies, "step", paid_by_number)
    with pytest.raises(Broken, match="alone as among 4; rewards or ends differ after 1"):
        check_env(CartPole(), steps=5)


def test_a_replica_that_differs_from_one_alone_is_seen(monkeypatch):
    from perdure.testing import check_env as public
    from perdure.testing.check_env import vmap

    def wrong(function, **options):
        return lambda *args: [v + 1e-6 for v in vmap(function, **options)(*args)[:2]]

    monkeypatch.setitem(public.__globals__, "vmap", wrong)
    with pytest.raises(Broken, match="a replica must be the same alone as among 3"):
        check_env(CartPole())


def test_only_environments_are_environments():
    with pytest.raises(PerdureError, match="expected an Env; found str"):
        check_env("cartpole")
    with pytest.raises(PerdureError, match="steps must be a whole number of at least 1"):
        check_env(CartPole(), steps=0)
