"""Runs on disk: a folder with ``run.json``, ``scores.safetensors`` and ``scores.csv``.

Equal scores give equal bytes in ``scores.safetensors`` and ``scores.csv``: times and dates are in
``run.json`` only. Nothing is pickled, so loading a run executes nothing.

A run takes the place of another in one move, that of ``run.json``: the new arrays wait beside the old ones
until it is made, and whoever reads takes those whose checksum ``run.json`` names.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perdure.analysis import files, wellformed
from perdure.analysis.files import FolderError, line
from perdure.analysis.files import write_beside as write_beside
from perdure.analysis.record import Curve, Record
from perdure.analysis.tables import tidy
from perdure.core.errors import PerdureError

FORMAT = "perdure-run"
VERSION = 1
ARRAYS, TABLE, HEAD = FILES = ("scores.safetensors", "scores.csv", "run.json")
NOT_FINITE = "number"  # {"number": "nan"}
# Where new arrays and their table wait for run.json. The table is moved first: it waits only beside arrays.
WAITING = {TABLE: f".{TABLE}.next", ARRAYS: f".{ARRAYS}.next"}
# What a fresh volume holds, and what a killed process may have left: a folder with no more is empty.
NOTHING = {"lost+found", files.LOCK, *WAITING.values()}
Arrays = dict[str, npt.NDArray[Any]]


def check_out(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that a run may not be saved in, before the run starts.

    Accepted are a folder that does not exist yet, an empty one, and one that holds a run.
    """
    path = Path(folder)
    try:
        if path.exists() and not path.is_dir():
            raise PerdureError(f"expected a folder for the run; found the file {path}")
        names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    except (OSError, ValueError) as error:
        if isinstance(error, PerdureError):
            raise
        raise PerdureError(f"expected a folder for the run; found {path}: {line(error)}") from None
    for name in names.intersection(FILES):
        if (path / name).is_dir() and not (path / name).is_symlink():
            raise FolderError(
                f"expected a folder for the run; found a folder where a file goes: {path / name}"
            )
    if any(name not in NOTHING and not files.DRAFT.fullmatch(name) for name in names):
        try:
            read_head(path)
        except PerdureError as error:
            found = str(error).partition("; ")[2] if HEAD in names else f"found other files in {path}"
            raise PerdureError(f"expected a new or empty folder, or one with a run; {found}") from None


def begin(folder: str | os.PathLike[str], config: dict[str, Any]) -> None:
    """Claim ``folder`` for a run that has not finished: :func:`save` will accept it, whatever else is in it.

    Until then :func:`read` says that the run is not finished.
    """
    check_out(folder)
    write_beside(Path(folder) / HEAD, seal({"finished": False, "config": config}, FORMAT))


def save(results: Record, folder: str | os.PathLike[str]) -> None:
    """Write ``results`` into ``folder``, or replace the run there; other files in it are left alone."""
    check_out(folder)
    with files.held(Path(folder)):
        settle(Path(folder))
        replace(results, Path(folder))


def replace(results: Record, path: Path) -> None:
    """Put ``results`` in the place of the run in a folder that this process holds."""
    from safetensors.numpy import save as encode

    arrays = encode(_arrays(results))
    head = {
        "finished": True,
        "sha256": hashlib.sha256(arrays).hexdigest(),
        "strategies": results.strategies,
        "untrained": list(results.untrained),
        "curves": list(results.curves),
        "confusions": list(results.confusions),
        "config": results.config,
        "costs": results.costs,
        "extras": results.extras,
        "warnings": results.warnings,
    }
    table = tidy(results).to_csv(index=False, lineterminator="\n").encode()
    try:
        write_beside(path / WAITING[TABLE], table)
        write_beside(path / WAITING[ARRAYS], arrays)
        write_beside(path / HEAD, seal(head, FORMAT))
    finally:
        settle(path)


def settle(path: Path) -> None:
    """Finish what a killed process began: move in what ``run.json`` names, and remove drafts."""
    try:
        files.sweep(path)
        if (path / WAITING[ARRAYS]).exists() and _matches(path / WAITING[ARRAYS], read_head(path)):
            for name, waiting in WAITING.items():
                if (path / waiting).exists():
                    (path / waiting).replace(path / name)
        for waiting in reversed(WAITING.values()):
            (path / waiting).unlink(missing_ok=True)
    except OSError as error:
        raise FolderError(f"expected a folder that can be written; found {path}: {line(error)}") from None


def _matches(file: Path, head: dict[str, Any]) -> bool:
    return hashlib.sha256(files.regular(file).read_bytes()).hexdigest() == head.get("sha256")


