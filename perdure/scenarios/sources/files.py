"""Finding the files of data sets, and saying in one line what is wrong with them."""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from perdure.core.errors import PerdureError

VARIABLE = "PERDURE_DATA"
BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile)


def cache() -> Path:
    """Return the folder that downloads go to: ``perdure`` in ``XDG_CACHE_HOME``, or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perdure"


def folders() -> list[Path]:
    """Return the folders that may hold data sets: ``PERDURE_DATA``, which is only read, and the cache."""
    named = os.environ.get(VARIABLE)
    # `Path.expanduser` fails where a name has no home.
    return [*([Path(os.path.expanduser(named))] if named else []), cache()]  # noqa: PTH111


def find(source: str, *names: str) -> Path:
    """Return the first file of these names in the folders of data sets."""
    for folder in folders():
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise PerdureError(
        f"source {source!r} needs the file {' or '.join(names)}, which is not in "
        f"{' or '.join(map(str, folders()))}: point {VARIABLE} to the folder that holds it"
    )


def existing(path: str | Path, what: str) -> Path:
    """Return a path that a user named, when there is something at it."""
    if not isinstance(path, (str, Path)):
        raise PerdureError(f"expected the path of {what}; found {path!r}")
    try:
        place = Path(path).expanduser()
        exists = place.exists()
    except (OSError, RuntimeError) as error:  # names too long, homes of nobody, folders that are locked
        raise PerdureError(f"cannot look for {what} at {path}: {error}") from error
    if not exists:
        raise PerdureError(f"there is no {what} at {place}")
    return place


def files_below(folder: Path) -> list[PurePosixPath]:
    """List what lies below a folder and is no folder, as paths from there; links to folders are followed.

    Hidden names are passed over. A folder that cannot be listed is an error, as is a link that leads back to
    a folder around it.
    """
    found = []
    # Each folder, by its own place and by the real places of the folders around it.
    waiting = [(folder, frozenset({folder.resolve()}))]
    while waiting:
        place, around = waiting.pop()
        for inner in place.iterdir():
            if inner.name.startswith("."):
                continue
            if inner.is_dir():
                real = inner.resolve()
                if real in around:
                    raise PerdureError(f"{inner}: expected a folder; found a link to a folder around it")
                waiting.append((inner, around | {real}))
            else:
                found.append(PurePosixPath(inner.relative_to(folder).as_posix()))
    return found


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is read into one line that names the file."""
    try:
        yield
    except PerdureError:
        raise
    except Exception as error:  # readers of other people's files raise whatever they please
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PerdureError(f"cannot read {path}: {reason[:300]}") from error


def read_bytes(path: Path) -> bytes:
    """Return a file's content, unpacked when its name ends in ``.gz``."""
    with readable(path):
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
