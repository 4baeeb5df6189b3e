"""CLR on the alphabets of Omniglot: what a frozen net with a few small filters per task is worth.

PERDURE_DATA=... python examples/methods/clr.py    (writes the tables of docs/methods.md)
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from table import cell, markdown, put
from torch import Tensor, nn

from perdure import compare
from perdure.analysis import Results
from perdure.models.adapters.anchored import load_anchor, parameter_count
from perdure.pretrain import pretrain
from perdure.scenarios import Stream, get, limit, split, take
from perdure.scenarios.source import SOURCES, Source
from perdure.strategies import CLR, EWC, Joint, Naive, Single, Strategy

RATES = (0.003, 0.01, 0.03)
EPOCHS, CHOOSING = 10, 2  # passes over each alphabet; seeds that choose the learning rate
BATCH, SMALL_BATCH = 28, 26  # they divide the samples: with batch norm, each other size is recorded anew
DRAWINGS = (1, 4, 14)


def convnet(shape: tuple[int, ...], outputs: int, width: int = 8) -> nn.Module:
    """Convolutions of 3x3, 3x3 and 1x1, each with batch norm; 14 x 14 pixels become 288 features."""

    def layer(before: int, after: int, size: int) -> list[nn.Module]:
        conv = nn.Conv2d(before, after, size, padding=size // 2, bias=False)
        return [conv, nn.BatchNorm2d(after), nn.ReLU()]

    w, side = width, shape[1] // 2 // 2
    return nn.Sequential(
        *layer(shape[0], w, 3), nn.MaxPool2d(2), *layer(w, 2 * w, 3), *layer(2 * w, 4 * w, 1),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * w * side**2, outputs),
    )  # fmt: skip


def linear(shape: tuple[int, ...], outputs: int) -> nn.Module:
    """A head on features."""
    return nn.Linear(shape[0], outputs)


def turned(source: Source) -> Source:
    """Halve the sides of images, and make a class of each class in each of four positions."""

    def images(x: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(x, 2) if x.shape[-1] > 14 else x
        return torch.cat([torch.rot90(x, k, (2, 3)) for k in range(4)])

    def classes(y: Tensor) -> Tensor:
        return torch.cat([4 * y + k for k in range(4)])

    test = images(source.x_test), classes(source.y_test)
    return Source.build(f"turned-{source.name}", images(source.x), classes(source.y), *test)


def features(stream: Stream, anchor: str) -> Stream:
    """Replace images by what the anchor, norms included, makes of them."""
    model = convnet(stream.input_shape, stream.outputs)
    load_anchor(model, anchor)
    body = model[:-1].eval()
    with torch.no_grad():
        return stream.with_tasks(
            [task.map_parts(lambda part: part.with_inputs(body(part.inputs()))) for task in stream],
            f"features-{stream.name}",
        )


def learn(
    stream: Stream, strategy: Strategy, seeds: int, rates: Sequence[float],
    model: Callable[..., nn.Module] = convnet, epochs: int | None = EPOCHS, batch_size: int = BATCH,
) -> Results:  # fmt: skip
    """Train with Adam at the rate that is best on the validation parts, as the first seeds say."""
    settings = {"model": model, "optimizer": "adam", "epochs": epochs, "batch_size": batch_size,
                "device": "cpu", "quiet": True}  # fmt: skip
    rate = rates[0]
    if len(rates) > 1:
        tried = compare(stream, [strategy], seeds=min(CHOOSING, seeds), tune={"lr": rates}, **settings)
        rate = tried.extras[tried.strategies[0]]["chosen"]["lr"]
    return compare(stream, [strategy], seeds=seeds, lr=rate, **settings)


def row(name: str, results: Results, added: float, backbone: int) -> dict[str, str]:
    """One line of the first table; models of one stage have learned and known at the end what they score."""
    (key,) = results.strategies
    staged = results.scores[key].shape[1] > 1
    return {
        "method": name,
        "final accuracy": cell(results.metric("average_accuracy", key)),
        "learning accuracy": cell(results.metric("learning_accuracy", key)) if staged else "",
        "forgetting": cell(results.metric("forgetting", key)) if staged else "",
        "learning rate": f"{results.config['lr']:g}",
        "added per task": f"{added:,.0f}",
        "share of backbone": f"{added / backbone:.1%}",
    }


def alphabets(
    stream: Stream, anchor: str, seeds: int, rates: Sequence[float], every: int = 1
) -> list[dict[str, str]]:
    """All methods on one stream, or only every third or so."""
    plain = convnet(stream.input_shape, stream.outputs)
    counts = {v: parameter_count(plain, v) for v in ("default", "full", "scalar")}
    backbone = counts["default"]["backbone"]
    given = {v: CLR(variant=v, anchor=anchor) for v in counts}
    asked: list[tuple[str, Strategy, float]] = [
        ("single: a net per task", Single(), backbone),
        ("clr, anchor of other data", given["default"], counts["default"]["task"]),
        ("clr, the same, variant full", given["full"], counts["full"]["task"]),
        ("clr, the same, variant scalar", given["scalar"], counts["scalar"]["task"]),
        ("clr, anchor of the first task", CLR(), counts["default"]["task"]),
        ("naive", Naive(), 0),
        ("ewc", EWC(20.0), 0),
        ("joint", Joint(), 0),
    ]
    rows = [row(name, learn(stream, way, seeds, rates), more, backbone) for name, way, more in asked[::every]]
    heads = learn(features(stream, anchor), Single(), seeds, rates, linear)
    return [*rows[:1], row("linear heads on the anchor", heads, 0, backbone), *rows[1:]]


def few(
    stream: Stream, anchor: str, seeds: int, rates: Sequence[float], drawings: Sequence[int]
) -> list[dict[str, str]]:
    """One task, learned from few samples of each class."""
    rows = [{"method": name} for name in ("from scratch", "linear head on the anchor", "clr")]
    for n in drawings:
        less = limit(stream, n * len(stream[0].outputs))
        how = {"epochs": None, "batch_size": SMALL_BATCH}
        found = (
            learn(less, Naive(), seeds, rates, **how),
            learn(features(less, anchor), Naive(), seeds, rates, linear, **how),
            learn(less, CLR(anchor=anchor), seeds, rates, **how),
        )
        for line, results in zip(rows, found, strict=True):
            line[f"{n} a class"] = cell(results.metric("average_accuracy", results.strategies[0]))
    return rows


def published() -> list[dict[str, str]]:
    """What a task adds to torchvision's nets."""
    from torchvision import models

    rows = []
    for name in ("resnet18", "resnet50"):
        with torch.device("meta"):  # only shapes are counted
            model = getattr(models, name)()
        for variant in ("default", "full", "scalar"):
            count = parameter_count(model, variant)
            rows.append(
                {
                    "net": name, "variant": variant, "filters": f"{count['layers']}",
                    "their weights": f"{count['kernels']:,}", "norms": f"{count['norms']:,}",
                    "added per task": f"{count['task']:,}", "backbone": f"{count['backbone']:,}",
                    "share": f"{count['share']:.3%}",
                }
            )  # fmt: skip
    return rows


