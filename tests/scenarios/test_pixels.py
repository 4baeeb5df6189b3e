import gzip
import hashlib
import pickle
import struct
from urllib.error import URLError

import numpy as np
import pytest
import torch

from perdure.scenarios import check_stream, get
from perdure.scenarios.sources import cifar10, fashion_mnist, mnist, mnist_5k


def write_mnist_5k(folder, rows=None, name="mnist_5k.csv"):
    if rows is None:
        rng = np.random.default_rng(0)
        rows = [[*rng.integers(0, 256, 784), i % 10] for i in range(100)]
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())


@pytest.mark.parametrize("name", ["mnist_5k.csv", "mnist_5k.csv.gz"])
def test_mnist_5k_of_a_small_file(name, folder):
    write_mnist_5k(folder, name=name)
    source = mnist_5k()
    assert source.x.shape == (80, 1, 28, 28)
    assert 0.9 < float(source.x.max()) <= 1.0
    check_stream(get("split-mnist-5k(setting='task')"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["needs the file mnist_5k.csv.gz", "PERDURE_DATA"]),
        (b"", ["cannot read"]),
        (b"1,2,3\n", ["784 grey values", "3 columns"]),
        (b",".join([b"x"] * 785), ["784 grey values"]),
        (b",".join([b"1"] * 784) + b",11\n", ["labels in 0..9", "first row 1"]),
        (b",".join([b"300"] * 784) + b",1\n", ["0..255"]),
        (b",".join([b"nan"] * 784) + b",1\n", ["1 of 1 rows"]),
    ],
)
def test_bad_mnist_5k(content, words, folder, refuses):
    if content is not None:
        (folder / "mnist_5k.csv").write_bytes(content)
    with refuses(*words):
        mnist_5k()


def test_truncated_mnist_5k(folder, refuses):
    write_mnist_5k(folder, name="mnist_5k.csv.gz")
    path = folder / "mnist_5k.csv.gz"
    path.write_bytes(path.read_bytes()[:5000])
    with refuses("cannot read", "mnist_5k.csv.gz"):
        mnist_5k()


def write_idx(folder, each=4):
    raw = folder / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", each * 10), ("t10k", 20)):
        pixels, labels = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8), np.arange(n) % 10
        head = struct.pack(">IIII", 0x803, n, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        head = struct.pack(">II", 0x801, n)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.astype(np.uint8).tobytes())


@pytest.fixture
def offline(monkeypatch):
    """Torchvision without a network."""
    import torchvision.datasets

    def fail(self):
        raise URLError("no network")

    for name in ("MNIST", "CIFAR10"):
        monkeypatch.setattr(getattr(torchvision.datasets, name), "download", fail)


@pytest.mark.parametrize(("make", "name"), [(mnist, "MNIST"), (fashion_mnist, "FashionMNIST")])
def test_mnist_of_small_files(make, name, folder, offline):
    write_idx(folder / name)
    source = make()
    assert source.x.shape == (40, 1, 28, 28)
    assert source.x_test.shape == (20, 1, 28, 28)
    assert source.x.dtype == torch.uint8
    assert 0.9 < float(source.scale(source.x).max()) <= 1.0
    assert source.class_names[0] in ("0", "T-shirt/top")
    check_stream(get(f"split-{source.name}(val=0.3)"))


def test_files_are_also_looked_for_in_the_cache(tmp_path, folder, offline):
    write_idx(tmp_path / "cache" / "perdure" / "MNIST")
    assert len(mnist().y) == 40


@pytest.mark.parametrize("make", [mnist, cifar10])
def test_neither_files_nor_network(make, folder, offline, refuses):
    with refuses(str(folder), "downloading it failed", "no network", "PERDURE_DATA"):
        make()
    # The folder that a user names is only read.
    assert not list(folder.iterdir())


def test_broken_idx(folder, offline, refuses):
    write_idx(folder / "MNIST")
    path = folder / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with refuses("cannot read MNIST"):
        mnist()
    path.write_bytes(b"xx")
    with refuses("cannot read MNIST"):
        mnist()


def test_old_pickles_of_mnist_are_not_read(folder, offline):
    write_idx(folder / "MNIST")
    old = folder / "MNIST" / "processed"
    old.mkdir()
    for name in ("training.pt", "test.pt"):
        (old / name).write_bytes(b"not to be opened")
    assert len(mnist().y) == 40


def write_cifar(folder, monkeypatch):
    """Write small files in CIFAR-10's format, and let torchvision expect their sums."""
    import torchvision.datasets

    place = folder / "cifar-10-batches-py"
    place.mkdir()
    rng = np.random.default_rng(0)
    sums = {}
    for name, n in (("data_batch_1", 40), ("test_batch", 20)):
        data = {
            "data": rng.integers(0, 256, (n, 3072)).astype(np.uint8),
            "labels": [i % 10 for i in range(n)],
        }
        (place / name).write_bytes(pickle.dumps(data))
    (place / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"thing {i}" for i in range(10)]}))
    for path in place.iterdir():
        sums[path.name] = hashlib.md5(path.read_bytes()).hexdigest()
    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": sums["batches.meta"]})
    return place


def test_cifar_of_small_files(folder, offline, monkeypatch):
    place = write_cifar(folder, monkeypatch)
    source = cifar10()
    assert source.x.shape == (40, 3, 32, 32)
    assert source.class_names[3] == "thing 3"
    data = pickle.loads((place / "data_batch_1").read_bytes())["data"]
    expected = torch.tensor(data[5].reshape(3, 32, 32)) / 255
    assert torch.equal(source.scale(source.x)[5], expected)
    check_stream(get("split-cifar10(val=0.3)"))


def test_cifar_that_differs_is_not_unpickled(folder, offline, monkeypatch, refuses):
    place = write_cifar(folder, monkeypatch)
    (place / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with refuses("cifar10", "downloading it failed"):
        cifar10()


def test_a_download_is_used(folder, tmp_path, monkeypatch):
    import torchvision.datasets

    def fetch(self):
        write_idx(tmp_path / "cache" / "perdure" / "MNIST")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", fetch)
    assert len(mnist().y) == 40
    assert not list(folder.iterdir())
