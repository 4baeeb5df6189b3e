"""Training on image files with augmentation: Perdure beside a plain loop over a torch DataLoader.

    python benchmarks/files.py                     100,000 files of 32 x 32 pixels (1.2 GB as numbers)
    python benchmarks/files.py --files 2000        a trial

Prints the samples per second of both, each with the best of its numbers of worker processes, their ratio
(bar: 0.8), and the memory of each epoch of Perdure above that before the files were listed, worker processes
included (bar: 250 MB, flat). The files are made in a temporary folder, and removed at the end.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from perdure.experiment import run
from perdure.scenarios import ImageFiles, from_datasets
from perdure.strategies import get
from perdure.training import make_settings

SIDE, CLASSES, HIDDEN, BATCH, TESTED = 32, 10, 128, 32, 1000


def make(folder: Path, files: int) -> None:
    """Write images of coloured squares and noise, each class in a folder."""
    draws = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / str(label)).mkdir()
    for i in range(files):
        coarse = draws.integers(0, 200, (8, 8, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        noise = draws.integers(0, 56, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(coarse + noise).save(folder / str(i % CLASSES) / f"{i:06}.png", compress_level=1)


def augment(x: Tensor, draws: Tensor) -> Tensor:
    """Shift an image by up to four pixels, and flip it."""
    down, right, flip = (draws[:3] * torch.tensor([9, 9, 2])).long().tolist()
    moved = functional.pad(x, (4, 4, 4, 4))[:, down : down + SIDE, right : right + SIDE]
    return moved.flip(-1) if flip else moved


class Plain(Dataset[tuple[Tensor, int]]):
    """What a plain loop reads: the same files, by Pillow alone, augmented by torch's own draws."""

    def __init__(self, files: ImageFiles) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.files.files[index]) as image:
            x = torch.from_numpy(np.array(image.convert("RGB")).transpose(2, 0, 1).copy())
        return augment(x, torch.rand(8)), int(self.files.targets[index])


def plain(files: ImageFiles, epochs: int, workers: int) -> list[float]:
    """Return the samples per second of each epoch of a plain loop."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    loader = DataLoader(
        Plain(files), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    speeds = []
    for _ in range(epochs):
        began = time.perf_counter()
        for x, y in loader:
            loss = functional.cross_entropy(net(x.float() / 255), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        speeds.append(len(files) / (time.perf_counter() - began))
    return speeds


@dataclass
class Run:
    """Samples per second and the most memory in MB of each epoch; seconds in all, with scoring."""

    speeds: list[float]
    peaks: list[float]
    seconds: float


def perdure(folder: Path, epochs: int, workers: int) -> Run:
    """Train and score with Perdure; the first epoch's speed counts from its second step (one is recorded)."""
    with watched() as peak:
        start = peak()
        began = time.perf_counter()
        whole = ImageFiles.below(folder, SIDE, channels=3)
        tested = ImageFiles(whole.files[:TESTED], whole.targets[:TESTED].tolist(), SIDE, channels=3)
        stream = from_datasets([(whole, tested)], val=0.01, augment=augment, draws=8, workers=workers)
        settings = make_settings(
            stream, model=f"mlp(hidden=[{HIDDEN}])", seeds=[0], epochs=epochs, batch_size=BATCH,
            optimizer="sgd", lr=0.01, weight_decay=0.0, schedule="constant", device="cpu", dtype="float32",
            precision=None, pretrained=False, eval_every=None, tune=None,
        )  # fmt: skip
        n = len(stream[0].train)
        each = -(-n // BATCH)
        marks: list[float] = []
        peaks: list[float] = []

        def tick(done: int, total: int) -> None:
            if done == 1 or done % each == 0:
                marks.append(time.perf_counter())
            if done % each == 0:
                peaks.append(peak() - start)

        run(stream, get("naive"), settings, tick)
        seconds = time.perf_counter() - began
    counts = [n - BATCH, *[n] * (epochs - 1)]
    speeds = [count / (b - a) for count, a, b in zip(counts, marks, marks[1:], strict=False)]
    return Run(speeds, peaks, seconds)


@contextmanager
def watched() -> Iterator[Callable[[], float]]:
    """Give a function that returns the most memory in MB since it was last called."""
    most = [memory()]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            most[0] = max(most[0], memory())

    def peak() -> float:
        found, most[0] = max(most[0], memory()), 0.0
        return found

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def memory() -> float:
    """Return the resident memory in MB of this process and its children; what they share counts once.

    Without pages of files (the code of libraries), which other programs on the machine share or drop.
    """
    me = os.getpid()
    children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
    found = 0.0
    for process in [str(me), *children]:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        own = (line for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        found += sum(int(line.split()[1]) for line in own) / 1024
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perdure-files-") as name:
        folder = Path(name)
        make(folder, chosen.files)
        files = ImageFiles.below(folder, SIDE, channels=3)
        runs, loops = {}, {}
        for w in chosen.workers:  # one beside the other: the machine may be busier later
            runs[w] = perdure(folder, chosen.epochs, w)
            loops[w] = plain(files, chosen.epochs, w)
    for w in chosen.workers:
        one = runs[w]
        print(f"{w} workers: plain {rounded(loops[w])} samples/s, Perdure {rounded(one.speeds)}", end=", ")
        print(f"{one.seconds:.1f} s in all; memory above the start {rounded(one.peaks)} MB")
    best, other = max(max(one.speeds) for one in runs.values()), max(max(each) for each in loops.values())
    print(f"best: plain {other:.0f} samples/s, Perdure {best:.0f}; ratio {best / other:.2f} (bar 0.8)")
    print(f"memory: at most {max(max(one.peaks) for one in runs.values()):.0f} MB above the start (bar 250)")


def rounded(values: list[float]) -> str:
    return " ".join(f"{value:.0f}" for value in values)


if __name__ == "__main__":
    main()