def read(folder: str | os.PathLike[str]) -> Record:
    """Read what :func:`save` wrote; anything else is refused."""
    from safetensors.numpy import load as decode

    path = Path(folder)
    head = read_head(path)
    if not head.get("finished"):
        raise PerdureError(f"expected a finished run; found one in {path} that is not: continue it first")
    try:
        held = [path / name for name in (ARRAYS, WAITING[ARRAYS])]
        content = next((file.read_bytes() for file in held if file.exists() and _matches(file, head)), None)
        if content is None and held[0].exists():
            raise PerdureError(f"expected the {ARRAYS} that {HEAD} was written with; found another in {path}")
        if content is None:
            raise PerdureError(f"expected a complete run; found no {ARRAYS} in {path}")
        return _record(head, decode(content))
    except PerdureError:
        raise
    except Exception as error:  # Whatever reading stumbles over, it is the content that is at fault.
        raise PerdureError(f"expected a complete run; found {path} unreadable: {line(error)}") from None


def _record(head: dict[str, Any], arrays: Arrays) -> Record:
    curves = {
        name: Curve(*(arrays[f"curves/{part}/{name}"] for part in ("steps", "stage", "scores")))
        for name in head["curves"]
    }
    # Runs of before there were confusion matrices name none.
    by_name = {
        "scores": head["strategies"],
        "untrained": head["untrained"],
        "confusions": head.get("confusions", []),
    }
    record = Record(
        **{what: {name: arrays[f"{what}/{name}"] for name in names} for what, names in by_name.items()},
        curves=curves,
        costs=head["costs"],
        extras=head["extras"],
        config=head["config"],
        warnings=head["warnings"],
    )
    wellformed.check(record)
    return record


def _arrays(results: Record) -> Arrays:
    arrays: Arrays = {}
    for what in ("scores", "untrained", "confusions"):
        arrays |= {f"{what}/{name}": value for name, value in getattr(results, what).items()}
    for name, curve in results.curves.items():
        arrays |= {f"curves/{part}/{name}": getattr(curve, part) for part in ("steps", "stage", "scores")}
    # safetensors takes an array's memory as it lies and would store another layout scrambled.
    return {key: np.ascontiguousarray(array) for key, array in arrays.items()}


def read_head(path: Path) -> dict[str, Any]:
    """Read ``run.json``; refuse what is not a run of a format that is known here, or was changed."""
    return unseal(path / HEAD, FORMAT)


def seal(content: dict[str, Any], kind: str) -> bytes:
    """Return a JSON file of a kind, with a checksum over what it will be read as."""
    head = json.loads(_json({"format": kind, "version": VERSION, **content}))
    return _json({**head, "seal": _checksum(head)})


def unseal(file: Path, kind: str) -> dict[str, Any]:
    """Read what :func:`seal` made; anything else is refused."""
    try:
        text = files.regular(file).read_text(encoding="utf-8")
        head = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise PerdureError(f"expected a folder with a run; found no {file.name} in {file.parent}") from None
    except OSError as error:
        raise PerdureError(f"expected a folder with a run; found {file}: {line(error)}") from None
    except (ValueError, RecursionError) as error:
        raise PerdureError(f"expected a run; found {file} unreadable: {line(error)}") from None
    if not isinstance(head, dict) or head.get("format") != kind:
        raise PerdureError(f"expected a run; found a {file.name} of another program in {file.parent}")
    version = head.get("version")
    if version != VERSION:
        raise PerdureError(f"expected a run of format {VERSION}; found {version!r} in {file.parent}")
    # Runs of before there were checksums have none.
    if "seal" in head and head["seal"] != _checksum(head):
        raise PerdureError(f"expected the {file.name} that was written; found {file} changed or damaged")
    return dict(json.loads(text, object_hook=_read_back))


def _checksum(head: dict[str, Any]) -> str:
    content = json.dumps({k: v for k, v in head.items() if k != "seal"}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _json(value: dict[str, Any]) -> bytes:
    text = json.dumps(_spell_out(value), indent=2, ensure_ascii=False, allow_nan=False)
    # Half a character, as names of files may have, is spelled out in the way that JSON reads.
    return (text + "\n").encode(errors="backslashreplace")


def _spell_out(value: Any) -> Any:
    """Put numbers that are not finite, for which JSON has no word, into objects of their own."""
    if isinstance(value, dict):
        return {key: _spell_out(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spell_out(item) for item in value]
    return {NOT_FINITE: str(value)} if isinstance(value, float) and not math.isfinite(value) else value


def _read_back(item: dict[str, Any]) -> Any:
    """Undo :func:`_spell_out`."""
    found = item.get(NOT_FINITE)
    return float(found) if len(item) == 1 and found in ("nan", "inf", "-inf") else item
