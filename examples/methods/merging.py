"""Merging rules: eight rotations of MNIST-5k, and CLINC150's intents in ten tasks of fifteen.

python examples/methods/merging.py
"""

from __future__ import annotations

from table import MULTITASK, cell, markdown, put

from perdure import Results, compare

RULES = ["average", "task-arithmetic", "ties", "dare", "magmax", "opcm", "consensus", "tall-masks"]
STREAMING = ["average", "task-arithmetic", "magmax", "opcm"]
ANCHORS = ["single", "naive", "joint"]
# Factors of the rules' own scales, of which most are 0.3.
SCALES = [0.5, 1.0, 3.0, 8.0]
STREAMS = {
    "rotated MNIST-5k": ("rotated-mnist-5k(tasks=8, setting=task)", "mlp(hidden=[50])", 4),
    "CLINC150": ("split-clinc150(classes_per_task=15, setting=task)", "mlp(hidden=[50])", 4),
}
QUICK = "split-digits(setting=task)"


def learn(spec: str, model: str, epochs: int, seeds: int) -> Results:
    batch = [f"merge(rule={rule}, pretrain={epochs}, pretrain_on=first)" for rule in RULES]
    stream = [f"stream-merge(rule={rule}, pretrain={epochs})" for rule in STREAMING]
    return compare(
        spec, [*ANCHORS, *batch, *stream], model=model, seeds=seeds, epochs=epochs, lr=0.1, quiet=True,
        tune={"merge.scale": SCALES, "stream-merge.scale": SCALES},
    )  # fmt: skip


def named(strategy: str) -> str:
    """Name a strategy by its rule, and whether it keeps the tasks' models."""
    if "rule=" not in strategy:
        return strategy
    rule = strategy.split("rule=")[1].split(",")[0]
    return f"{rule}, streaming" if strategy.startswith("stream") else rule


def scored(results: Results, name: str) -> str:
    """Write the score, and how far the merged model lies on the rule's way."""
    factor = next(iter(results.extras[name].get("chosen", {}).values()), None)
    score = str(cell(results.metric("average_accuracy", name)))
    return score if factor is None else f"{score}, x{factor:g}"


def main(seeds: int = 5, write: bool = True, quick: bool = False) -> str:
    streams = {"digits": (QUICK, "mlp(hidden=[16])", 1)} if quick else STREAMS
    found = {title: learn(*given, seeds) for title, given in streams.items()}
    first = next(iter(found.values()))
    rows = [
        {
            "rule": named(name),
            **{title: scored(results, name) for title, results in found.items()},
            "kept, kB": f"{first.costs[name]['state_bytes'] / 1000:,.0f}",
        }
        for name in first.strategies
    ]
    text = markdown(rows)
    print(text)
    if write:
        put("merging", text, MULTITASK)
    return text


if __name__ == "__main__":
    main()
