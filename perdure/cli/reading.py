"""What the command line reads: counts, grids, TOML files, and Python files of one's own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from perdure.core.errors import PerdureError, shown, unknown


def read_seeds(text: str) -> int | list[int]:
    """Read ``10`` as a count; ``0,3,7``, and ``7,`` or ``[7]`` for a single one, as a list."""
    try:
        plain = text.strip()
        inside = plain[1:-1] if plain.startswith("[") and plain.endswith("]") else plain
        numbers = [int(part) for part in inside.strip().removesuffix(",").split(",")]
    except ValueError:
        raise PerdureError(
            f"seeds must be a count or a list like 0,3,7 (one seed: 7,); found {shown(text)}"
        ) from None
    return numbers if "," in plain or inside != plain else numbers[0]


def read_tune(texts: list[str]) -> dict[str, list[float]] | None:
    """Read ``["lr=0.01,0.1", "replay.capacity=50,200"]`` as a table; whole numbers stay whole."""
    grid: dict[str, list[float]] = {}
    for text in texts:
        key, _, values = text.partition("=")
        if key.strip() in grid:
            raise PerdureError(f"tune must give {key.strip()} once, such as lr=0.01,0.1; found {texts}")
        try:
            grid[key.strip()] = [number(value) for value in values.split(",")]
        except ValueError:
            raise PerdureError(f"tune must look like lr=0.01,0.1; found {text!r}") from None
    return grid or None


def number(text: str) -> float:
    """Read a number, a whole one as such."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def read_file(file: Path) -> dict[str, Any]:
    """Read the arguments of ``compare`` from a TOML file; unknown keys are an error."""
    import inspect

    from perdure.experiment import compare

    try:
        arguments = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise PerdureError(f"expected a TOML file; cannot read {file}") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, too many digits, nested too deeply
        raise PerdureError(f"expected a TOML file; {file} is none: {error}") from None
    known = set(inspect.signature(compare).parameters) - {"training", "quiet", "resume", "overwrite"}
    for key in arguments:
        if key not in known:
            raise unknown(f"key in {file}", key, known)
    for key in ("stream", "strategies"):
        if key not in arguments:
            raise PerdureError(
                f"expected the key {key!r} in {file}; found {', '.join(arguments) or 'nothing'}"
            )
    if isinstance(tune := arguments.get("tune"), dict):
        # TOML reads `ewc.strength = [1, 10]` as a table within the table.
        tables = {k: v for k, v in tune.items() if isinstance(v, dict)}
        flat = {f"{kind}.{name}": v for kind, table in tables.items() for name, v in table.items()}
        arguments["tune"] = {k: v for k, v in tune.items() if k not in tables} | flat
    return arguments


def import_all(names: Iterable[str]) -> None:
    """Import Python files (``mine.py``) and modules (``mine.methods``): what they register has its name then.

    Raises
    ------
    PerdureError
        For a file that cannot be read or a module that is not there, and for what they raise.
    """
    for name in names:
        try:
            import_one(name)
        except PerdureError as error:
            raise PerdureError(f"--import {name}: {error}") from None
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "")
            raise PerdureError(f"--import {name}: {type(error).__name__}: {reason}") from error


def import_one(name: str) -> None:
    """Import a file, its folder on the path as when it is run, or a module."""
    file = Path(name)
    if file.suffix != ".py":
        importlib.import_module(name)
        return
    if not file.is_file():
        raise PerdureError("expected a Python file; found none")
    known = sys.modules.get(file.stem)
    if known is not None:
        if Path(getattr(known, "__file__", None) or "") == file.resolve():
            return
        raise PerdureError(f"expected another name than that of the module {file.stem}")
    sys.path.insert(0, str(file.resolve().parent))
    spec = importlib.util.spec_from_file_location(file.stem, file.resolve())
    assert spec is not None  # the suffix says what loads it
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[file.stem]
        raise
