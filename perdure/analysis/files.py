"""Single files of a run, written beside their place and moved in."""

from __future__ import annotations

import os
from pathlib import Path

from perdure.errors import PerdureError


def write_beside(path: str | os.PathLike[str], content: bytes) -> None:
    """Put ``content`` at ``path`` whole or not at all.

    A failure leaves what was there as it was. A link at ``path`` is replaced; what it points to stays.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}-{os.urandom(4).hex()}")
        try:
            with draft.open("xb") as file:
                file.write(content)
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise PerdureError(f"expected a file that can be written; found {target}: {error}") from None
