"""Adult's two targets, income and marital status: alone, and with what they share.

python examples/methods/adult.py
"""

from __future__ import annotations

from table import MULTITASK, cell, markdown, put

from perdure import compare

METHODS = ["single", "shared-bottom", "mmoe", "ple", "balance(rule=pcgrad)"]
RATES = {"lr": [0.001, 0.003]}


def main(seeds: int = 5, write: bool = True, quick: bool = False) -> str:
    results = compare(
        "adult-two-targets", METHODS[:2] if quick else METHODS, tune={} if quick else RATES, seeds=seeds,
        epochs=1 if quick else 3, model="mlp(hidden=[64, 64])", optimizer="adam", batch_size=128, quiet=True,
    )  # fmt: skip
    rows = []
    for name in results.strategies:
        scores = results.scores[name][:, -1]
        accuracies = {task: cell(scores[:, t], 4) for t, task in enumerate(results.tasks)}
        gain = results.metric("multi_task_gain", name)
        rows.append({"strategy": name, **accuracies, "gain, %": cell(gain, 2)})
    text = markdown(rows)
    print(text)
    if write:
        put("adult", text, MULTITASK)
    return text


if __name__ == "__main__":
    main()
