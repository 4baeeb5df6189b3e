"""How the command ends before its work is done: signals and complaints."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; ``status`` is what the shell expects, ``hint`` how to go on.

    No KeyboardInterrupt: typer turns that into an exit of its own, without a word.
    """

    def __init__(self, status: int, hint: str = "") -> None:
        super().__init__(status)
        self.status, self.hint = status, hint


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise :class:`Stopped`; a signal that is ignored (``nohup``) stays so."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(128 + number)

    taken = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, stop) for s in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def complain(text: str, status: int) -> int:
    """Print what is wrong in one line; returns the status."""
    print("perdure: " + " ".join(text.split()), file=sys.stderr)
    return status
