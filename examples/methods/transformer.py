"""Adaptive SVD on a pretrained transformer: CLINC150's ten domains in sequence, in several protocols.

python examples/methods/transformer.py            # goes on where it was stopped; hours on two cores
python examples/methods/transformer.py --table    # writes the table of what has been measured so far

`heads`: a head per domain on MiniLM, two epochs a domain. `fast heads`: the same, and the heads learn at
0.003, whatever the encoder's rate. `matching`: one encoder matches a sentence with the
intents' names, one epoch a domain; scored over the domain's intents and over all. `shared labels`: it matches
with fifteen numbers, which mean other intents in each domain; three epochs. `borrowed names`: as `matching`,
but each intent bears the name of another, drawn at random; three epochs. As `shared labels`: `reversed
order`, the domains from last to first; `recurring domains`, the first five of them twice; `blurred
boundaries`, a twentieth of a domain's sentences exchanged with each neighbour's. A domain has 50 training
sentences an intent, half of what there is. A method's learning rate is the one whose run with seed 0 ends
best on the validation sentences of all domains; rates are tried until the best one's neighbours are worse.

Needs the extra `text`, and CLINC150 in PERDURE_DATA. Each run is a line of transformer.jsonl beside this:
a run that is there is not made again.
"""

import json
import shutil
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))
from table import cell, markdown, put

from perdure import compare
from perdure.models import encoder, matcher
from perdure.scenarios import SOURCES, Stream, get, tokenize
from perdure.strategies import Phase, Strategy, strategy

SOURCE = "minilm"  # or any transformer that `perdure.models.encoder` takes
KEPT = Path(__file__).with_suffix(".jsonl")
GRID = tuple(float(f"{digit}e{power}") for power in range(-7, 0) for digit in (1, 3))
RATES, MIDDLE_RATES, HIGH_RATES = (1e-5, 3e-5), (1e-4, 3e-4), (3e-4, 1e-3)
ADAPTER_RATES, PROMPT_RATES = (1e-3, 3e-3), (3e-3, 1e-2)
# Name in the table: strategy, learning rates to begin with.
METHODS = {
    "sequential": ("naive", RATES),
    "adaptive SVD": ("adaptive-svd(first=True)", HIGH_RATES),
    "adaptive SVD, ratio 0.9": ("adaptive-svd(ratio=0.9, first=True)", HIGH_RATES),
    "adaptive SVD, weights only": ("adaptive-svd(ratio=0.9, first=True, rest=False)", MIDDLE_RATES),
    "adaptive SVD, eight directions": ("adaptive-svd(ratio=0.98, first=True, rest=False)", HIGH_RATES),
    "adaptive SVD, one direction": ("adaptive-svd(ratio=0.998, first=True, rest=False)", ADAPTER_RATES),
    "LoRA": ("lora(rank=8, warm=False)", ADAPTER_RATES),
    "O-LoRA": ("o-lora(rank=8, warm=False)", ADAPTER_RATES),
    "O-LoRA, rank 2": ("o-lora(rank=2, warm=False)", ADAPTER_RATES),
    "L2P": ("l2p", PROMPT_RATES),
    "frozen encoder": ("probe", ADAPTER_RATES),
    "zero-shot": ("untouched", (1.0,)),
    "joint": ("joint", RATES),
}


@dataclass(frozen=True)
class Protocol:
    """How the domains are learned, and which seeds show by how much adaptive SVD ends above the others.

    ``head`` is the learning rate of heads, and ``operators`` what follows the stream's name. The seeds from
    ``fresh`` on played no part in the choice of the setting and of the rates.
    """

    epochs: int
    setting: str = "task"
    seeds: int = 3
    head: float | None = None
    operators: str = ""
    fresh: int | None = None


