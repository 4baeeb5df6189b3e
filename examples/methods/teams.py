"""Teams whose agents tell each other something: with messages, without, and with those of other episodes.

python examples/methods/teams.py              (writes the tables and the figures of docs/agents.md)
python examples/methods/teams.py alicebob     (one of them)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from table import DOCS, cell, markdown, marked, put

from perdure import PerdureError, Results, compare
from perdure.analysis import Messages, plot_bits, plot_links, understood
from perdure.core.entities import KIND, KINDS, MORE, PLACE

PAGE = DOCS / "agents.md"
GAME = "referential-games(steps={0}, episodes=500)"
METHODS = ["naive", "mcs", "commnet", "tarmac", "dial"]
# Tasks that are learned together, steps of each, and learning rates that each method chooses from.
TOGETHER = {
    "alicebob": ("alicebob-agents(steps={0})", 80_000, [0.003, 0.006]),
    "skirmish": ("skirmish-units(steps={0}, sight=3)", 40_000, [0.003, 0.006, 0.012, 0.024]),
    "spread": ("spread-agents(tasks=2, steps={0})", 60_000, [0.003, 0.006]),
}
TEAMS = ["joint", "mcs + joint", "commnet + joint", "tarmac + joint", "single", "mcs + single"]
# What links that are cut cost in return.
UNCUT = {"spread": ["mcs(threshold=0.0) + joint"]}
# Two agents, two with keys and goals across the diagonals, three agents.
SEQUENCE = "alicebob-agents(tasks=4, steps={0}) | take([0, 3, 1])"
ITS_STEPS, ITS_RATE = 80_000, 0.003
KEPT: dict[str, dict[str, list[float]]] = {
    "mcs": {},
    "mcs + ewc": {"ewc.strength": [10.0, 1000.0]},
    "mcs + replay(2000)": {},
    "mcs + adaptive-svd": {},
}


def hear(results: Results, method: str, task: int = 0) -> list[Messages]:
    """Return what the agents of each seed say in a task; nothing where they are silent."""
    count = len(results.scores[method])
    try:
        return [results.trained[method].messages(task=task, replica=k) for k in range(count)]
    except PerdureError:
        return []


def spoken(heard: list[Messages]) -> dict[str, str]:
    """Lay out returns with shuffled messages and without any, and the bits sent."""
    if not heard:
        return {"shuffled": "-", "silent": "-", "bits a step": "-"}
    return {
        "shuffled": cell([one.returns_shuffled.mean() for one in heard], 2),
        "silent": cell([one.returns_silent.mean() for one in heard], 2),
        "bits a step": f"{np.mean([one.bits_per_step for one in heard]):.0f}",
    }


def told(heard: list[Messages], label: Callable[[Messages], Any]) -> str:
    """Lay out how many bits the first agent's messages tell of a label, of how many, less the control."""
    if not heard:
        return "-"
    found = [one.information(label(one), agent=0) for one in heard]
    most = np.mean([one.entropy for one in found])
    return f"{cell([max(0.0, one.bits - one.control) for one in found], 2)} of {most:.2f}"


def still_read(before: list[Messages], after: list[Messages]) -> str:
    """Lay out how much of where the first agent stands is read by one who knows what it used to say."""
    found = [understood(*both, stands_on, agent=0) for both in zip(before, after, strict=True)]
    return cell([one.now for one in found], 2)


def meant(heard: Messages) -> Any:
    """Return which object is meant: the sender's second row says it, one-hot behind its first number."""
    return heard.observations[:, :, 0, 1, MORE + 1 :].argmax(-1)


def stands_on(heard: Messages) -> Any:
    """Return what the first agent stands on: 0 for the floor, otherwise the row of a key or goal."""
    rows = heard.observations[:, :, 0]
    kinds = rows[..., KIND + KINDS.index("key")] + rows[..., KIND + KINDS.index("goal")]
    on = (kinds > 0) & (np.abs(rows[..., PLACE : PLACE + 2]).sum(-1) == 0)
    return np.where(on.any(-1), on.argmax(-1), 0)


def referential(seeds: int, quick: bool) -> str:
    """Return the table of the referential game."""
    methods = METHODS[:2] if quick else METHODS
    stream = GAME.format(1 if quick else 60_000)
    results = compare(stream, methods, seeds=seeds, keep=True, quiet=True)
    lines = []
    for method in results.strategies:
        heard = hear(results, method)
        returns = {"method": method, "return": cell(results.scores[method][:, -1].mean(1), 2)}
        lines.append(returns | spoken(heard) | {"told of the object": told(heard, meant)})
    return markdown(lines)


