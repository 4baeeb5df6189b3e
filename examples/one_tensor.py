"""One stream learned alone, jointly, one task after the other, continually and by merging: one tensor.

python examples/one_tensor.py runs/one_tensor
"""

import sys
from pathlib import Path

from perdure import compare
from perdure.scenarios import get

STRATEGIES = {
    "alone": "single",
    "jointly": "shared-bottom",
    "one after the other": "naive",
    "EWC": "ewc(strength=10)",
    "replay": "replay(capacity=200)",
    "adaptive SVD": "adaptive-svd",
    "merged": "merge(rule=ties)",
}


def main(out: Path, seeds: int = 5) -> None:
    # Four tables of labels over the same rows; task t has output t of its own.
    stream = get("multitab-bench(tasks=4, features=8, correlation=0.6, degrees=2, samples=1000)")
    results = compare(
        stream, STRATEGIES, model="mlp(hidden=[64, 64])", seeds=seeds, epochs=6, optimizer="adam", lr=0.003,
        out=out,
    )  # fmt: skip
    for name, scores in results.scores.items():
        # R2 of every replica, after every stage, on every task; what has no stages has one.
        replicas, stages, tasks = scores.shape
        print(f"{name:<20} [{replicas} replicas, {stages} stages, {tasks} tasks]: {scores[:, -1].mean():.3f}")
    print(results.summary(["average_accuracy", "forgetting", "multi_task_gain", "safeness"]))
    print(f"wrote {out / 'report.html'}: forgetting along the stream beside gains over learning alone")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/one_tensor"))
