"""Teams whose agents tell each other something: with messages, without, and with those of other episodes.

python examples/methods/teams.py               (writes the tables and the figures of docs/agents.md)
python examples/methods/teams.py referential   (one of them)
"""

from __future__ import annotations

import sys
import time

import numpy as np
from table import DOCS, cell, markdown, put

from perdure import PerdureError, Results, compare

PAGE = DOCS / "agents.md"
STREAMS = {
    "referential": "referential-games(steps={0}, episodes=500)",
    "skirmish": "skirmish-units(tasks=1, steps={0}, episodes=100)",
}
STEPS = {"referential": 60_000, "skirmish": 60_000}
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


def main(seeds: int = 5, write: bool = True, quick: bool = False, only: str = "") -> str:
    """Write the tables; ``quick`` learns from one rollout."""
    texts = []
    for name, stream in STREAMS.items():
        if name != only and (only or (quick and texts)):
            continue
        start = time.perf_counter()
        methods = METHODS[:2] if quick else METHODS
        results = compare(
            stream.format(1 if quick else STEPS[name]), methods, seeds=2 if quick else seeds, keep=True,
            quiet=True,
        )  # fmt: skip
        text = markdown([row(results, method) for method in results.strategies])
        if write:
            put(name, text, PAGE)
        print(f"{text}\n{time.perf_counter() - start:.0f} seconds", flush=True)
        texts.append(text)
    return "\n".join(texts)


if __name__ == "__main__":
    main(only=sys.argv[1] if len(sys.argv) > 1 else "")
