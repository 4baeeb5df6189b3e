"""PackNet where the task is known, iCaRL where it is not, on five tasks of two digits each.

python examples/methods/packnet_icarl.py
"""

from table import cell, markdown, put

from perdure import compare
from perdure.analysis.results import Results
from perdure.scenarios import split

TUNE = {"lr": [0.1, 0.3]}
TABLES = {
    "packnet": ("task", ["naive", "ewc", "packnet", "packnet(prune=0.75)", "single"]),
    "icarl": ("class", ["naive", "replay(200)", "gdumb", "icarl"]),
}


def row(results: Results, name: str) -> dict[str, str]:
    # A model per task is scored once, so it has no forgetting.
    by_stage = results.scores[name].shape[1] > 1
    return {
        "strategy": name,
        "average accuracy": cell(results.metric("average_accuracy", name)),
        "forgetting": cell(results.metric("forgetting", name)) if by_stage else "",
        "accuracy when learned": cell(results.metric("learning_accuracy", name)) if by_stage else "",
        "lr": f"{results.extras[name]['chosen']['lr']:g}",
        "steps": f"{results.costs[name]['steps']:,.0f}",
        "state, kB": f"{results.costs[name]['state_bytes'] / 1000:,.0f}",
    }


def main(seeds: int = 10, write: bool = True, quick: bool = False) -> str:
    texts, changes = [], {"epochs": 1} if quick else {}
    for table, (setting, strategies) in TABLES.items():
        stream = split("digits", classes_per_task=2, setting=setting)
        results = compare(stream, strategies, tune=TUNE, seeds=seeds, quiet=True, **changes)
        texts.append(markdown([row(results, name) for name in results.strategies]))
        print(texts[-1])
        if write:
            put(table, texts[-1])
    return "\n\n".join(texts)


if __name__ == "__main__":
    main()
