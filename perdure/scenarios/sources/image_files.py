"""Which images a folder or zip holds, and what the folders that they are in say of each."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from perdure.core.errors import PerdureError
from perdure.scenarios.sources.files import files_below, readable

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"})
# What folders of parts are called, in small letters, and the part that each is.
PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
# An image file beyond this is no image that anybody trains on: a zip can promise any size.
LARGEST = 1 << 28
Read = Callable[[], bytes]
Listed = list[tuple[PurePosixPath, Read]]


@dataclass(frozen=True)
class ImageFile:
    """One file of images.

    Parameters
    ----------
    file:
        Its path below the folder or zip.
    key:
        The folders that say its class: ``(class,)`` or ``(group, class)``.
    part:
        ``"train"``, ``"val"`` or ``"test"``.
    read:
        Returns the file's content.
    """

    file: PurePosixPath
    key: tuple[str, ...]
    part: str
    read: Read


@contextmanager
def listed(place: Path) -> Iterator[Listed]:
    """List the path of each image below a folder or in a zip, sorted, and what reads it."""
    with ExitStack() as stack:
        with readable(place):
            if place.is_dir():
                found = in_folder(place)
            else:
                found = _in_zip(place, stack.enter_context(zipfile.ZipFile(place)))
        if not found:
            raise PerdureError(f"{place}: expected images in folders, one for each class; found no images")
        yield sorted(found.items(), key=lambda pair: pair[0].parts)


def in_folder(place: Path) -> dict[PurePosixPath, Read]:
    """Return the path of each image below a folder, and what reads it."""
    return {file: partial(content, place / file) for file in files_below(place) if _is_image(file)}


def content(path: str | Path) -> bytes:
    """Return what is in a file, unless it is too large to be an image."""
    # Once for each file of each epoch: a Path takes as long to make as a small file to read.
    try:
        found = os.stat(path)  # noqa: PTH116
        if stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST:
            with open(path, "rb") as file:  # noqa: PTH123
                return file.read()
    except OSError as error:
        raise PerdureError(f"cannot read {path}: {error.strerror}") from error
    raise PerdureError(f"expected a file of at most {LARGEST} bytes; found something else at {path}")


def _in_zip(place: Path, archive: zipfile.ZipFile) -> dict[PurePosixPath, Read]:
    members = {PurePosixPath(m.filename): m for m in archive.infolist() if not m.is_dir()}
    shown = {file: member for file, member in members.items() if _is_image(file)}
    for file, member in shown.items():
        if member.file_size > LARGEST:
            raise PerdureError(
                f"{place}: an image must have at most {LARGEST} bytes; {file} has {member.file_size}"
            )
    tops = {file.parts[0] for file in shown}
    around = int(len(tops) == 1 and all(len(file.parts) > 2 for file in shown))
    return {
        PurePosixPath(*file.parts[around:]): partial(archive.read, member) for file, member in shown.items()
    }


def _is_image(file: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in file.parts)
    return file.suffix.lower() in ENDINGS and not hidden


def as_parts(place: Path, files: Listed) -> list[ImageFile]:
    """Tell classes, and parts where there are folders of them, from the folders of each image."""
    level = _level_of_parts(place, [file for file, _ in files])
    found = []
    for file, read in files:
        folders = list(file.parts[:-1])
        part = "train" if level is None else PARTS[folders.pop(level).lower()]
        found.append(ImageFile(file, tuple(folders), part, read))
    parts = sorted({image.part for image in found})
    if "train" not in parts:
        raise PerdureError(f"{place}: expected a training part; found {' and '.join(parts)} alone")
    _check_depths(place, found)
    return found


def as_test_part(place: Path, files: Listed) -> list[ImageFile]:
    """Take all images of a folder or zip as the test part."""
    if _level_of_parts(place, [file for file, _ in files]) is not None:
        raise PerdureError(f"{place}: expected the classes of the test part; found folders of parts")
    found = [ImageFile(file, file.parts[:-1], "test", read) for file, read in files]
    _check_depths(place, found)
    return found


def _level_of_parts(place: Path, files: Sequence[PurePosixPath]) -> int | None:
    """Return the level of folders that are parts; one that mixes parts and classes is refused."""
    for level in range(min(len(file.parts) for file in files) - 1):
        names = {file.parts[level] for file in files}
        called = {PARTS.get(name.lower()) for name in names}
        if None not in called:
            return level
        # Right above the images a single one, such as a class of trains, is a class.
        classes = all(len(file.parts) == level + 2 for file in files)
        several = len(called - {None}) > 1 and "train" in called
        if several or (called != {None} and not classes):
            others = sorted(name for name in names if name.lower() not in PARTS)
            raise PerdureError(
                f"{place}: expected folders of parts ({', '.join(sorted(names - set(others)))}) or of "
                f"{'classes' if classes else 'others'}; found {others[0]!r} beside them"
            )
    return None


def _check_depths(place: Path, found: Sequence[ImageFile]) -> None:
    depths = {len(image.key): image.file for image in found}
    if len(depths) > 1 or not depths.keys() <= {1, 2}:
        raise PerdureError(
            f"{place}: expected class/image or group/class/image throughout (in each part, where there are "
            f"parts); found images {' and '.join(map(str, sorted(depths)))} folders deep, such as "
            f"{depths[min(depths)]}"
        )
