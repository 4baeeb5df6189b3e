"""Preferences over five binary tasks: IBCL answers without training, the others train a model for each.

python examples/methods/ibcl.py    (writes the tables and the figure of docs/methods.md)
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from table import PAGE, cell, markdown, put

from perdure.analysis import plot_front
from perdure.engine.outcome import Outcome
from perdure.experiment import run
from perdure.scenarios import Part, Stream, get
from perdure.strategies import IBCL, Knowledge, Naive, Strategy, Weighted, WeightedReplay, hypervolume
from perdure.strategies.bayesian.credal import READINGS
from perdure.training import make_settings

FIGURE = PAGE.parent / "ibcl_front.png"
RATES = (0.001, 0.003, 0.01, 0.03)
CHANCE, FEATURES = 0.5, 32
COLD = IBCL(kl_weight=0.1)
HEADS = {"linear": "mlp(hidden=[])", "64 hidden units": "mlp(hidden=[64])"}
# The two tasks of the figure.
PAIR = (0, 4)
# Of each strategy, what its seeds know, and the learning rate that was chosen.
Learned = dict[str, tuple[list[Knowledge], float]]


@dataclass(frozen=True)
class Found:
    """What one method reached: test scores ``[seed, preference, model, task]``, and what that took."""

    scores: np.ndarray
    steps: int
    trained: str
    rate: float


def features(stream: Stream, count: int = FEATURES) -> Stream:
    """Replace inputs by their first principal components, scaled to variance 1: frozen features.

    They are fitted to the training inputs of all tasks without labels, in place of a network that others
    trained on other data.
    """
    x = torch.cat([task.train.inputs().flatten(1) for task in stream])
    center = x.mean(0)
    _, length, axes = torch.linalg.svd(x - center, full_matrices=False)
    scaled = axes[:count].T / (length[:count] / len(x) ** 0.5)

    def change(part: Part) -> Part:
        return part.with_inputs((part.inputs().flatten(1) - center) @ scaled)

    return stream.with_tasks([task.map_parts(change) for task in stream])


@dataclass(frozen=True)
class Protocol:
    """What all methods share: that of the paper, but for the data and the choice of the learning rate."""

    stream: Stream
    model: str
    preferences: np.ndarray
    rates: tuple[float, ...]
    seeds: int
    epochs: int = 10

    def train(self, strategy: Strategy) -> Outcome:
        """Train all seeds at all learning rates at once; replicas are rates times seeds."""
        settings = make_settings(
            self.stream, model=self.model, seeds=self.seeds, epochs=self.epochs, batch_size=64,
            optimizer="adam", device="cpu", tune={"lr": self.rates},
        )  # fmt: skip
        return run(self.stream, strategy, settings)

    def choose(self, validation: np.ndarray) -> int:
        """Return which rate has the highest preference-weighted accuracy ``[replica, preference, task]``."""
        mean = (validation * self.preferences).sum(-1).mean(-1)
        return int(mean.reshape(len(self.rates), self.seeds).mean(1).argmax())

    def seeds_of(self, rate: int, scores: Sequence) -> Sequence:
        """Return the replicas of one rate."""
        return scores[rate * self.seeds : (rate + 1) * self.seeds]

    def per_preference(self, kind: type[Weighted] | type[WeightedReplay]) -> Found:
        """Train one model for each preference, all at one learning rate."""
        parts: dict[str, list[np.ndarray]] = {"val": [], "test": []}
        for w in self.preferences:
            outcome = self.train(kind(tuple(w.tolist())))
            for part, scores in parts.items():
                scores.append(outcome.trained.evaluate(self.stream, part))
        val, test = (np.stack(scores, 1) for scores in parts.values())
        best = self.choose(val)
        scores = self.seeds_of(best, test)[:, :, None]
        return Found(scores, int(outcome.costs["steps"]), f"{len(val[0])}: 1 each", self.rates[best])

    def one_for_all(self) -> Found:
        """Train naively: the same model whatever is preferred."""
        trained = self.train(Naive()).trained
        val, test = (
            np.repeat(trained.evaluate(self.stream, part)[:, None], len(self.preferences), 1)
            for part in ("val", "test")
        )
        best = self.choose(val)
        return Found(self.seeds_of(best, test)[:, :, None], 0, "1", self.rates[best])

    def knowledge(self, strategy: IBCL) -> tuple[list[Knowledge], float]:
        """Train IBCL once; return what each seed knows at the best rate, and the rate."""
        trained = self.train(strategy).trained
        known = [Knowledge.of(trained, k) for k in range(len(self.rates) * self.seeds)]
        fronts = [k.front(self.stream, self.preferences, part="val").points for k in known]
        best = self.choose(np.stack([np.asarray(points) for points in fronts]))
        return list(self.seeds_of(best, known)), self.rates[best]

    def ask(self, known: Sequence[Knowledge], rate: float, **how: Any) -> Found:
        """Answer all preferences with what was learned."""
        fronts = [k.front(self.stream, self.preferences, **how).scores for k in known]
        models = int(known[0].index.numel())
        return Found(np.stack([np.asarray(scores) for scores in fronts]), 0, f"{models}", rate)


def row(name: str, found: Found, preferences: np.ndarray) -> dict[str, str]:
    """One line of a table; intervals are over seeds."""
    points = found.scores.mean(2)
    room = (1 - CHANCE) ** points.shape[-1]
    volume = [hypervolume(torch.as_tensor(p), [CHANCE] * p.shape[-1]) / room for p in points]
    return {
        "method": name,
        "preference-weighted accuracy": cell((points * preferences).sum(-1).mean(1)),
        "peak accuracy": cell(found.scores.max((1, 2)).mean(-1)),
        "hypervolume": cell(volume),
        "models trained": found.trained,
        "steps per preference": f"{found.steps}",
        "rate": f"{found.rate:g}",
    }


def compared(
    head: str, protocol: Protocol, models: int
) -> tuple[str, dict[str, tuple[list[Knowledge], float]]]:
    """Return the table of all methods with one model, and what the runs of IBCL know."""
    rows, learned = [], {}

    def add(name: str, found: Found) -> None:
        rows.append(row(name, found, protocol.preferences))
        print(head, *rows[-1].values(), sep=" | ", flush=True)

    for strategy in (IBCL(), COLD):
        known = learned[str(strategy)] = protocol.knowledge(strategy)
        add(f"`{strategy}`, mean", protocol.ask(*known))
        # A mixture's region takes many densities of all weights: shown where there are few.
        for reading in READINGS if head == "linear" else READINGS[:1]:
            found = protocol.ask(*known, models=models, reading=reading)
            add(f"`{strategy}`, {models} samples, {reading}", found)
    add("`weighted`", protocol.per_preference(Weighted))
    add("`weighted-replay`", protocol.per_preference(WeightedReplay))
    add("`naive`", protocol.one_for_all())
    return markdown(rows), learned


def draw(protocol: Protocol, learned: Learned, path: Path) -> None:
    """Sweep the preference between two tasks: IBCL is only asked again, the others train again."""
    share = np.linspace(0, 1, 5)
    preferences = np.zeros((len(share), len(protocol.stream)))
    preferences[:, PAIR[0]], preferences[:, PAIR[1]] = 1 - share, share
    sweep = replace(protocol, preferences=preferences)
    found = {
        **{name: sweep.ask(*known) for name, known in learned.items()},
        "weighted": sweep.per_preference(Weighted),
        "weighted-replay": sweep.per_preference(WeightedReplay),
        "naive": sweep.one_for_all(),
    }
    scores = {name: f.scores.mean(2) for name, f in found.items()}
    plot_front(scores, preferences, PAIR, protocol.stream.names, path)


def main(seeds: int = 10, write: bool = True, quick: bool = False) -> str:
    """Make the tables, and the figure where `write`; `quick` is for the tests: digits, few preferences."""
    source, rates, count = ("digits", (0.01,), 2) if quick else ("mnist-5k", RATES, 10)
    stream = features(get(f"split-{source}(setting='domain')"))
    preferences = np.random.default_rng(0).dirichlet(np.ones(len(stream)), count)
    lines = []
    for head, model in list(HEADS.items())[: 1 if quick else None]:
        protocol = Protocol(stream, model, preferences, rates, seeds, epochs=2 if quick else 10)
        table, learned = compared(head, protocol, count)
        lines += [f"Head: {head}.", "", table, ""]
        if write and head == "linear":
            draw(protocol, learned, FIGURE)
    lines += [
        f"{seeds} seeds, {count} preferences; {time.process_time() / 60:.1f} minutes of processor time."
    ]
    if write:
        put("ibcl", "\n".join(lines))
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())
