"""The progress bar of long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any


class Progress:
    """A line per strategy with what is done and what is left, shown on a terminal only.

    Parameters
    ----------
    quiet:
        Show nothing.
    """

    def __init__(self, quiet: bool) -> None:
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )  # fmt: skip

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def of(self, name: str) -> Callable[[int, int], None]:
        """Return what to call with the steps done and the steps in all of ``name``."""
        if self._bar is None:
            return lambda done, total: None
        row = self._bar.add_task(name, total=None)
        shown = [0.0]

        def tick(done: int, total: int) -> None:
            now = time.monotonic()
            if now - shown[0] > 0.1 or done == total:  # Drawing at every step would cost more than the step.
                shown[0] = now
                self._bar.update(row, completed=done, total=total)

        return tick
