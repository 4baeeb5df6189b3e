"""The folder of a run: its finished results, and the checkpoints of the strategies that are not."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perdure.analysis.files import FolderError, held, line, regular, sweep, write_beside
from perdure.analysis.results import Results, load
from perdure.analysis.store import HEAD, begin, check_out, read_head, replace, seal, settle, unseal
from perdure.analysis.wellformed import WAYS, check_config
from perdure.core.errors import PerdureError
from perdure.engine.checkpoint import Checkpoint, plain

REPORT = "report.html"
FOLDER, CONFIG, FORMAT = "checkpoint", "config.json", "perdure-checkpoint"
OWN = re.compile(r"[a-z0-9-]*-[0-9a-f]{16}\.safetensors")
# What may differ between a run and its continuation.
FREE = {*WAYS, "earlier", "strategies", "kinds", "bounds", "together", "failed"}


@contextmanager
def open_run(
    folder: str | os.PathLike[str] | None, resume: bool = False, overwrite: bool = False
) -> Iterator[Checkpoints]:
    """Hold the folder of a run, and give what a run before has reached there.

    Parameters
    ----------
    folder:
        The run's folder; ``None`` keeps nothing.
    resume:
        Continue the run there. Otherwise a folder that holds one is refused.
    overwrite:
        Replace the run there. What is finished stays until the new results are whole.

    Raises
    ------
    PerdureError
        When the folder is no place for a run, or another process is at work in it.
    """
    if resume and overwrite:
        raise PerdureError("expected resume or overwrite; found both")
    if folder is None:
        if resume or overwrite:
            what = "resume" if resume else "overwrite"
            raise PerdureError(f"{what} needs the folder of a run, out; found none")
        yield Checkpoints()
        return
    check_out(folder)
    path = Path(folder)
    with held(path):
        settle(path)
        sweep(path / FOLDER)
        head = read_head(path) if (path / HEAD).exists() else {}
        if head and not (resume or overwrite):
            what = "a finished run" if head.get("finished") else "a run that was stopped"
            raise PerdureError(
                f"expected a folder without a run; found {what} in {path}: --resume (resume=True) goes on "
                "with it, --overwrite (overwrite=True) replaces it"
            )
        if os.path.lexists(path / FOLDER) and not (path / FOLDER).is_dir():
            raise FolderError(f"expected a folder for checkpoints; found another thing at {path / FOLDER}")
        config = path / FOLDER / CONFIG
        if overwrite and config.exists() and not _is_ours(config):
            raise PerdureError(f"expected the checkpoints of a run; found {config} of another program")
        begun = unseal(config, FORMAT) if config.exists() and not overwrite else {}
        yield Checkpoints(path, head, begun, overwrite)


@dataclass
class Checkpoints:
    """What a run has reached: its finished results, and a checkpoint per strategy in ``path/checkpoint``.

    Parameters
    ----------
    path:
        The run's folder; ``None`` keeps nothing.
    head:
        Its ``run.json``, if there is one.
    begun:
        What is known of the run whose checkpoints are there: its ``config``, and whether it ``replaces``
        the finished one.
    overwrite:
        Whether both are to be replaced.
    """

    path: Path | None = None
    head: dict[str, Any] = field(default_factory=dict)
    begun: dict[str, Any] = field(default_factory=dict)
    overwrite: bool = False
    settings: str = ""

    def finished(self, config: Mapping[str, Any]) -> Results | None:
        """Return the finished results that stay; a run with other settings is refused."""
        comparable = plain({k: v for k, v in config.items() if k not in FREE})
        self.settings = json.dumps(comparable, sort_keys=True)
        before = self._before()
        if self.path is None or before is None:
            return None
        changed = [k for k, v in comparable.items() if before.get(k) != v]
        if changed:
            what = ", ".join(changed)
            raise PerdureError(
                f"expected the settings of the run in {self.path}; found another {what}: --overwrite "
                "(overwrite=True) replaces it"
            )
        kept = self.head.get("finished") and not self.begun.get("replaces")
        return load(self.path) if kept else None

    def earlier(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return with what other threads and versions the run went before, ``{"earlier": [...]}``, if any."""
        before = self._before()
        if before is None:
            return {}
        check_config(before)
        now = {key: config[key] for key in WAYS}
        ways = [*before.get("earlier", []), {key: before[key] for key in WAYS if key in before}]
        # A run of an older release does not say all of it.
        other = [way for way in ways if any(now[key] != value for key, value in way.items())]
        return {"earlier": other} if other else {}

    def _before(self) -> dict[str, Any] | None:
        """Return the configuration of the run that is continued, if one is."""
        config = (self.begun or self.head).get("config")
        return config if self.path and not self.overwrite and isinstance(config, dict) else None

    def begin(self, config: Mapping[str, Any], labels: Mapping[str, Sequence[str]]) -> None:
        """Note what is about to run. Every checkpoint that it will go on from is read once before.

        ``labels`` names the runs of each strategy, as in :meth:`of`.
        """
        if self.path is None:
            return
        if self.overwrite:
            self._remove(self._own())
        for spec in config["strategies"].values():
            for label in {"", *labels.get(spec, ())}:
                self.of(spec, label).read()
        replaces = bool(self.begun.get("replaces") or (self.overwrite and self.head.get("finished")))
        # A finished run stays what it is until the new results are whole.
        if not self.head.get("finished"):
            begin(self.path, dict(config))
        content = {"config": plain(dict(config)), "replaces": replaces}
        write_beside(self.path / FOLDER / CONFIG, seal(content, FORMAT))

    def of(self, spec: str, label: str = "") -> Checkpoint:
        """Return the checkpoint of a strategy, wherever it stands in the list; of several runs, that of one.

        The file of each ends as those of the strategy's other runs do.
        """
        if self.path is None:
            return Checkpoint()
        owner = hashlib.sha256(f"{self.settings}\n{spec}".encode()).hexdigest()
        readable = re.sub(r"[^a-z0-9]+", "-", spec.lower())[:40].strip("-")
        name = f"{readable}-{label}-{owner[:16]}" if label else f"{readable}-{owner[:16]}"
        return Checkpoint(self.path / FOLDER / f"{name}.safetensors", owner + label)

    def _of_all(self, specs: Iterable[str]) -> list[Path]:
        """Return the checkpoints of strategies, with all their runs."""
        ends = {_end(path) for spec in specs if (path := self.of(spec).path)}
        return [file for file in self._own() if _end(file) in ends]

    def finish(self, results: Results) -> None:
        """Save the results in place of those before; their checkpoints go."""
        if self.path is not None:
            replace(results, self.path)
            self.clear(results)

    def report(self, results: Results) -> None:
        """Write the report of finished results beside them."""
        if self.path is not None:
            results.report(self.path / REPORT)

    def clear(self, results: Results) -> None:
        """Remove the checkpoints of what is finished; those of others stay."""
        if self.path is not None:
            self._remove(self._of_all(results.config["strategies"][name] for name in results.strategies))

    def left_out(self, config: Mapping[str, Any]) -> list[str]:
        """Say how many strategies were begun that are not asked for now; their checkpoints stay."""
        others = set(self._own()) - set(self._of_all(config["strategies"].values()))
        count = len({_end(file) for file in others})
        what = "1 strategy was" if count == 1 else f"{count} strategies were"
        return [f"{what} begun in {self.path} and left out: name it to go on with it"] if count else []

    def _own(self) -> list[Path]:
        folder = None if self.path is None else self.path / FOLDER
        return [f for f in folder.iterdir() if OWN.fullmatch(f.name)] if folder and folder.is_dir() else []

    def _remove(self, checkpoints: list[Path]) -> None:
        """Remove checkpoints, and with the last of them their folder; what others put there stays."""
        if self.path is None:
            return
        folder = self.path / FOLDER
        for file in checkpoints:
            if file.is_dir() and not file.is_symlink():
                raise FolderError(f"expected a checkpoint that can be removed; found the folder {file}")
        try:
            for file in checkpoints:
                file.unlink()
            if folder.is_dir() and not self._own():
                (folder / CONFIG).unlink(missing_ok=True)
                if not any(folder.iterdir()) and not folder.is_symlink():
                    folder.rmdir()
        except OSError as error:
            raise FolderError(
                f"expected a folder that can be written; found {folder}: {line(error)}"
            ) from None


def _end(file: Path) -> str:
    """Return how the names of all checkpoints of a strategy end."""
    return file.stem[-16:]


def _is_ours(config: Path) -> bool:
    try:
        return FORMAT.encode() in regular(config).read_bytes()
    except OSError:
        return False
