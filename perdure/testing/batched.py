"""An environment in Gymnasium's form: many copies against each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector.utils import iterate

from perdure.envs.contract import Env
from perdure.envs.gym import Batched, Single, can_draw
from perdure.testing.promises import Broken


def check_batched(env: Env, copies: int, steps: int) -> None:
    """Refuse copies side by side that live through something else than each alone, with its seed."""
    seed, mode = 5, "rgb_array" if can_draw(env) else None
    many, singles = Batched(env, copies, render_mode=mode), [Single(env, mode) for _ in range(copies)]
    many.action_space.seed(seed)
    seen, _ = many.reset(seed=seed)
    alone = [single.reset(seed=seed + i)[0] for i, single in enumerate(singles)]
    over, age = np.zeros(copies, dtype=bool), np.zeros(copies, dtype=int)
    promise = f"{env}: in Gymnasium's form one copy must be the same alone as among {copies}"
    for t in range(steps + 1):
        for i in range(copies):
            if not np.array_equal(seen[i], alone[i]):
                raise Broken(f"{promise}; observations differ after {t} steps")
            if seen[i] not in many.single_observation_space:
                raise Broken(f"{env}: observations must lie in Gymnasium's space; found {seen[i].tolist()}")
        action = many.action_space.sample()
        seen, reward, ended, cut, _ = many.step(action)
        for i, (single, one) in enumerate(zip(singles, iterate(many.action_space, action), strict=True)):
            if over[i]:
                alone[i], paid, end, age[i] = single.reset()[0], 0.0, False, 0
            else:
                alone[i], paid, end, _, _ = single.step(one)
                age[i] += 1
            if (reward[i], ended[i], cut[i]) != (paid, end, age[i] >= env.limit):
                raise Broken(f"{promise}; rewards or ends differ after {t + 1} steps")
        over = ended | cut
    if mode:
        _check_pictures(env, many.render(), singles, promise)


def _check_pictures(env: Env, pictures: Any, singles: list[Single], promise: str) -> None:
    for picture, single in zip(pictures, singles, strict=True):
        if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
            raise Broken(
                f"{env}: frame must return pictures [n, height, width, 3] uint8; found one "
                f"{list(picture.shape)} {picture.dtype}"
            )
        if not np.array_equal(picture, single.render()):
            raise Broken(f"{promise}; pictures differ")
