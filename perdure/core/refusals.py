"""Why something cannot be mapped or recorded: the line that stands in the way, and what to write instead."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path

import torch

# Code that is not the user's own: a frame outside of it is the line to show.
OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))

# What the line looks like, what the error says, and what to write instead; the first that fits both.
HINTS = (
    (r"one_hot\(", "", "(labels.unsqueeze(-1) == torch.arange(n, device=labels.device)).to(dtype)"),
    (r"\.item\(|\.tolist\(|\.numpy\(|\b(int|float|bool)\(|\bprint\(|\bf['\"]", "", "keep values in tensors"),
    (
        r"\b(nonzero|argwhere|unique|unique_consecutive|masked_select|repeat_interleave|where)\(",
        "dynamic|differently shaped|output_size",
        "keep all entries and weigh them with a mask: torch.where(mask, x, 0)",
    ),
    ("", "boolean mask", "torch.where(mask, x, 0) and weighted means instead of x[mask]"),
    (r"^(if|elif|while|assert)\b|\bif\b.+\belse\b|\b(and|or|not)\b", "", "torch.where(condition, a, b)"),
    (r"\brange\(|\[[^\]]*:[^\]]*\]", "", "go through all and weigh with torch.arange(n) < count"),
    (
        r"\[.+\] *(=|[-+*/]=)",
        "",
        "a new tensor: torch.where(torch.arange(n) == i, value, x), or x.index_put((i.view(1),), value)",
    ),
    (r"\w\[.+\]", "", "table.index_select(0, index.view(1)).squeeze(0) instead of table[index]"),
    (r"\w_\(", "in-?place|broadcast shape", "the operation without the underscore, which makes a new tensor"),
    ("", "random operation", "draws from batch.rng or task.rng"),
)


def describe(error: Exception) -> str:
    """Say in one line where an error arose in the user's own code, and what to write there instead.

    An error that arose nowhere in it is described by its own first line.
    """
    text = str(error).strip()
    said = text.splitlines()[0] if text else type(error).__name__
    frame = _own_frame(error)
    if frame is None:
        return said
    code = (frame.line or "").strip()
    place = f"{Path(frame.filename).name}:{frame.lineno}" + (f": `{code}`" if code else "")
    hint = next((h for line, what, h in HINTS if re.search(line, code) and re.search(what, text)), None)
    return f"{place}: {said}" if hint is None or not code else f"{place}; write {hint}"


def _own_frame(error: Exception) -> traceback.FrameSummary | None:
    """Return the last frame outside torch and this package; of an installed library if there is no other."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(OURS)]
    frames = [f for f in frames if not f.filename.startswith("<frozen")]
    own = [f for f in frames if not f.filename.startswith(LIBRARIES)]
    found = own or frames
    return found[-1] if found else None
