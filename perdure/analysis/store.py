"""Runs on disk: a folder with ``run.json``, ``scores.safetensors`` and ``scores.csv``.

Equal scores give equal bytes in ``scores.safetensors`` and ``scores.csv``: times and dates are in
``run.json`` only. Nothing is pickled, so loading a run executes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perdure.analysis.results import Curve, Results
from perdure.errors import PerdureError

FORMAT = "perdure-run"
VERSION = 1
ARRAYS, TABLE, HEAD = FILES = ("scores.safetensors", "scores.csv", "run.json")
NOT_FINITE = "number"  # {"number": "nan"}
Arrays = dict[str, npt.NDArray[Any]]


def check_out(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that a run may not be saved in, before the run starts.

    Accepted are a folder that does not exist yet, an empty one, and one that holds a run.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise PerdureError(f"expected a folder for the run; found the file {path}")
    if path.is_dir() and any(path.iterdir()):
        try:
            _head(path)
        except PerdureError:
            raise PerdureError(
                f"expected a new or empty folder, or one with a run; found other files in {path}"
            ) from None


def begin(folder: str | os.PathLike[str], config: dict[str, Any]) -> None:
    """Claim ``folder`` for a run that has not finished: :func:`save` will accept it, whatever else is in it.

    Until then :func:`load` says that the run is not finished.
    """
    check_out(folder)
    path = Path(folder)
    head = {"format": FORMAT, "version": VERSION, "finished": False, "config": config}
    _write(path, {HEAD: _json(head)})


def save(results: Results, folder: str | os.PathLike[str]) -> None:
    """Write ``results`` into ``folder``, or replace the run there; other files in it are left alone."""
    from safetensors.numpy import save as encode

    check_out(folder)
    arrays = encode(_arrays(results))
    head = {
        "format": FORMAT,
        "version": VERSION,
        "finished": True,
        "sha256": hashlib.sha256(arrays).hexdigest(),
        "strategies": results.strategies,
        "untrained": list(results.untrained),
        "curves": list(results.curves),
        "config": results.config,
        "costs": results.costs,
        "extras": results.extras,
        "warnings": results.warnings,
    }
    table = results.frame().to_csv(index=False, lineterminator="\n").encode()
    _write(Path(folder), {ARRAYS: arrays, TABLE: table, HEAD: _json(head)})


def load(folder: str | os.PathLike[str]) -> Results:
    """Read what :func:`save` wrote; anything else is refused."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as decode

    path = Path(folder)
    head = _head(path)
    if not head.get("finished"):
        raise PerdureError(f"expected a finished run; found one in {path} that is not: continue it first")
    try:
        content = (path / ARRAYS).read_bytes()
        if hashlib.sha256(content).hexdigest() != head["sha256"]:
            raise PerdureError(f"expected the {ARRAYS} that {HEAD} was written with; found another in {path}")
        return _results(head, decode(content))
    except (OSError, SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise PerdureError(f"expected a complete run; found {path} unreadable: {_line(error)}") from None


def _results(head: dict[str, Any], arrays: Arrays) -> Results:
    curves = {
        name: Curve(*(arrays[f"curves/{part}/{name}"] for part in ("steps", "stage", "scores")))
        for name in head["curves"]
    }
    results = Results(
        scores={name: arrays[f"scores/{name}"] for name in head["strategies"]},
        untrained={name: arrays[f"untrained/{name}"] for name in head["untrained"]},
        curves=curves,
        costs=head["costs"],
        extras=head["extras"],
        config=head["config"],
    )
    results.warnings = list(head["warnings"])  # loading what was saved adds nothing
    return results


def _arrays(results: Results) -> Arrays:
    arrays: Arrays = {f"scores/{name}": value for name, value in results.scores.items()}
    arrays |= {f"untrained/{name}": value for name, value in results.untrained.items()}
    for name, curve in results.curves.items():
        arrays |= {f"curves/{part}/{name}": getattr(curve, part) for part in ("steps", "stage", "scores")}
    # safetensors takes an array's memory as it lies and would store another layout scrambled.
    return {key: np.ascontiguousarray(array) for key, array in arrays.items()}


def _head(path: Path) -> dict[str, Any]:
    """Read ``run.json``; refuse what is not a run of a format that is known here."""
    try:
        head = json.loads((path / HEAD).read_text(encoding="utf-8"), object_hook=_read_back)
    except OSError:
        raise PerdureError(f"expected a folder with a run; found no {HEAD} in {path}") from None
    except ValueError as error:
        raise PerdureError(f"expected a run; found {path / HEAD} unreadable: {_line(error)}") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise PerdureError(f"expected a run; found a {HEAD} of another program in {path}")
    if head.get("version") != VERSION:
        raise PerdureError(f"expected a run of format {VERSION}; found {head.get('version')!r} in {path}")
    return head


def _write(path: Path, files: dict[str, bytes]) -> None:
    """Write everything into a sibling folder first, then move it in, ``run.json`` last.

    A failure leaves the folder as it was; a kill between two moves leaves a checksum that does not match.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            for name, content in files.items():
                (draft / name).write_bytes(content)
            path.mkdir(exist_ok=True)
            for name in files:
                os.replace(draft / name, path / name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise PerdureError(f"expected a folder that can be written; found {path}: {_line(error)}") from None


def _json(value: dict[str, Any]) -> bytes:
    text = json.dumps(_spell_out(value), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


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


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
