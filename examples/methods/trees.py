"""R-MTGB: boosted trees for tasks of which two are outliers, against pooled and single-task boosting.

python examples/methods/trees.py
"""

from __future__ import annotations

import numpy as np
from table import MULTITASK, cell, markdown, put

from perdure import Results, compare
from perdure.analysis import outlier_auroc

# As many rounds of trees in all, in one block or shared out among several.
METHODS = {
    "pooled": "r-mtgb(meta={}, outlier=0, task=0)",
    "single-task": "r-mtgb(meta=0, outlier=0, task={})",
    "MTGB": "r-mtgb(meta={}, outlier=0, task={})",
    "R-MTGB": "r-mtgb(meta={}, outlier={}, task={})",
}
ROUNDS = 300
STREAM = "r-mtgb(outliers, tasks=10, features=5, outliers=2, samples={}, test_samples={}, seed={})"


def learn(seed: int, quick: bool) -> Results:
    """Learn from tasks of one seed: each seed draws others."""
    rounds, sizes = (12, (60, 100)) if quick else (ROUNDS, (300, 1000))
    shared = {name: spec.format(*[rounds // spec.count("{}")] * 3) for name, spec in METHODS.items()}
    return compare(STREAM.format(*sizes, seed), shared, seeds=[seed], quiet=True)


def main(seeds: int = 12, write: bool = True, quick: bool = False) -> str:
    runs = [learn(seed, quick) for seed in range(seeds)]
    tasks = runs[0].config["tasks"]
    strange = np.array([name in runs[0].config["info"]["outliers"] for name in tasks])
    # R2 of each task, [seeds, tasks].
    scores = {name: np.stack([run.scores[name][0, -1] for run in runs]) for name in METHODS}
    found = np.concatenate([outlier_auroc(run, "R-MTGB") for run in runs])
    rows = []
    for name, r2 in scores.items():
        gain, ahead = 100 * (r2 - scores["single-task"]), 100 * (scores["R-MTGB"] - r2)
        rows.append(
            {
                "method": name,
                "R2, all tasks": cell(r2.mean(1)),
                "gain, other tasks": "–" if name == "single-task" else cell(gain[:, ~strange].mean(1), 1),
                "gain, outlier tasks": "–" if name == "single-task" else cell(gain[:, strange].mean(1), 1),
                "R-MTGB's lead on it, all tasks": "–" if name == "R-MTGB" else cell(ahead.mean(1), 1),
                "AUROC of finding outliers": cell(found, 2) if name == "R-MTGB" else "–",
            }
        )
    text = markdown(rows)
    print(text)
    if write:
        put("R-MTGB", text, MULTITASK)
    return text


if __name__ == "__main__":
    main()
