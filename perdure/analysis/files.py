"""Single files of a run, written beside their place and moved in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from perdure.errors import PerdureError


def write_beside(path: str | os.PathLike[str], content: bytes) -> None:
    """Put ``content`` at ``path`` whole or not at all.

    A failure leaves what was there as it was. A link at ``path`` is replaced; what it points to stays.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            # A draft is its owner's alone; what it becomes may be read like any file written here.
            os.chmod(draft, 0o666 & ~_umask())
            os.replace(draft, target)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PerdureError(f"expected a file that can be written; found {target}: {error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
