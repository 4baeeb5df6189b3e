"""Streams of environments whose observations and actions are of different sizes, padded to the largest."""

from __future__ import annotations

from perdure.core.checks import check_whole, checked
from perdure.core.errors import PerdureError
from perdure.envs.single_agent import Acrobot, CartPole, GridWorld, MountainCar
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators.acting import acting, first_of
from perdure.scenarios.generators.goals import ROOMS
from perdure.scenarios.generators.physics import BALANCE, Policies
from perdure.scenarios.generators.recipes import Algorithm

# Worst and best return of an episode.
RETURNS = {"cartpole": (0.0, 500.0), "acrobot": (-500.0, 0.0), "mountain car": (-200.0, 0.0)}
SIDES = (5, 7, 9, 11)


@checked
def classic_control(
    tasks: int = 3,
    *,
    force: float = 0.002,
    steps: int = 60_000,
    episodes: int = 10,
    setting: Policies = "task",
    algorithm: Algorithm = "ppo",
) -> Stream:
    """Make tasks of three bodies: keep a pole upright, swing two links up, drive a car out of a valley.

    They see 4, 6 and 2 numbers, and have 2, 3 and 3 actions: observations are padded with zeros to those of
    the largest task, and the action that the pole's cart lacks is closed to it. Learned and scored as
    ``cartpole-physics`` is.

    Parameters
    ----------
    tasks:
        How many, up to three: CartPole, Acrobot and MountainCar.
    force:
        Of a push of the car. The usual one is .001, with which plain exploration reached no goal in 100,000
        steps (two seeds); with the one here two seeds had -81 and -102 after 60,000.
    setting:
        ``"task"``: each task has a policy of its own behind what all share; ``"domain"``: all share one.
        There a policy that had learned CartPole learned nothing of Acrobot in 60,000 steps (two seeds).
    steps, episodes, algorithm:
        As for :func:`cartpole_physics`.

    Examples
    --------
    >>> stream = classic_control(setting="domain")
    >>> stream.input_shape, stream.masks()[0].tolist()
    ((6,), [True, True, False, True])
    """
    envs = {"cartpole": CartPole(), "acrobot": Acrobot(), "mountain car": MountainCar(force=force)}
    chosen = first_of(envs, tasks)
    worst, best = zip(*(RETURNS[name] for name in chosen), strict=True)
    return acting("classic-control", chosen, BALANCE[algorithm], setting, steps, episodes, worst, best)


@checked
def grid_world_sizes(
    tasks: int = 3, *, steps: int = 30_000, episodes: int = 20, setting: Policies = "task"
) -> Stream:
    """Make tasks of walking through four rooms to their lower right corner, larger rooms each time.

    What is seen are planes of the grid (walls, goal, agent), ``[5, n, n]``: a smaller grid stands in the
    upper left of the largest one's, and what lies beyond is zero. Learned and scored as ``cartpole-physics``
    is; a return is 1 less the cost of the steps.

    Parameters
    ----------
    tasks:
        How many, up to four: grids of 5, 7, 9 and 11 rows and columns.
    setting:
        ``"task"``: each task has a policy of its own behind what all share; ``"domain"``: all share one, and
        one of two seeds learned nothing after the smallest grid.
    steps, episodes:
        As for :func:`cartpole_physics`.
    """
    grids = {f"{side} x {side}": GridWorld(four_rooms(side), image=True) for side in SIDES}
    return acting("grid-world-sizes", first_of(grids, tasks), ROOMS, setting, steps, episodes, -1.0, best=1.0)


def four_rooms(side: int) -> tuple[str, ...]:
    """Return the rows of four rooms with a door between each two that are neighbours.

    Parameters
    ----------
    side:
        Rows and columns, an odd number of at least 5.

    Examples
    --------
    >>> print("\\n".join(four_rooms(7)))
    #######
    #.....#
    #..#..#
    #.###.#
    #..#..#
    #.....#
    #######
    """
    if check_whole("side", side, least=5) % 2 == 0:
        raise PerdureError(f"side must be an odd number; found {side}")
    last, middle = side - 1, side // 2
    doors = (middle // 2, last - middle // 2)

    def wall(row: int, column: int) -> bool:
        outer = {row, column} & {0, last}
        inner = (row == middle and column not in doors) or (column == middle and row not in doors)
        return bool(outer) or inner

    return tuple("".join("#" if wall(i, j) else "." for j in range(side)) for i in range(side))
