"""Teams whose agents tell each other something: with messages, without, and with those of other episodes.

python examples/methods/teams.py    (writes the table of docs/agents.md)
"""

from __future__ import annotations

import time

import numpy as np
from table import DOCS, cell, markdown, marked, put

from perdure import PerdureError, Results, compare

PAGE = DOCS / "agents.md"
STREAM, STEPS = "referential-games(steps={0}, episodes=500)", 60_000
METHODS = ["naive", "mcs", "commnet", "tarmac", "dial"]


def row(results: Results, method: str) -> dict[str, str]:
    """Lay out returns as they are, with shuffled messages and without any, and the bits sent."""
    scores = results.scores[method][:, -1].mean(1)
    found = {"method": method, "return": cell(scores, 2), "shuffled": "-", "silent": "-", "bits a step": "-"}
    try:
        heard = [results.trained[method].messages(replica=k) for k in range(len(scores))]
    except PerdureError:
        return found  # nobody says anything
    return found | {
        "shuffled": cell([one.returns_shuffled.mean() for one in heard], 2),
        "silent": cell([one.returns_silent.mean() for one in heard], 2),
        "bits a step": f"{np.mean([one.bits_per_step for one in heard]):.0f}",
    }


def main(seeds: int = 5, write: bool = True, quick: bool = False) -> str:
    """Write the table; ``quick`` learns from one rollout."""
    start = time.perf_counter()
    if write:
        marked("referential", PAGE)
    results = compare(
        STREAM.format(1 if quick else STEPS), METHODS[:2] if quick else METHODS, seeds=2 if quick else seeds,
        keep=True, quiet=True,
    )  # fmt: skip
    text = markdown([row(results, method) for method in results.strategies])
    if write:
        put("referential", text, PAGE)
    print(f"{text}\n{time.perf_counter() - start:.0f} seconds", flush=True)
    return text


if __name__ == "__main__":
    main()
