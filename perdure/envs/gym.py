"""Perdure's environments in Gymnasium's form: one copy, and many side by side.

Every registered environment has an id there, ``perdure/<Class>-v0``; its physics are keyword arguments.

>>> import gymnasium
>>> import perdure.envs
>>> env = gymnasium.make("perdure/CartPole-v0", gravity=20.0)
>>> observation, info = env.reset(seed=0)
>>> many = gymnasium.make_vec("perdure/CartPole-v0", num_envs=4)
>>> many.reset(seed=0)[0].shape
(4, 4)
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from perdure.core.checks import check_one_of, check_whole
from perdure.core.errors import PerdureError, shown
from perdure.core.specs import parse
from perdure.envs.contract import Env
from perdure.envs.copies import Copies
from perdure.envs.numpy_rules import Array
from perdure.envs.padded import Padded
from perdure.envs.registry import ENVS
from perdure.envs.spaces import spaces_of, taken

# Draws use so many bits of a seed.
SEEDS = 1 << 32
RENDERING: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 30}
NEXT_STEP: dict[str, Any] = {**RENDERING, "autoreset_mode": AutoresetMode.NEXT_STEP}


class Single(gymnasium.Env[Array, Any]):
    """One copy of an environment.

    Its draws are a function of the seed, the episode since then and the step. It does not cut episodes off:
    ``gymnasium.make`` does, after as many steps as are usual for the environment or ``max_episode_steps``.

    Parameters
    ----------
    env:
        An environment, or its name.
    render_mode:
        ``"rgb_array"``, where the environment can draw itself.
    physics:
        Parameters of the environment, for one given by name.

    Raises
    ------
    PerdureError
        For physics that the environment refuses, ``limit`` among them, and a render mode that it lacks; in
        use, for actions that it does not have, and options.
    """

    metadata = RENDERING

    def __init__(self, env: Env | str, render_mode: str | None = None, **physics: Any) -> None:
        self.inner = build(env, physics)
        self.metadata, self.render_mode = _rendering(self.inner, render_mode), render_mode
        self.observation_space, self.action_space = spaces_of(self.inner)
        self._actions, self._copies = self.inner.actions, Copies(self.inner, 1)
        self._drawn_from: np.random.Generator | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        check_options(options, ())
        row = np.zeros(1, dtype=np.int64)
        if self.np_random is not self._drawn_from:
            self._drawn_from = self.np_random
            self._copies.seed(row, keys(self.np_random, self.np_random_seed, 1))
        self._copies.start(row)
        return self._copies.observe()[0], {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        _check_begun(self._copies)
        reward, ended = self._copies.step(taken(self._actions, np.asarray(action)[None]))
        return self._copies.observe()[0], float(reward[0]), bool(ended[0]), False, {}

    def render(self) -> Any:
        """Return a picture, ``[height, width, 3]`` uint8."""
        return _pictures(self.inner, self._copies, self.render_mode)[0]


class Batched(VectorEnv[Array, Array, Array]):
    """Many copies of an environment side by side, as fast as its operations over whole tensors are.

    Copy ``i`` lives through the same as :class:`Single` with the seed ``seed + i``, episode after episode.
    Episodes are cut off inside. What comes back are new arrays at each step; rewards are float64.

    Parameters
    ----------
    env:
        An environment, or its name.
    num_envs:
        How many copies.
    max_episode_steps:
        Steps after which an episode is cut off; default: the environment's ``limit``.
    render_mode:
        ``"rgb_array"``, where the environment can draw itself.
    autoreset_mode:
        When copies whose episode is over start anew: ``"NextStep"``, at the next step, which ignores their
        action and gives them reward 0; ``"SameStep"``, at once, the last observation in the info
        ``"final_obs"``; ``"Disabled"``, when ``reset(options={"reset_mask": mask})`` says so.
    physics:
        Parameters of the environment, for one given by name.

    Raises
    ------
    PerdureError
        As :class:`Single` does; in the mode ``"Disabled"``, for a step of copies whose episode is over.
    """

    metadata = NEXT_STEP

    def __init__(
        self,
        env: Env | str,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **physics: Any,
    ) -> None:
        self.inner = build(env, physics)
        self.num_envs = check_whole("num_envs", num_envs)
        self.limit = check_whole(
            "max_episode_steps", self.inner.limit if max_episode_steps is None else max_episode_steps
        )
        if not isinstance(autoreset_mode, AutoresetMode):
            check_one_of("autoreset_mode", autoreset_mode, [mode.value for mode in AutoresetMode])
        self.mode = AutoresetMode(autoreset_mode)
        self.metadata = {**_rendering(self.inner, render_mode), "autoreset_mode": self.mode}
        self.render_mode = render_mode
        self.single_observation_space, self.single_action_space = spaces_of(self.inner)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._actions, self._copies = self.inner.actions, Copies(self.inner, num_envs)
        self._over = np.zeros(num_envs, dtype=np.bool_)
        self._drawn_from: np.random.Generator | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin episodes of all copies, or of those that ``options["reset_mask"]``, ``[num_envs]``, names."""
        super().reset(seed=seed)
        check_options(options, ("reset_mask",))
        rows = self._rows((options or {}).get("reset_mask"))
        if self.np_random is not self._drawn_from:
            self._drawn_from = self.np_random
            self._copies.seed(rows, keys(self.np_random, self.np_random_seed, self.num_envs)[rows])
        self._copies.start(rows)
        self._over[rows] = False
        return self._copies.observe(), {}

    def _rows(self, mask: Any) -> Array:
        """Return the numbers of the copies that a mask names."""
        if mask is None:
            return np.arange(self.num_envs)
        _check_begun(self._copies)
        fits = isinstance(mask, np.ndarray) and mask.shape == self._over.shape and mask.dtype == np.bool_
        if not fits or not mask.any():
            raise PerdureError(
                f"`reset_mask` must be an array [{self.num_envs}] of bools, one at least true; found "
                f"{shown(mask)}"
            )
        return np.flatnonzero(mask)

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        _check_begun(self._copies)
        action, done = taken(self._actions, np.asarray(actions), self.num_envs), self._over.nonzero()[0]
        if len(done) and self.mode is AutoresetMode.DISABLED:
            raise PerdureError(
                f"copy {done[0]}'s episode is over: reset it, `reset(options={{'reset_mask': mask}})`"
            )
        reward, ended = self._copies.step(action)
        if len(done):
            # Their step was one from where they had ended: it counts for nothing.
            self._copies.start(done)
            reward[done], ended[done] = 0.0, False
        cut = self._copies.age >= self.limit
        over, infos = ended | cut, {}
        seen = self._copies.observe()
        if self.mode is not AutoresetMode.SAME_STEP:
            self._over = over
        elif over.any():
            infos = _final(seen, over)
            self._copies.start(np.flatnonzero(over))
            seen = self._copies.observe()
        return seen, reward, ended, cut, infos

    def render(self) -> Any:
        """Return a picture of each copy, ``[height, width, 3]`` uint8."""
        return tuple(_pictures(self.inner, self._copies, self.render_mode))