PROTOCOLS = {
    "heads": Protocol(2),
    "matching": Protocol(1),
    "fast heads": Protocol(2, head=3e-3),
    "shared labels": Protocol(3, "domain", seeds=10, fresh=5),
    "borrowed names": Protocol(3, seeds=1),
    "reversed order": Protocol(3, "domain", 5, operators=" | take([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])", fresh=1),
    "recurring domains": Protocol(3, "domain", 3, operators=" | take(5) | repeat(2)", fresh=1),
    "blurred boundaries": Protocol(3, "domain", 1, operators=" | blur(width=0.2)"),
}
# Besides the first two protocols, only what adaptive SVD is compared with. A matcher has no head to train;
# heads that were not trained say nothing. The narrow ones are for a head per domain.
RIVALS = ("sequential", "adaptive SVD, ratio 0.9", "adaptive SVD, weights only", "LoRA", "O-LoRA")
NARROW = ("adaptive SVD, eight directions", "adaptive SVD, one direction", "O-LoRA, rank 2")
LEFT_OUT = {
    ("heads", "zero-shot"), *(("matching", m) for m in ("frozen encoder", "L2P", *NARROW)),
    *((p, m) for p in PROTOCOLS if p not in ("heads", "matching") for m in METHODS if m not in RIVALS),
    *((p, "adaptive SVD, ratio 0.9") for p, terms in PROTOCOLS.items() if terms.operators),
}  # fmt: skip
LABELS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
# Tokens of a sentence (98 % have no more), training sentences of a domain.
LENGTH, SENTENCES = 20, 750


@strategy("untouched")
class Untouched(Strategy):
    """Learns nothing: what the pretrained model knows already."""

    def phases(self, stream: Stream) -> list[Phase]:
        return [replace(phase, epochs=0) for phase in super().phases(stream)]


@cache
def stream(setting: str = "task", operators: str = "") -> Stream:
    spec = f"split-clinc150(features='tokens', length={LENGTH}, setting='{setting}', val=0.16666667)"
    return get(f"{spec} | limit({SENTENCES}){operators}")


def model(protocol: str, method: str):
    frozen = ["embeddings"]
    if "heads" in protocol:
        return encoder(SOURCE, frozen=frozen)
    if PROTOCOLS[protocol].setting == "domain":
        return matcher(tokenize(LABELS.split(), 4), SOURCE, frozen=frozen)
    names = [name.replace("_", " ") for name in SOURCES.get("clinc150(words=1)").class_names]
    if protocol == "borrowed names":
        names = [names[i] for i in np.random.default_rng(0).permutation(len(names))]
    groups = None if method == "joint" else [task.outputs for task in stream()]
    return matcher(tokenize(names, 8), SOURCE, groups=groups, frozen=frozen)


def train(protocol: str, method: str, rate: float, seed: int, folder: Path) -> dict:
    """One run, which goes on where it was stopped."""
    (spec, _), terms = METHODS[method], PROTOCOLS[protocol]
    rule = "adamw" if terms.head is None else f"scaled('adamw', {{'^head': {terms.head / rate}}})"
    domains = stream(terms.setting, terms.operators)
    results = compare(
        domains, [spec], model=model(protocol, method), seeds=[seed], epochs=terms.epochs,
        optimizer=rule, lr=rate, precision="bfloat16", out=folder, resume=folder.exists(), keep=True,
    )  # fmt: skip
    (name,) = results.strategies
    trained, scores = results.trained[name], results.scores[name][0]
    row = {"protocol": protocol, "method": method, "strategy": spec, "rate": rate, "seed": seed}
    row |= {"validation": trained.evaluate(domains, "val").mean(), "final": scores[-1].mean()}
    if len(scores) > 1:
        row |= {k: results.metric(k, name)[0] for k in ("learning_accuracy", "forgetting")}
    if protocol == "matching":
        row["all"] = trained.evaluate(stream("class")).mean()
    # What the run itself counted: of all parts, if it was stopped and went on.
    seconds = sum(v for k, v in results.costs[name].items() if k.startswith("seconds"))
    return {**row, "seconds": seconds, "scores": scores.round(4).tolist()}


