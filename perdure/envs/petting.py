"""Perdure's environments of teams in PettingZoo's parallel form: agents by name, all acting at once.

PettingZoo is an extra: ``pip install perdure[agents]``.

>>> from perdure.envs.petting import parallel
>>> env = parallel("referential", objects=3)  # doctest: +SKIP
>>> observations, infos = env.reset(seed=0)  # doctest: +SKIP
>>> observations, rewards, terminations, truncations, infos = env.step(
...     {agent: env.action_space(agent).sample(infos[agent]["action_mask"]) for agent in env.agents}
... )  # doctest: +SKIP

``pettingzoo.utils.conversions.parallel_to_aec`` lets agents act one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from types import NoneType
from typing import Any

import numpy as np
from gymnasium import spaces

from perdure.core.checks import check_whole
from perdure.core.entities import PRESENT, TARGET
from perdure.core.errors import PerdureError, shown, unknown
from perdure.envs.contract import Env
from perdure.envs.gym import Single
from perdure.envs.multi_agent.contract import TeamEnv
from perdure.envs.numpy_rules import Array
from perdure.envs.spaces import spaces_of

# Without the extra this module can be read all the same: `parallel` says what is missing.
ParallelEnv: Any = import_module("pettingzoo").ParallelEnv if find_spec("pettingzoo") else object


def parallel(
    env: str | TeamEnv, render_mode: str | None = None, *, max_cycles: int | None = None, **physics: Any
) -> Parallel:
    """Return an environment of a team as a ``ParallelEnv`` of PettingZoo.

    Parameters
    ----------
    env:
        An environment of a team, or its name.
    render_mode:
        ``"rgb_array"``, where the environment can draw itself.
    max_cycles:
        Steps after which an episode is cut off; default: the environment's ``limit``.
    physics:
        Parameters of the environment, for one given by name.

    Raises
    ------
    PerdureError
        Where PettingZoo is not installed; for an environment of one agent, physics that the environment
        refuses, ``limit`` among them, and a render mode that it lacks.
    """
    if ParallelEnv is object:
        raise PerdureError("environments in PettingZoo's form need it: pip install perdure[agents]")
    return Parallel(env, render_mode, max_cycles, physics)


class Parallel(ParallelEnv):  # type: ignore[misc]
    """A team whose agents are called ``"agent_0"``, ``"agent_1"``, ...; :func:`parallel` builds it.

    An agent observes its table of entities, ``[slots, FEATURES]`` float32, and does one of ``moves + slots``
    actions (:class:`perdure.envs.TeamEnv`). ``infos[agent]["action_mask"]``, int8, is 1 for what can be done
    now: all moves, and the entities that are marked as targets. Other actions are taken too; what they do is
    the environment's to say, mostly nothing. Each agent is given the reward of the team.

    An agent whose own row says that it is not there is dead: it is terminated, leaves ``agents`` and does not
    come back within the episode. All others are terminated when the environment ends, and truncated after
    ``max_cycles`` steps. Seats of the padding are nobody's.

    The state is what all agents see, the padding included: ``[seats, slots, FEATURES]`` float32. Episodes are
    those of :class:`perdure.envs.gym.Single` with the same seed: a reset without one goes on with the next.

    Actions must be given for all agents that live, and for no others. Options of a reset do nothing; such as
    are parameters of the environment are refused.
    """

    def __init__(
        self, env: Env | str, render_mode: str | None, max_cycles: int | None, physics: dict[str, Any]
    ) -> None:
        if "limit" in physics:
            raise PerdureError(f"write max_cycles={physics['limit']!r}; found limit={physics['limit']!r}")
        self._single = Single(env, render_mode, **physics)
        team = self._single.inner
        if not isinstance(team, TeamEnv):
            raise PerdureError(f"expected an environment of a team; found {team}, which has one agent")
        limit = team.limit if max_cycles is None else max_cycles
        self.max_cycles = check_whole("max_cycles", limit)
        self.metadata = {**self._single.metadata, "name": team.name, "is_parallelizable": True}
        self.render_mode = render_mode
        self.possible_agents = [f"agent_{i}" for i in range(team.team)]
        self.agents: list[str] = []
        # Each agent has spaces of its own, which draw by themselves.
        self.state_space, _ = spaces_of(team)
        bounds = zip(self.possible_agents, self.state_space.low, self.state_space.high, strict=False)
        self.observation_spaces = {a: spaces.Box(low, high, dtype=np.float32) for a, low, high in bounds}
        self.action_spaces = {a: spaces.Discrete(team.actions.n) for a in self.possible_agents}
        self._seats, _, self._moves = team.sizes
        self._seen, self._cycle = np.zeros(team.shape, dtype=np.float32), 0

    def observation_space(self, agent: str) -> spaces.Box:
        """Return where an agent's observations lie, the same object each time."""
        return self.observation_spaces[self._known(agent)]

    def action_space(self, agent: str) -> spaces.Discrete:
        """Return what an agent can do, the same object each time."""
        return self.action_spaces[self._known(agent)]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, dict[str, Any]]]:
        """Begin an episode; return the observations and infos of all agents."""
        if not isinstance(options, Mapping | NoneType):
            raise PerdureError(f"options must be a dictionary, or None; found {shown(options)}")
        physics = {field.name for field in fields(self._single.inner)}
        if wrong := sorted(physics.intersection(options or ())):
            raise PerdureError(
                f"options of a reset do nothing; found {wrong[0]!r}, which is an argument of the environment"
            )
        self._seen, _ = self._single.reset(seed=seed)
        self._cycle = 0
        self.agents = [a for a, there in zip(self.possible_agents, self._there(), strict=True) if there]
        return self._tell(self.agents)

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[
        dict[str, Array], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]
    ]:
        """Let all agents act; return what those that acted are told."""
        acted = self.agents
        self._seen, reward, ended, _, _ = self._single.step(self._taken(actions))
        self._cycle += 1
        there = dict(zip(self.possible_agents, self._there(), strict=True))
        cut = self._cycle >= self.max_cycles
        dead = {a: ended or not there[a] for a in acted}
        self.agents = [a for a in acted if not (dead[a] or cut)]
        seen, infos = self._tell(acted)
        return seen, dict.fromkeys(acted, reward), dead, dict.fromkeys(acted, cut), infos

    def state(self) -> Array:
        """Return what all agents see, padding included, in an array of its own."""
        return self._seen.copy()

    def render(self) -> Any:
        """Return a picture, ``[height, width, 3]`` uint8."""
        return self._single.render()

    def _known(self, agent: str) -> str:
        if agent not in self.action_spaces:
            raise unknown("agent", agent, self.possible_agents)
        return agent

    def _there(self) -> list[bool]:
        """Tell which agents of the team are there: an agent's own row is its table's first."""
        there: list[bool] = (self._seen[: len(self.possible_agents), 0, PRESENT] > 0.5).tolist()
        return there

    def _taken(self, actions: Mapping[str, Any]) -> Array:
        """Return an action for each seat, those of nobody to wait; refuse what does not fit."""
        if not self.agents:
            raise PerdureError("expected a reset first: no agent is there to act")
        if not isinstance(actions, Mapping) or set(actions) != set(self.agents):
            raise PerdureError(f"expected an action of {', '.join(self.agents)} each; found {shown(actions)}")
        whole = np.zeros(self._seats, dtype=np.int64)
        for seat, agent in enumerate(self.possible_agents):
            if agent in actions:
                space, action = self.action_spaces[agent], actions[agent]
                if action not in space:
                    raise PerdureError(
                        f"expected an action in {{0, ..., {space.n - 1}}} of {agent}; found {shown(action)}"
                    )
                whole[seat] = action
        return whole

    def _tell(self, agents: list[str]) -> tuple[dict[str, Array], dict[str, dict[str, Any]]]:
        """Return the observations of agents and what they can do, in arrays of their own."""
        seen = {a: self._seen[i].copy() for i, a in enumerate(self.possible_agents) if a in agents}
        return seen, {a: {"action_mask": self._mask(table)} for a, table in seen.items()}

    def _mask(self, table: Array) -> Array:
        able = (table[:, TARGET] > 0.5) & (table[:, PRESENT] > 0.5)
        return np.concatenate([np.ones(self._moves, dtype=np.int8), able.astype(np.int8)])
