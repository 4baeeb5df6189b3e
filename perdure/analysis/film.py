"""Films: a few moments of one episode side by side, as the results keep them."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from perdure.core.errors import PerdureError, shown

if TYPE_CHECKING:
    from perdure.analysis.record import Record

Frames = npt.NDArray[np.uint8]
# Moments of an episode that results keep, and the largest side of a picture of one, in pixels.
MOMENTS, LARGEST = 8, 128
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Strip:
    """Moments of a scored episode of the policy of the first seed: that whose return is the median.

    Parameters
    ----------
    stage, task:
        After which stage (from 0), in which task.
    episode:
        Which of those that were scored, from 0.
    steps:
        After how many steps of the episode each picture was taken; the last one is its length.
    score:
        Of the episode: its return.
    png:
        The pictures from left to right in one, as base64.
    """

    stage: int
    task: int
    episode: int
    steps: list[int]
    score: float
    png: str

    @classmethod
    def of(cls, stage: int, task: int, episode: int, steps: list[int], score: float, frames: Frames) -> Strip:
        """Put pictures ``[n, height, width, 3]`` side by side."""
        return cls(stage, task, episode, steps, score, base64.b64encode(side_by_side(frames)).decode())

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all pictures together, in pixels."""
        head = base64.b64decode(self.png[:64])
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")

    def frames(self) -> Frames:
        """Return the pictures, ``[n, height, width, 3]``."""
        from PIL import Image

        with Image.open(io.BytesIO(base64.b64decode(self.png))) as image:
            whole = np.asarray(image.convert("RGB"))
        return np.stack(np.split(whole, len(self.steps), axis=1))


def moments(length: int, count: int = MOMENTS) -> list[int]:
    """Return moments of an episode of so many steps, evenly spaced from its start to its end.

    A short episode has fewer of them than asked for.

    >>> moments(10, 3), moments(2, 4)
    ([0, 5, 10], [0, 1, 2])
    """
    return list(dict.fromkeys(round(i * length / (count - 1)) for i in range(count)))


def side_by_side(frames: Frames) -> bytes:
    """Return pictures from left to right as one PNG; large ones are made smaller by a whole number."""
    from PIL import Image

    check_frames(frames)
    factor = -(-max(frames.shape[1:3]) // LARGEST)
    small = [np.asarray(Image.fromarray(frame).reduce(factor)) for frame in frames]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(small, axis=1)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def check_frames(frames: Any) -> Frames:
    """Refuse what is not at least one picture, ``[n, height, width, 3]`` bytes."""
    found = np.asarray(frames)
    if found.dtype != np.uint8 or found.ndim != 4 or found.shape[-1] != 3 or not found.size:
        raise PerdureError(
            "expected pictures [n, height, width, 3] of bytes (uint8); found "
            f"{found.dtype} {list(found.shape)}"
        )
    return found


def strips(results: Record, strategy: str) -> list[Strip]:
    """Return the strips of a strategy, in the order of stages and tasks; none where none were made."""
    kept = results.extras.get(strategy, {}).get("film", {})
    return [Strip(**strip) for strip in kept.get("strips", [])]


def filmed(results: Record) -> list[str]:
    """Name the strategies that have strips."""
    return [name for name in results.strategies if strips(results, name)]


def left_out(results: Record) -> list[str]:
    """Say why there are no pictures of some worlds, each reason once."""
    films = [results.extras.get(name, {}).get("film", {}) for name in results.strategies]
    return list(dict.fromkeys(reason for film in films for reason in film.get("left_out", [])))


def is_film(value: Any) -> bool:
    """Tell whether a value is what a run keeps under ``extras[strategy]["film"]``."""
    if not isinstance(value, dict) or not {"strips", "left_out"}.issuperset(value):
        return False
    reasons, found = value.get("left_out", []), value.get("strips", [])
    return (
        isinstance(reasons, list)
        and all(isinstance(reason, str) for reason in reasons)
        and isinstance(found, list)
        and all(_is_strip(strip) for strip in found)
    )


def _is_strip(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != set(Strip.__annotations__):
        return False
    steps = value["steps"]
    places = [type(value[key]) for key in ("stage", "task", "episode")]
    numbers = places == [int] * 3 and type(value["score"]) in (int, float)
    if (
        not numbers
        or not isinstance(steps, list)
        or not steps
        or any(type(step) is not int for step in steps)
    ):
        return False
    try:
        content = base64.b64decode(value["png"], validate=True)
    except (binascii.Error, TypeError, ValueError):
        return False
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    return content.startswith(PNG) and width > 0 and height > 0 and width % len(steps) == 0


def needed(results: Record, strategy: str) -> list[Strip]:
    """Return the strips of a strategy; refused where there are none."""
    found = strips(results, strategy)
    if not found:
        why = "; ".join(left_out(results)) or "pictures are made of streams of environments"
        raise PerdureError(f"expected pictures of what {shown(strategy)} does; found none: {why}")
    return found
