"""Whether the parts of a task hold different samples."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

from torch import Tensor

from perdure.core.errors import PerdureError


def contents(x: Tensor, y: Tensor) -> list[bytes]:
    """Return what identifies each sample: a hash of its input and label."""
    flat, labels = x.detach().cpu().flatten(1).contiguous().numpy(), y.detach().cpu().numpy()
    return [
        hashlib.blake2b(row.tobytes() + label.tobytes(), digest_size=16).digest()
        for row, label in zip(flat, labels, strict=True)
    ]


def check_disjoint(where: str, samples: dict[str, list[bytes]], duplicates: float) -> None:
    """Refuse parts that have more samples in common than repeat within one of them."""
    counts = {which: Counter(part) for which, part in samples.items()}
    natural = max(sum(n for n in count.values() if n > 1) / count.total() for count in counts.values())
    for which, other in (("validation", "training"), ("test", "training"), ("test", "validation")):
        part = samples[which]
        shared = sum(sample in counts[other] for sample in part)
        # Two standard errors: in a part of four samples, a share is known only roughly.
        error = 2 * math.sqrt(natural * (1 - natural) / len(part))
        if shared / len(part) > natural + error + duplicates:
            raise PerdureError(
                f"{where}: the {which} part must be disjoint from the {other} part; {shared} of {len(part)} "
                "samples are in both"
            )
