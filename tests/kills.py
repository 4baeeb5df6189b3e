"""Kill runs, at random and at every file operation, go on with them, and compare: `python tests/kills.py`.

A child process is forked for every try, so that nothing is loaded twice. It counts its own file operations
(the interpreter's audit events, and fsync) and kills itself at a given one, or is killed from outside.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALL: dict[str, Any] = {"seeds": 2, "epochs": 1, "quiet": True, "model": "mlp(hidden=[4])", "eval_every": 3}
STREAM = "split-digits | take(2)"
BOTH = ["naive", "cumulative"]
OPERATIONS = {
    "open",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.listdir",
    "os.scandir",
    "fcntl.flock",
}
FILES = ["run.json", "scores.csv", "scores.safetensors"]
REPORT = "report.html"
# What is in the folder before, and the call that is killed.
STORIES: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "a new run": (None, {"strategies": BOTH, "resume": True}),
    "strategies are added": ({"strategies": BOTH[:1]}, {"strategies": BOTH, "resume": True}),
    "a run is replaced": ({"strategies": BOTH, "lr": 0.01}, {"strategies": BOTH, "overwrite": True}),
}


def call(out: Path, strategies: list[str], **settings) -> None:
    from perdure import compare

    compare(STREAM, strategies, out=out, **CALL, **settings)


def go_on(
    out: Path, strategies: list[str], resume: bool = False, overwrite: bool = False, **settings
) -> None:
    """Do what a user does after a stop: go on, or overwrite if nothing was begun by then."""
    from perdure import PerdureError

    try:
        call(out, strategies, resume=True, **settings)
    except PerdureError as error:
        if not (overwrite and "another lr" in str(error)):
            raise
        call(out, strategies, overwrite=True, **settings)


def watch(folder: Path, deadly: int | None) -> list[int]:
    """Count the file operations in a folder from now on; at the deadly one the process is no more."""
    count = [0]

    def operation(torn: int | None = None) -> None:
        count[0] += 1
        if count[0] == deadly:
            if torn is not None and os.path.getsize(f"/proc/self/fd/{torn}"):
                # As far as the disk has got, when it was cut off.
                os.truncate(f"/proc/self/fd/{torn}", os.path.getsize(f"/proc/self/fd/{torn}") // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in OPERATIONS and (event == "fcntl.flock" or str(arguments[0]).startswith(str(folder))):
            operation()

    original = os.fsync

    def fsync(fd: Any) -> None:
        operation(None if os.path.isdir(f"/proc/self/fd/{fd}") else fd)
        original(fd)

    sys.addaudithook(hook)
    os.fsync = fsync
    return count


def fork(
    function: Callable[..., None],
    out: Path,
    deadly: int | None = None,
    after: float | None = None,
    **arguments,
) -> tuple[bool, int]:
    """Call in a process of its own; returns whether it came to its end, and its file operations."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fork beside threads: there are none at work
        child = os.fork()
    if child == 0:
        status = 1
        try:
            count = watch(out, deadly)
            function(out, **arguments)
            os.write(writer, str(count[0]).encode())
            status = 0
        except BaseException as error:
            print(f"  {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(status)
    os.close(writer)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        counted = int(file.read() or 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"a call failed: {arguments}")
    return os.WIFEXITED(status), counted


def load_all(place: Path) -> None:
    """Load here what a call loads; the call is for others, since autograd does not survive a fork."""
    import perdure.experiment  # noqa: F401

    def tell(out: Path) -> None:
        call(out, BOTH)
        (place / "modules").write_text("\n".join(sys.modules))

    fork(tell, place / "first")
    for name in (place / "modules").read_text().splitlines():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


class Trial:
    """One kill after another, and what was wrong with what came of them."""

    def __init__(self, place: Path, seed: int, stories: list[str]) -> None:
        self.place, self.draw = place, random.Random(seed)
        self.kills = self.different = self.drafts = self.lost = 0
        self.before: dict[str, Path | None] = {}
        self.seconds: dict[str, float] = {}
        self.operations: dict[str, int] = {}
        self.whole = place / "whole"
        load_all(place)
        fork(call, self.whole, strategies=BOTH)
        for story in stories:
            start, arguments = STORIES[story]
            before = None if start is None else place / f"before {len(self.before)}"
            self.before[story] = before
            if start and before:
                fork(call, before, **start)
            began = time.perf_counter()
            _, self.operations[story] = fork(call, self.start(story), **arguments)
            self.seconds[story] = time.perf_counter() - began

    def start(self, story: str) -> Path:
        out = self.place / "out"
        shutil.rmtree(out, ignore_errors=True)
        if before := self.before[story]:
            shutil.copytree(before, out)
        return out

    def kill(self, story: str, deadly: int | None = None, times: int = 1) -> None:
        """Kill a call, at an operation or at any time, perhaps several times on end, and go on with it."""
        out, arguments = self.start(story), dict(STORIES[story][1])
        for _ in range(times):
            after = None if deadly else self.draw.uniform(0, self.seconds[story])
            ended, _ = fork(call, out, deadly, after, **arguments)
            self.kills += not ended
            if ended:
                break
            self.lost += not self.readable(out, story)
        fork(go_on, out, **arguments)
        self.different += any((out / f).read_bytes() != (self.whole / f).read_bytes() for f in FILES[1:])
        self.different += not (out / REPORT).read_text(encoding="utf-8").rstrip().endswith("</html>")
        self.drafts += len(set(os.listdir(out)) - {*FILES, REPORT})

    def readable(self, out: Path, story: str) -> bool:
        """Whether a finished run that was there before is there still, or the new one is."""
        before = self.before[story]
        if before is None:
            return True
        from perdure import load

        found = load(out).scores
        for folder in (before, self.whole):
            expected = load(folder).scores
            if expected.keys() == found.keys() and all((found[k] == expected[k]).all() for k in found):
                return True
        return False

    def run(self, kills: int, each: bool) -> None:
        """Kill at every operation (or at a few of them), and then at random to make up ``kills``."""
        for story, count in self.operations.items():
            places = range(1, count + 1)
            for deadly in places if each else self.draw.sample(places, 1):
                self.kill(story, deadly)
        while self.kills < kills:
            self.kill(self.draw.choice(list(self.operations)), times=self.draw.randint(1, 3))

    def __str__(self) -> str:
        return (
            f"{self.kills} kills: {self.different} different, {self.drafts} drafts left behind, "
            f"{self.lost} finished runs lost; file operations: {list(self.operations.values())}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--few", action="store_true", help="one story, and one operation of it")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        trial = Trial(Path(place), arguments.seed, list(STORIES)[-1:] if arguments.few else list(STORIES))
        trial.run(arguments.kills, not arguments.few)
    print(trial)
    sys.exit(bool(trial.different or trial.drafts or trial.lost))


if __name__ == "__main__":
    main()