def rows() -> list[dict]:
    return [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.exists() else []


def known(**wanted) -> list[dict]:
    return [r for r in rows() if all(r.get(k) == v for k, v in wanted.items())]


def keep(row: dict) -> None:
    with KEPT.open("a") as file:
        file.write(json.dumps(row) + "\n")


def made(protocol: str, method: str, rate: float, seed: int, work: Path) -> dict:
    """The run that was asked for, made now if it is not there yet."""
    spec, _ = METHODS[method]
    of = {"protocol": protocol, "method": method, "strategy": spec, "rate": rate, "seed": seed}
    if not known(**of):
        folder = work / f"{protocol}-{method}-{rate}-{seed}".replace(" ", "-")
        keep(train(protocol, method, rate, seed, folder))
        shutil.rmtree(folder)
        print({k: v for k, v in known(**of)[0].items() if k != "scores"}, flush=True)
    return known(**of)[0]


def choose(protocol: str, method: str, work: Path) -> float:
    """The rate whose run with seed 0 ends best on the validation sentences; its neighbours were tried."""
    rates = METHODS[method][1]
    while True:
        best = max(rates, key=lambda rate: made(protocol, method, rate, 0, work)["validation"])
        at = GRID.index(best) if best in GRID else 0
        beside = [r for r in (*GRID[max(at - 1, 0) : at], *GRID[at + 1 : at + 2]) if r not in rates]
        if len(rates) == 1 or not beside:
            return best
        rates = (*rates, *beside)


def chosen(protocol: str, method: str) -> list[dict]:
    """The runs at the best rate of those tried so far."""
    runs = known(protocol=protocol, method=method, strategy=METHODS[method][0])
    best = max((r for r in runs if r["seed"] == 0), key=lambda r: r["validation"], default=None)
    return [] if best is None else [r for r in runs if r["rate"] == best["rate"]]


def table() -> str:
    lines = []
    for protocol in PROTOCOLS:
        for method, (spec, _) in METHODS.items():
            if not (done := chosen(protocol, method)):
                continue
            tried = {r["rate"] for r in known(protocol=protocol, method=method, strategy=spec)}
            lines.append(
                {
                    "protocol": protocol, "method": method, "rate": f"{done[0]['rate']:g}",
                    "rates tried": str(len(tried)), "seeds": str(len(done)),
                    "final accuracy": column(done, "final"), "over all intents": column(done, "all"),
                    "learning accuracy": column(done, "learning_accuracy"),
                    "forgetting": column(done, "forgetting"),
                    "minutes a seed": f"{np.median([r['seconds'] for r in done]) / 60:.1f}",
                }
            )  # fmt: skip
    return markdown(lines)


def pairs(method: str = "adaptive SVD, weights only") -> str:
    """By how much a method ends above the others, seed by seed: mean and 95 % t interval."""
    lines = []
    for protocol, terms in PROTOCOLS.items():
        if terms.fresh is None:
            continue
        own = {r["seed"]: r["final"] for r in chosen(protocol, method)}
        for other in (m for m in RIVALS if m != method):
            theirs = {r["seed"]: r["final"] for r in chosen(protocol, other)}
            gaps = {seed: own[seed] - theirs[seed] for seed in sorted(own.keys() & theirs.keys())}
            if len(gaps) > 2:
                fresh = [gap for seed, gap in gaps.items() if seed >= terms.fresh]
                lines.append(
                    {
                        "protocol": protocol, "against": other, "all seeds": interval([*gaps.values()]),
                        "fresh seeds": f"{terms.fresh} on: {interval(fresh)}" if len(fresh) > 2 else "",
                        "seed by seed": ", ".join(f"{g:+.3f}" for g in gaps.values()),
                    }
                )  # fmt: skip
    return markdown(lines)


def interval(gaps: list[float]) -> str:
    low, high = stats.t.interval(0.95, len(gaps) - 1, np.mean(gaps), stats.sem(gaps))
    return f"{np.mean(gaps):+.3f} [{low:+.3f}, {high:+.3f}]"


def column(done: list[dict], name: str) -> str:
    return cell([r[name] for r in done]) if name in done[0] else ""


def main(protocols=tuple(PROTOCOLS), methods=tuple(METHODS), seeds=10, work=Path("runs/transformer")):
    work.mkdir(parents=True, exist_ok=True)
    for seed in range(seeds):
        for protocol in protocols:
            for method in methods:
                if (protocol, method) not in LEFT_OUT and seed < PROTOCOLS[protocol].seeds:
                    made(protocol, method, choose(protocol, method, work), seed, work)


if __name__ == "__main__":
    if "--table" in sys.argv:
        put("transformer", table())
        put("transformer_pairs", pairs())
    else:
        main()
