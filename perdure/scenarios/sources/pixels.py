"""From the content of an image file to pixels, scaled by the file's own type."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from perdure.core.errors import PerdureError
from perdure.scenarios.contract.transforms import Bytes

if TYPE_CHECKING:
    from PIL.Image import Image

# One image [channels, size, size]: bytes (0 to 255) as they are, or float32 in [0, 1].
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]] | Floats

TRANSPARENT = "are partly transparent, which is laid on white"
FRAMES = "hold several frames, of which the first is read"
# What is decoded, whatever a file is called: other formats run programs (EPS), or mean something else.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Tags of TIFF, and what they say of unsigned whole numbers that grow with brightness.
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
WHITE_IS_ZERO, UNSIGNED = 0, 1


def decode(what_failed: str, content: bytes, size: int, channels: int) -> tuple[Pixels, list[str]]:
    """Decode one image, ``[channels, size, size]``, and say what is odd about it.

    Parameters
    ----------
    what_failed:
        How the error begins when it cannot be decoded.
    content:
        The file.
    size, channels:
        As for ``images``.
    """
    from PIL import Image

    try:
        # What a decoder warns of (odd metadata, many pixels) does not change the pixels.
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(content), formats=FORMATS) as image,
        ):
            odd = [FRAMES] if getattr(image, "is_animated", False) else []
            if image.mode == "F":
                return _resized(_real(image), size, channels), odd
            highest = _highest(image)
            if image.mode.startswith("I"):
                return _resized(np.asarray(image).astype(np.float32) / highest, size, channels), odd
            return _bytes(image, size, channels, odd), odd
    except Exception as error:  # decoders of foreign bytes raise whatever they please
        raise PerdureError(f"{what_failed}: {error or type(error).__name__}") from error


def stacked(pixels: Sequence[Pixels], invert: bool) -> tuple[np.ndarray[Any, Any], Bytes | None]:
    """Return images as one array, ``[n, channels, size, size]``, and the scale where it is one of bytes."""
    if all(image.dtype == np.uint8 for image in pixels):
        return np.stack(pixels), Bytes(invert=invert)
    numbers = [p if p.dtype == np.float32 else p.astype(np.float32) / np.float32(255) for p in pixels]
    return np.stack([1 - p if invert else p for p in numbers]), None


def _bytes(image: Image, size: int, channels: int, odd: list[str]) -> Pixels:
    """Resize an image of eight bits a channel."""
    from PIL import Image as images

    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        if layer.getchannel("A").tobytes().strip(b"\xff"):
            odd.append(TRANSPARENT)
            image = images.alpha_composite(images.new("RGBA", image.size, "white"), layer)
    mode = "L" if channels == 1 else "RGB"
    # What is so already is not copied: files that are read again each epoch are mostly of the right size.
    plain = image if image.mode == mode else image.convert(mode)
    small = plain.size == (size, size)
    resized = plain if small else plain.resize((size, size), images.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8).reshape(size, size, channels).transpose(2, 0, 1)


def _real(image: Image) -> Floats:
    values = np.asarray(image)
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"real numbers must lie in [0, 1]; found {values.min():g} to {values.max():g}")
    return values


def _resized(values: Floats, size: int, channels: int) -> Floats:
    """Resize a grey image of numbers in [0, 1] that are finer than bytes."""
    from PIL import Image as images

    resized = images.fromarray(values).resize((size, size), images.Resampling.BILINEAR)
    return np.broadcast_to(np.asarray(resized).clip(0, 1), (channels, size, size))


def _highest(image: Image) -> np.float32:
    """Return the highest whole number that a pixel can have in this kind of file."""
    tags = getattr(image, "tag_v2", {})
    # Beside TIFF, whole numbers of more than eight bits (in PNG and PGM) come as 16 bits.
    bits = max(tags.get(BITS_PER_SAMPLE, (16,)))
    if set(tags.get(SAMPLE_FORMAT, (UNSIGNED,))) != {UNSIGNED} or bits > 16:
        raise ValueError(f"whole numbers must be unsigned and have at most 16 bits; found {bits} bits")
    if image.mode.startswith("I") and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        raise ValueError("white must be the highest number; found a file in which it is 0")
    return np.float32(2**bits - 1)
