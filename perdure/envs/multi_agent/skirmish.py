"""A small fight on a grid: a team of agents against units that follow a script."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.checks import check_number, check_whole
from perdure.core.entities import row
from perdure.core.errors import PerdureError
from perdure.core.random import Rng
from perdure.envs.drawing import BLACK, BLUE, GREEN, RED, SILVER, Picture
from perdure.envs.multi_agent.contract import TeamEnv
from perdure.envs.multi_agent.grids import MOVES, Cell, drawn, moved, others, scaled
from perdure.envs.registry import environment

DEEP = 2  # columns on its side of the grid that a party starts in
# Share of a hit within which rounding is taken for whole hits.
NEARLY = 1e-4


@environment("skirmish")
@dataclass(frozen=True, repr=False)
class Skirmish(TeamEnv):
    """Beat scripted enemies on a grid: each agent moves, or attacks an enemy in range.

    Agents stop, go up, down, left or right (a step that would leave the grid is none), or act on an enemy of
    their table, which takes ``ally_damage`` from its health where it is alive and in range. Distances are
    numbers of steps, ``|rows| + |columns|``; units may share a cell. All agents act at once. Then every enemy
    that is still alive attacks the nearest living agent, where this is in range, and otherwise takes a step
    towards it, along the longer of the two ways (rows where they are equal); of several that are equally near
    it is the one with the lowest number. Whoever has no health left is dead, and does nothing, whatever it is
    told to. The episode ends when a party is dead. The reward of the team is::

        (1 - bonus) (health that enemies lose) / (health that all had) + bonus [all enemies are dead]

    at each step, so that an episode that is won brings 1 in all, and any other ``1 - bonus`` at most.

    Each party starts in the two outermost columns of its side, agents on the left, at different cells that
    are drawn for each episode.

    A table has the agent itself, the other agents, and the enemies, in the order of their numbers. Units that
    are dead or further away than ``sight_range`` are not present; an enemy is a target where it is in
    ``attack_range``. A dead agent's table is empty. Places are (row, column): the agent's own from -1 to 1
    over the grid, those of others from it in units of the range of sight. Of all units it is told the share
    of health left, and which share of an opponent's full health its attack takes, at most 1.

    Parameters
    ----------
    allies, enemies:
        Units on either side, each at most 8 and at most the cells of two columns.
    size:
        Rows and columns, at least 4.
    ally_health, enemy_health:
        Of a unit at the start.
    ally_damage, enemy_damage:
        Health that an attack takes.
    attack_range, sight_range:
        Steps from which units can attack, and agents see; nobody attacks what is out of sight.
    bonus:
        Share of the reward that a win brings, in [0, 1].
    limit:
        Steps after which an episode is cut off.

    Raises
    ------
    PerdureError
        For numbers out of these ranges, and an attack range above that of sight.

    Examples
    --------
    >>> Skirmish(allies=2, enemies=4).shape
    (2, 6, 24)

    Source: in the manner of Samvelyan et al., "The StarCraft multi-agent challenge", AAMAS 2019, arXiv
    1902.04043, with its moves, targets, sight and reward of damage and of a win. A grid with shared cells
    stands in place of StarCraft's map; there, a kill is rewarded besides, and rewards sum to 20.
    """

    allies: int = 3
    enemies: int = 3
    size: int = 8
    ally_health: float = 5.0
    enemy_health: float = 5.0
    ally_damage: float = 1.0
    enemy_damage: float = 1.0
    attack_range: int = 2
    sight_range: int = 5
    bonus: float = 0.5
    limit: int = field(default=40, kw_only=True)

    def __post_init__(self) -> None:
        check_whole("size", self.size, least=4, most=1000)
        for name in ("allies", "enemies"):
            check_whole(name, getattr(self, name), most=min(8, DEEP * self.size))
        for name in ("ally_health", "enemy_health", "ally_damage", "enemy_damage"):
            check_number(name, getattr(self, name), ends="()")
        check_whole("attack_range", self.attack_range)
        check_whole("sight_range", self.sight_range)
        if self.attack_range > self.sight_range:
            raise PerdureError(
                f"attack_range must be at most sight_range={self.sight_range}; found {self.attack_range}"
            )
        check_number("bonus", self.bonus, high=1, ends="[]")
        super().__post_init__()

    @property
    def team(self) -> int:
        return self.allies

    @property
    def entities(self) -> int:
        return self.allies + self.enemies

    @property
    def moves(self) -> int:
        return MOVES

    def reset(self, rng: Rng, n: int) -> State:
        left: list[Cell] = [(i, j) for i in range(self.size) for j in range(DEEP)]
        right = [(i, self.size - 1 - j) for i, j in left]
        ally = drawn(rng, "allies", left, n, self.allies)
        enemy = drawn(rng, "enemies", right, n, self.enemies)
        healths = [torch.zeros_like(place[..., 0], dtype=torch.float32) for place in (ally, enemy)]
        return {
            "ally": ally,
            "enemy": enemy,
            "ally_health": healths[0] + self.ally_health,
            "enemy_health": healths[1] + self.enemy_health,
        }

    def tables(self, state: State) -> Tensor:
        ally, enemy, ours, theirs = (state[k] for k in ("ally", "enemy", "ally_health", "enemy_health"))
        mates = others(self.allies, ally.device)
        there = (ours > 0).unsqueeze(-1)
        ours, theirs = ours / self.ally_health, theirs / self.enemy_health
        able = (self.ally_damage / self.enemy_health, self.enemy_damage / self.ally_health)

        def seen(kind: str, where: Tensor, health: Tensor, damage: float, reach: int) -> Tensor:
            away = where - ally.unsqueeze(2)
            steps = away.abs().sum(-1)
            known = there & (health > 0)
            near, target = known & (steps <= self.sight_range), known & (steps <= reach)
            place = away.to(health.dtype) / self.sight_range
            return row(kind, place, health, 0 * health + min(1.0, damage), present=near, target=target)

        place = scaled(ally, 0, self.size - 1).to(ours.dtype)
        own = row("agent", place, ours, 0 * ours + min(1.0, able[0]), own=True, present=there.squeeze(-1))
        return torch.cat(
            [
                own.unsqueeze(2),
                # Nobody acts on agents: none is as near as that.
                seen("agent", ally[:, mates], ours[:, mates], able[0], -1),
                seen("enemy", enemy.unsqueeze(1), theirs.unsqueeze(1), able[1], self.attack_range),
            ],
            2,
        )

    def act(self, state: State, action: Tensor, rng: Rng) -> tuple[State, Tensor, Tensor]:
        ally, enemy, ours, theirs = (state[k] for k in ("ally", "enemy", "ally_health", "enemy_health"))
        alive = ours > 0
        numbers = torch.arange(self.enemies, device=action.device)
        aimed = (action - MOVES - self.allies).unsqueeze(-1) == numbers
        near = (enemy.unsqueeze(1) - ally.unsqueeze(2)).abs().sum(-1) <= self.attack_range
        hits = (aimed & near & alive.unsqueeze(-1)).sum(1)
        left = struck(theirs, self.enemy_health, self.ally_damage, hits)
        ally = moved(ally, torch.where(alive, action, 0), 0, self.size - 1)
        enemy, hurt = self._script(ally, alive, enemy, left > 0)
        after = struck(ours, self.ally_health, self.enemy_damage, hurt)
        won, lost = (left <= 0).all(-1), (after <= 0).all(-1)
        dealt = (theirs - left).sum(-1) / (self.enemies * self.enemy_health)
        reward = (1 - self.bonus) * dealt + self.bonus * (won & (theirs > 0).any(-1))
        new = {"ally": ally, "enemy": enemy, "ally_health": after, "enemy_health": left}
        return new, reward, won | lost

    def _script(self, ally: Tensor, alive: Tensor, enemy: Tensor, able: Tensor) -> tuple[Tensor, Tensor]:
        """Return where enemies are after their turn, and how many attack each agent, ``[n, allies]``."""
        away = ally.unsqueeze(1) - enemy.unsqueeze(2)
        steps = away.abs().sum(-1)
        numbers = torch.arange(self.allies, device=ally.device)
        # Further than any cell is who is dead; the number decides between those that are equally near.
        order = torch.where(alive.unsqueeze(1), steps, 2 * self.size) * self.allies + numbers
        nearest = numbers == order.argmin(-1, keepdim=True)
        down, right = (away * nearest.unsqueeze(-1)).sum(2).unbind(-1)
        near = (nearest & alive.unsqueeze(1) & (steps <= self.attack_range)).any(-1)
        hurt = (nearest & (near & able).unsqueeze(-1)).sum(1)
        rows = down.abs() >= right.abs()
        step = torch.stack([torch.where(rows, down.sign(), 0), torch.where(rows, 0, right.sign())], -1)
        goes = able & ~near & alive.any(-1, keepdim=True)
        return enemy + step * goes.unsqueeze(-1), hurt

    def frame(self, state: State) -> Tensor:
        """Return pictures: agents blue, enemies red, with what health is left above; the dead are gone."""
        parties = (("ally", self.ally_health, BLUE), ("enemy", self.enemy_health, RED))
        picture = Picture.blank(state["ally"], 0.0, 0.0, float(self.size))
        for k in range(1, self.size):
            picture = picture.line((float(k), 0.0), (float(k), float(self.size)), 0.03, SILVER)
            picture = picture.line((0.0, float(k)), (float(self.size), float(k)), 0.03, SILVER)
        for name, full, colour in parties:
            share = state[f"{name}_health"] / full
            for k in range(share.shape[1]):
                here, health = state[name][:, k], share[:, k]
                # Whoever is dead is drawn out of the picture.
                x = here[:, 1] + 0.5 - 2.0 * self.size * (health <= 0)
                y = self.size - here[:, 0] - 0.5
                picture = picture.disc((x, y), 0.3, colour)
                picture = picture.line((x - 0.4, y + 0.4), (x + 0.4, y + 0.4), 0.12, BLACK)
                picture = picture.line((x - 0.4, y + 0.4), (x - 0.4 + 0.8 * health, y + 0.4), 0.12, GREEN)
        return picture.bytes()


def struck(health: Tensor, full: float, damage: float, hits: Tensor) -> Tensor:
    """Return what some more hits leave of units' health, which began with ``full`` of it.

    What is close to a whole number of hits is taken for it, in each step: what rounding leaves of .3 after
    three hits of .1 would keep a unit alive.
    """
    left = health - damage * hits
    taken = (full - left) / damage
    left = torch.where((taken - taken.round()).abs() < NEARLY, full - damage * taken.round(), left)
    return torch.where(left < NEARLY * damage, 0, left)
