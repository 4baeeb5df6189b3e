"""A process that answers requests, line by line; it is ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from perdure.core.errors import PerdureError, shown

CHILD = Path(__file__).with_name("child.py")
# Seconds that a process has to end by itself once its input has, before it is made to.
GRACE = 5.0
# How much of its standard error is looked at.
TAIL = 4096


class Process:
    """A Python of the user's that runs :mod:`perdure.envs.android_world.child`.

    Parameters
    ----------
    python:
        Its path.
    timeout:
        Seconds that an answer may take.

    Raises
    ------
    PerdureError
        Where it cannot be started; and from :meth:`ask`, where it answers too late, with an error or with
        what is no answer, or has ended. After all of these but an error the process has ended.
    """

    def __init__(self, python: str, timeout: float) -> None:
        self.python, self.timeout, self._asked = python, timeout, 0
        # Its standard error goes to a file: a pipe that nobody reads would block whoever writes much.
        said = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        try:
            self._child = subprocess.Popen(
                [python, "-u", str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
                encoding="utf-8", errors="replace",
            )  # fmt: skip
        except OSError as error:
            said.close()
            raise PerdureError(f"cannot start the Python {shown(python)}: {error.strerror}") from error
        self._finalizer = weakref.finalize(self, _ended, self._child, said, 0.0)
        assert self._child.stdout is not None
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        threading.Thread(target=_read, args=(self._child.stdout, self._lines), daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._finalizer.alive and self._child.poll() is None

    def ask(self, do: str, **given: Any) -> Any:
        """Ask for something to be done; return the answer."""
        if not self._finalizer.alive:
            raise PerdureError("expected a running android_world; found one that was closed or has ended")
        self._asked += 1
        assert self._child.stdin is not None
        # What cannot be written is told by the end of what it writes.
        with contextlib.suppress(OSError):
            self._child.stdin.write(json.dumps({"id": self._asked, "do": do, "with": given}) + "\n")
            self._child.stdin.flush()
        try:
            line = self._lines.get(timeout=self.timeout)
        except Empty:
            self.end(0.0)
            raise PerdureError(
                f"android_world took more than {self.timeout:g} seconds to {do}: its process was ended"
            ) from None
        if line is None:
            last = self.end()
            status = self._child.returncode
            raise PerdureError(
                f"android_world's process ended with status {status} when asked to {do}: {last}"
            )
        return self._found(do, line)

    def _found(self, do: str, line: str) -> Any:
        """Return what an answer says."""
        try:
            answer = json.loads(line)
            fits = answer["id"] == self._asked
            error, found = answer.get("error"), answer.get("found")
        except (ValueError, TypeError, KeyError, AttributeError):
            fits = False
        if not fits:
            self.end(0.0)
            raise PerdureError(f"expected an answer in JSON from android_world; found {shown(line.strip())}")
        if error is not None:
            raise PerdureError(f"android_world failed to {do}: {error}")
        return found

    def end(self, grace: float = GRACE) -> str:
        """End the process: wait for it to do so for some seconds, then make it. Return what it said last."""
        held = self._finalizer.detach()
        return _ended(self._child, held[2][1], grace) if held else ""


def _read(lines: IO[str], into: SimpleQueue[str | None]) -> None:
    """Pass lines on as they come, and nothing at their end."""
    # A pipe that is closed under its reader has no more lines either.
    with contextlib.suppress(ValueError, OSError):
        for line in lines:
            into.put(line)
    into.put(None)


def _ended(child: subprocess.Popen[str], said: IO[bytes], grace: float) -> str:
    """Close a process's input, wait for its end, make it end if need be; return the last line it said."""
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()
    for wait, insist in ((grace, child.terminate), (GRACE, child.kill)):
        try:
            child.wait(wait)
            break
        except subprocess.TimeoutExpired:
            insist()
    child.wait()
    if child.stdout is not None:
        child.stdout.close()
    said.seek(max(0, said.seek(0, 2) - TAIL))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    said.close()
    return lines[-1] if lines else "it said nothing"
