"""The readable phone in Gymnasium's form, ``perdure/Device-v0``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch

from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.envs.contract import Env
from perdure.envs.device.episode import Episode
from perdure.envs.device.layouts import layout
from perdure.envs.device.render import render
from perdure.envs.device.world import Device
from perdure.envs.gym import build, check_options, keys
from perdure.envs.numpy_rules import Array
from perdure.envs.spaces import spaces_of, taken


class Readable(gymnasium.Env[Array, Any]):
    """One phone, readable: an episode is a :class:`~perdure.envs.device.episode.Episode`.

    Actions and observations are those of the batched phone, and so is what happens: with one seed both live
    through the same.

    Parameters
    ----------
    env:
        A :class:`~perdure.envs.device.world.Device`, or its name.
    render_mode:
        ``"ansi"``: the screen as text.
    physics:
        Parameters of ``Device``: ``task``, ``instances``, ``seed``.

    Raises
    ------
    PerdureError
        As :class:`perdure.envs.gym.Single` does.

    Examples
    --------
    >>> env = gymnasium.make("perdure/Device-v0", task="SettingsWifi", render_mode="ansi")
    >>> observation, _ = env.reset(seed=0)
    >>> env.unwrapped.goal
    'Turn Wi-Fi on.'
    >>> env.render().splitlines()[0]
    'home'
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's form)

    def __init__(self, env: Env | str, render_mode: str | None = None, **physics: Any) -> None:
        inner = build(env, physics)
        if not isinstance(inner, Device):
            raise PerdureError(f"expected a device; found {inner}")
        if render_mode not in (None, "ansi"):
            raise PerdureError(f"render_mode must be None or 'ansi'; found {render_mode!r}")
        self.inner, self.render_mode, self.tasks = inner, render_mode, inner.tasks
        self.observation_space, self.action_space = spaces_of(inner)
        self.episode: Episode | None = None
        self._drawn_from: np.random.Generator | None = None

    @property
    def goal(self) -> str:
        """What is to be done, in words."""
        return self._begun_episode().task.goal

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        check_options(options, ())
        if self.np_random is not self._drawn_from:
            self._drawn_from, self._begun = self.np_random, 0
            self._key = int(keys(self.np_random, self.np_random_seed, 1)[0])
        rng = Rng(torch.tensor(self._key), torch.tensor(self._begun), "gym/start/")
        self._begun += 1
        self.episode = Episode(self.tasks[int(self.inner.drawn(rng, 1))])
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        episode = self._begun_episode()
        given = taken(self.inner.actions, np.asarray(action)[None])
        number = int(layout(self.inner.layout).done[int(given[0])])
        # Who goes on after the end sees what nobody looks at.
        reward = 0.0 if episode.over else episode.step(number)
        return self._seen(), reward, episode.over, False, {}

    def render(self) -> Any:
        """Return the screen as text."""
        if self.render_mode is None:
            raise PerdureError("nothing is drawn: make the environment with render_mode='ansi'")
        return render(self._begun_episode().phone)

    def _seen(self) -> Array:
        usual: Array = self._begun_episode().observe()
        return np.asarray(usual[layout(self.inner.layout).seen.numpy()])

    def _begun_episode(self) -> Episode:
        if self.episode is None:
            raise PerdureError("expected a reset first")
        return self.episode
