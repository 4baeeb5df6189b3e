"""Low-rank adapters against unprotected training, on five tasks of two digits each, in two settings.

python examples/methods/adapters.py
"""

from table import cell, markdown, put

from perdure import compare
from perdure.scenarios import split

STRATEGIES = ["naive", "lora", "o-lora", "inflora", "sd-lora", "replay(200)", "o-lora + replay(200)"]
TUNE = {"lr": [0.03, 0.1, 0.3]}
SETTINGS = {"task": "task-incremental", "class": "class-incremental"}


def main(seeds: int = 10, write: bool = True, quick: bool = False) -> str:
    rows, changes = [], {"epochs": 1} if quick else {}
    for setting, title in SETTINGS.items():
        stream = split("digits", classes_per_task=2, setting=setting)
        results = compare(stream, STRATEGIES, tune=TUNE, seeds=seeds, quiet=True, **changes)
        rows += [
            {
                "setting": title,
                "strategy": name.replace("+", " + "),
                "average accuracy": cell(results.metric("average_accuracy", name)),
                "forgetting": cell(results.metric("forgetting", name)),
                "accuracy when learned": cell(results.metric("learning_accuracy", name)),
                "lr": f"{results.extras[name]['chosen']['lr']:g}",
                "numbers": f"{results.costs[name]['parameters']:,.0f}",
                "state, kB": f"{results.costs[name]['state_bytes'] / 1000:,.0f}",
            }
            for name in results.strategies
        ]
    text = markdown(rows)
    print(text)
    if write:
        put("adapters", text)
    return text


if __name__ == "__main__":
    main()