def build(env: Env | str, physics: dict[str, Any]) -> Env:
    """Return the environment of a name with parameters, or the one that is given, which takes none."""
    if "limit" in physics:
        raise PerdureError(f"write max_episode_steps={physics['limit']!r}; found limit={physics['limit']!r}")
    if isinstance(env, Env):
        if physics:
            raise PerdureError(f"{env} has its physics already; found {', '.join(physics)} besides")
        return env
    if not isinstance(env, str):
        raise PerdureError(f"expected an environment or its name; found {shown(env)}")
    name, values, named = parse(env)
    return ENVS.make(name, *values, **named, **physics)


def can_draw(env: Env) -> bool:
    """Tell whether an environment has ``frame``, which draws its state, ``[n, height, width, 3]`` uint8."""
    if isinstance(env, Padded):
        return can_draw(env.env)
    own = getattr(type(env), "frame", None)
    return own is not None and own is not getattr(Env, "frame", None)


def _rendering(env: Env, mode: str | None) -> dict[str, Any]:
    """Return the metadata of pictures; refuse a mode that there is not."""
    able = can_draw(env)
    if mode is not None and not (able and mode == "rgb_array"):
        expected = "None or 'rgb_array'" if able else f"None: {env} cannot draw itself"
        raise PerdureError(f"render_mode must be {expected}; found {shown(mode)}")
    return {**RENDERING, "render_modes": ["rgb_array"] if able else []}


def _pictures(env: Any, copies: Copies, mode: str | None) -> Array:
    if mode is None:
        raise PerdureError("nothing is drawn: make the environment with render_mode='rgb_array'")
    _check_begun(copies)
    return np.asarray(env.frame(copies.tensors()))


def keys(source: np.random.Generator, seed: int | None, n: int) -> Array:
    """Return what each copy's draws are made from: the seed and those that follow it.

    Of a generator that a user put there no seed is known (-1): it is asked.
    """
    if seed is None or seed < 0:
        return source.integers(SEEDS, size=n)
    return (seed % SEEDS + np.arange(n)) % SEEDS


def _check_begun(copies: Copies) -> None:
    if not copies.state:
        raise PerdureError("expected a reset of all copies first")


def check_options(options: dict[str, Any] | None, known: tuple[str, ...]) -> None:
    """Refuse options of a reset that nothing reads."""
    unknown = [name for name in options or {} if name not in known]
    if unknown:
        raise PerdureError(
            f"options of a reset can be {', '.join(known) or 'none'}; found {shown(unknown[0])}: physics are "
            "arguments of the environment"
        )


def _final(seen: Array, over: Array) -> dict[str, Any]:
    """Return the last observations of episodes as Gymnasium's own vector environments tell them."""
    last = np.full(len(seen), None, dtype=object)
    for i in np.flatnonzero(over):
        last[i] = seen[i].copy()
    return {"final_obs": last, "_final_obs": over.copy(), "final_info": {}, "_final_info": over.copy()}
