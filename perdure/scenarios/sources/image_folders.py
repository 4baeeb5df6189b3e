"""Folders and zips of images: a folder for each class, perhaps within a folder for each group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.scenarios.source import SOURCES, Source
from perdure.scenarios.sources.files import existing, find, readable
from perdure.scenarios.sources.image_files import ImageFile, Listed, as_parts, as_test_part, listed
from perdure.scenarios.sources.pixels import Pixels, decode, stacked


@SOURCES.register("images")
def images(
    path: str | Path,
    size: int = 28,
    *,
    channels: int = 1,
    invert: bool = False,
    test: str | Path | None = None,
) -> Source:
    """Read images from a folder or a zip, ``[n, channels, size, size]`` in [0, 1].

    The name of the folder that an image is in is its class. One more level of folders makes groups of
    classes (``alphabet/character/drawing.png``), which ``split`` takes as tasks. In a zip, a folder around
    everything is passed over. Other files are too.

    A level of folders that are all called ``train``, ``val`` (``valid``, ``validation``, ``dev``) or ``test``
    makes parts, not groups. Validation images stay validation images; where there is no test part, they are
    it, and a note says so. Without either, and without ``test``, 20 % of every class is set aside.

    Values are scaled by the file's type: 8 bits by 255, 16 bits by 65535; real numbers must lie in [0, 1].
    What is transparent is laid on white. Of several frames, the first is read.

    Parameters
    ----------
    path:
        The folder or the zip; a zip is read in memory, nothing is unpacked.
    size:
        Height and width that all images are resized to (bilinear), at most 4096.
    channels:
        1 for grey, 3 for colours.
    invert:
        True to make black 1 and white 0, for ink on paper.
    test:
        A folder or zip with the same folders of classes as the test part.

    Raises
    ------
    PerdureError
        When there are no images, folders are not of one depth, parts do not fit together, or an image cannot
        be read.
    """
    place = existing(path, "folder or zip of images")
    test_place = None if test is None else existing(test, "folder or zip of test images")
    return _read(place.stem, place, size, channels, invert, test_place)


@SOURCES.register("omniglot")
def omniglot(size: int = 28) -> Source:
    """Return Omniglot's small background set: 5 alphabets, 136 characters, 20 drawings of each.

    Read from ``omniglot_small1.zip`` in ``PERDURE_DATA`` (brendenlake/omniglot,
    ``images_background_small1``), as ``[n, 1, size, size]`` with ink 1 on paper 0. Alphabets are groups:
    ``split`` makes a task of each.

    Parameters
    ----------
    size:
        Height and width that the drawings of 105 x 105 are resized to.

    Raises
    ------
    PerdureError
        When the file is missing or unreadable.
    """
    return _read("omniglot", find("omniglot", "omniglot_small1.zip"), size, 1, True)


def _read(name: str, place: Path, size: int, channels: int, invert: bool, test: Path | None = None) -> Source:
    check_whole("`size`", size, most=4096)
    if check_whole("`channels`", channels) not in (1, 3):
        raise PerdureError(f"`channels` must be 1 (grey) or 3 (colours); found {channels!r}")
    oddities: Counter[str] = Counter()
    found, pixels = _decoded(place, as_parts, size, channels, oddities)
    has = {image.part for image in found}
    notes = []
    if test is not None:
        if "test" in has:
            raise PerdureError(f"{place} has a test part: expected no `test` beside it; found {test}")
        others, more = _decoded(test, as_test_part, size, channels, oddities)
        found, pixels = found + others, pixels + more
    elif "val" in has and "test" not in has:
        found = [replace(image, part="test") if image.part == "val" else image for image in found]
        notes = [f"{place} has no test part: its validation part is the test part"]
    notes += [f"{place}: {number} images {oddity}" for oddity, number in sorted(oddities.items())]
    return _source(name, place, found, pixels, invert, notes)


def _source(
    name: str,
    place: Path,
    found: Sequence[ImageFile],
    pixels: Sequence[Pixels],
    invert: bool,
    notes: Sequence[str],
) -> Source:
    names = sorted({image.key for image in found if image.part == "train"})
    number = {key: i for i, key in enumerate(names)}
    for image in found:
        if image.key not in number:
            raise PerdureError(
                f"{place}: expected the classes of the training part alone; found {'/'.join(image.key)!r} in "
                f"the {image.part} part"
            )
    x, scale = stacked(pixels, invert)
    y = np.array([number[image.key] for image in found], dtype=np.int64)
    held = np.array([image.part == "val" for image in found])
    scored = np.array([image.part == "test" for image in found])
    # Arrays are only cut, which copies them, where there is something to cut.
    parts = (x[~scored], y[~scored], x[scored], y[scored]) if scored.any() else (x, y)
    groups = sorted({key[0] for key in names}) if len(names[0]) == 2 else None
    return Source.build(
        name,
        *parts,
        class_names=["/".join(key) for key in names],
        groups=None
        if groups is None
        else [[number[key] for key in names if key[0] == group] for group in groups],
        group_names=groups,
        validation=held[~scored] if held.any() else None,
        notes=notes,
        scale=scale,
    )


def _decoded(
    place: Path,
    tell: Callable[[Path, Listed], list[ImageFile]],
    size: int,
    channels: int,
    oddities: Counter[str],
) -> tuple[list[ImageFile], list[Pixels]]:
    """Return the images of a folder or zip, and what they show; ``oddities`` counts what is odd."""
    with listed(place) as files:
        found = tell(place, files)
        pixels = []
        for image in found:
            with readable(place):
                content = image.read()
            one, odd = decode(f"{place}: cannot read the image {image.file}", content, size, channels)
            pixels.append(one)
            oddities.update(odd)
    return found, pixels