def main(seeds: int = 10, write: bool = True, quick: bool = False) -> str:
    """Run everything; `quick` takes four digits of 8 x 8, one learning rate, a third of the methods."""
    began = time.perf_counter()
    if quick:
        stream = get("split-digits(setting='task', val=0.2) | take(2)")
        four, fifth, other = get("split-digits | take(4)"), take(stream, [1]), SOURCES.get("digits")
    else:
        whole = "split-omniglot(size=14, setting='{}', val=0.15)"
        stream, fifth = get(whole.format("task")), get(whole.format("task") + " | take([4])")
        four, other = get(whole.format("class") + " | take(4)"), SOURCES.get("mnist-5k")
    rates, drawings = ((RATES[1],), (1,)) if quick else (RATES, DRAWINGS)
    settings = {"model": convnet, "optimizer": "adam", "lr": 0.01, "schedule": "cosine", "device": "cpu",
                "quiet": True}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        first, second = str(Path(folder) / "other"), str(Path(folder) / "four")
        source = turned(other)
        one = pretrain(split(source, source.classes), first, epochs=1 if quick else 3, **settings)
        two = pretrain(four, second, epochs=1 if quick else 2 * EPOCHS, **settings)
        tables = [
            alphabets(stream, first, seeds, rates, every=3 if quick else 1),
            few(fifth, second, seeds, rates, drawings),
            published(),
        ]
    known = [f"{r.metric('average_accuracy', 'joint').mean():.3f}" for r in (one, two)]
    text = "\n\n".join(
        [
            f"{stream.name}, {len(stream)} tasks, {seeds} seeds; the anchor has learned {source.name} "
            f"({source.classes} classes, test accuracy {known[0]}).",
            markdown(tables[0]),
            f"{fifth[0].name} alone, few training samples of each class; the anchor has learned "
            f"{len(four)} other tasks together (test accuracy {known[1]}).",
            markdown(tables[1]),
            "What a task adds to torchvision's nets, beside its head.",
            markdown(tables[2]),
            f"`examples/methods/clr.py`, {(time.perf_counter() - began) / 60:.1f} minutes.",
        ]
    )
    if write:
        put("clr", text)
    return text


if __name__ == "__main__":
    print(main())
