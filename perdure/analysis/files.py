"""Files that are whole or not there, in folders that one process writes at a time.

A file is written under a hidden name in its own folder, brought to the disk and moved, so a folder may be a
mount point, or a link to one. What a killed process leaves are such hidden files: :func:`sweep` removes them.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perdure.core.errors import PerdureError

LOCK = ".perdure-lock"
DRAFT = re.compile(r"\.perdure-[0-9a-f]{16}")


class FolderError(PerdureError):
    """What is wrong with a run's folder or its disk, and so with no strategy."""


def write_beside(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all: beside its place, to the disk, then moved in; folders are made.

    A link at ``path`` is replaced, and what it leads to left alone. A pipe or a device is written to, and so
    is what a link of the system's own leads to (``/dev/stdout``).
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if _is_special(target):
            _write_to(target, content)
            return
        draft = target.with_name(f".perdure-{secrets.token_hex(8)}")
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                _to_disk(file.fileno())
            draft.replace(target)
        finally:
            with suppress(OSError):
                draft.unlink()
        _note_moves(target.parent)
    except (OSError, ValueError) as error:
        raise FolderError(f"expected a file that can be written; found {target}: {line(error)}") from None


def _is_special(path: Path) -> bool:
    """Tell whether a path is a pipe or a device, which a link in somebody's folder is not."""
    if not _leads_to_no_file(path):
        return False
    folder = path.parent.resolve()
    return not path.is_symlink() or folder == Path("/dev") or folder.is_relative_to("/proc")


def _leads_to_no_file(path: Path) -> bool:
    """Tell whether a path is, or leads to, what is neither a file nor a folder: a pipe or a device."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _write_to(special: Path, content: bytes) -> None:
    """Write to a pipe or a device; a pipe that nobody reads would let us wait for ever, and is refused."""
    try:
        place = os.open(special, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "Is a pipe that nobody reads") from None
        raise
    with os.fdopen(place, "wb") as file:
        os.set_blocking(file.fileno(), True)
        file.write(content)


def regular(path: Path) -> Path:
    """Return ``path``, to be read; a pipe or a device, which may never end, is an ``OSError``."""
    if _leads_to_no_file(path):
        raise OSError(errno.EINVAL, "Is a pipe or a device")
    return path


def sweep(folder: Path) -> None:
    """Remove the drafts that a killed process left in ``folder``."""
    for draft in folder.iterdir() if folder.is_dir() else ():
        if DRAFT.fullmatch(draft.name) and draft.is_file() and not draft.is_symlink():
            draft.unlink(missing_ok=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder if it is missing, and keep other processes out of it.

    The lock is a file in it that the kernel releases when the process ends, however it ends. A folder that
    was made and stayed empty is removed again.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
    except (OSError, ValueError) as error:
        _remove_empty(made)
        if isinstance(error, FolderError):
            raise
        raise FolderError(f"expected a folder that can be written; found {folder}: {line(error)}") from None
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
        os.close(lock)
        _remove_empty(made)


def line(error: BaseException) -> str:
    """Say in one line what an error says; of an operating system's, without the hidden names."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError, ValueError):
        for folder in folders:
            folder.rmdir()


def _lock(folder: Path) -> int:
    while True:
        file = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _take(file, folder)
            # Whoever held it may have removed it in between: then it keeps nobody out.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), (folder / LOCK).stat()):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _take(file: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderError(f"expected a folder of one run at a time; another is at work in {folder}") from None
    except OSError as error:
        # Some volumes have no locks: a run alone is right there too.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise


def _to_disk(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        # Some volumes cannot be asked to; that the disk is full must be heard.
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise


def _note_moves(folder: Path) -> None:
    """Bring the names in a folder to the disk: what is removed next may rely on what was moved in."""
    if os.name == "posix":
        file = os.open(folder, os.O_RDONLY)
        try:
            _to_disk(file)
        finally:
            os.close(file)
