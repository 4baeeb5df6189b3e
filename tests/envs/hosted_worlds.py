"""Small environments in Gymnasium's form that tests look into."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Line(gymnasium.Env):
    """A place on a line, which an action moves by one; the reward is the place, and `end` ends it."""

    def __init__(self, end=3.0, actions=2, first=0):
        self.end, self.first, self.rate = float(end), first, np.ones(2)
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = spaces.Discrete(actions, start=first)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0.0
        return np.array([self.place], dtype=np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.place += int(action) - self.first
        return np.array([self.place], dtype=np.float32), self.place, self.place >= self.end, False, {}


class Noise(gymnasium.Env):
    """Shows numbers drawn from its own generator, or from the wrong one."""

    def __init__(self, own=True, seen=None, done=None, fresh=False, nothing=False):
        self.own, self.level, self.fresh, self.nothing = own, 1.0, fresh, nothing
        self.observation_space = seen or spaces.Box(-np.inf, np.inf, (2, 3), np.float64)
        self.action_space = done or spaces.Box(-1.0, np.array([[1.0, 2.0]]), (1, 2), np.float64)

    def see(self):
        draws = self.np_random if self.own else np.random
        seen = draws.normal(size=self.observation_space.shape)
        return seen * np.nan if self.nothing else seen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level = 1.0 if self.fresh else self.level
        return self.see(), {}

    def step(self, action):
        self.done = action
        return self.see(), 0.0, False, False, {}


def twice(env):
    """A wrapper that shows everything twice."""
    seen = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    return gymnasium.wrappers.TransformObservation(env, lambda x: np.concatenate([x, x]), seen)


def register():
    """Enter the environments in Gymnasium's table, once."""
    for kind in (Line, Noise):
        if f"tests/{kind.__name__}-v0" not in gymnasium.registry:
            gymnasium.register(f"tests/{kind.__name__}-v0", kind)