def together(name: str, seeds: int, quick: bool, write: bool) -> str:
    """Return the table of tasks learned at once, by each method at its best learning rate."""
    stream, steps, rates = TOGETHER[name]
    methods = TEAMS[1:2] if quick else TEAMS + UNCUT.get(name, [])
    results = compare(
        stream.format(1 if quick else steps), methods, seeds=seeds, keep=True,
        tune={} if quick else {"lr": rates}, quiet=True,
    )  # fmt: skip
    lines, talk = [], {}
    for method in results.strategies:
        scores, heard = results.scores[method][:, -1], hear(results, method)
        chosen = results.extras[method].get("chosen", {}).get("lr", "-")
        line = {"method": method, "rate": str(chosen), "return": cell(scores.mean(1), 2)}
        tasks = {task: cell(scores[:, t], 2) for t, task in enumerate(results.tasks)}
        lines.append(line | tasks | spoken(heard))
        if heard:
            talk[method] = heard
    if write:
        plot_bits(talk, DOCS / f"team_bits_{name}.png")
        if name == "skirmish":  # of two agents one hears the other
            plot_links(talk["mcs + joint"][0], DOCS / f"team_links_{name}.png")
    return markdown(lines)


def sequence(seeds: int, quick: bool, write: bool) -> str:
    """Return the table of tasks learned one after the other: what is left of the first one's language."""
    stream = SEQUENCE.format(1 if quick else ITS_STEPS)
    methods = {"mcs": KEPT["mcs"]} if quick else KEPT
    results = compare(
        stream, list(methods), seeds=seeds, keep=True, quiet=True, lr=ITS_RATE,
        tune={key: values for grid in methods.values() for key, values in grid.items()},
    )  # fmt: skip
    # Draws and steps are those of the longer stream: so the first task was known before the second.
    first = compare(f"{stream} | take(1)", "mcs", seeds=seeds, keep=True, quiet=True, lr=ITS_RATE)
    before = hear(first, "mcs")
    then = [understood(one, one, stands_on, agent=0).then for one in before]
    lines = [
        {
            "method": "mcs, after the first task", "chosen": "-", "return at the end": "-",
            "when learned": "-", "forgetting": "-",
            "first task": cell(first.scores["mcs"][:, -1, 0], 2), **spoken(before),
            "told of its place": told(before, stands_on), "read as then": cell(then, 2),
        }
    ]  # fmt: skip
    for method in results.strategies:
        chosen, heard = results.extras[method].get("chosen", {}), hear(results, method)
        line = {"method": method, "chosen": ", ".join(f"{v:g}" for v in chosen.values()) or "-"}
        for title, metric in {
            "return at the end": "average_accuracy", "when learned": "learning_accuracy",
            "forgetting": "forgetting",
        }.items():  # fmt: skip
            try:
                line[title] = cell(results.metric(metric, method), 2)
            except PerdureError:
                line[title] = "-"
        line["first task"] = cell(results.scores[method][:, -1, 0], 2)
        language = {"told of its place": told(heard, stands_on), "read as then": still_read(before, heard)}
        lines.append(line | spoken(heard) | language)
    if write:
        results.plot_forgetting(DOCS / "team_sequence.png")
    return markdown(lines)


def main(seeds: int = 5, write: bool = True, quick: bool = False, only: str = "") -> str:
    """Write the tables and figures; ``quick`` learns from one rollout of a task."""
    texts = []
    for name in ("referential", *TOGETHER, "sequence"):
        if only not in ("", name) or (quick and name in ("skirmish", "spread")):
            continue
        start = time.perf_counter()
        if write:
            marked(name, PAGE)
        count = 2 if quick else seeds
        if name == "referential":
            text = referential(count, quick)
        elif name == "sequence":
            text = sequence(count, quick, write)
        else:
            text = together(name, count, quick, write)
        if write:
            put(name, text, PAGE)
        print(f"{text}\n{time.perf_counter() - start:.0f} seconds", flush=True)
        texts.append(text)
    return "\n".join(texts)


if __name__ == "__main__":
    main(only=sys.argv[1] if len(sys.argv) > 1 else "")
