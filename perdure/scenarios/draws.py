"""Random draws that depend on nothing but a seed and a purpose."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from perdure.core.checks import check_whole


class Draws:
    """Random numbers for one purpose under one seed.

    Only the raw words of a PCG64 are used: NumPy promises that those stay the same over versions, which it
    does not promise for ``Generator.permutation``. So a stream keeps its fingerprint.

    Parameters
    ----------
    seed:
        A whole number, zero or more.
    purpose:
        Words and numbers that tell this use from all others under the same seed.
    """

    def __init__(self, seed: int, *purpose: str | int) -> None:
        entropy = [check_whole("`seed`", seed, least=0)]
        for word in purpose:
            code = hashlib.blake2b(word.encode(), digest_size=8).digest() if isinstance(word, str) else b""
            entropy.append(int.from_bytes(code, "little") if isinstance(word, str) else word)
        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))

    def _words(self, n: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return np.asarray(self._bits.random_raw(n), dtype=np.uint64).reshape(n)

    def permutation(self, n: int) -> Tensor:
        """Return the numbers 0..n-1 in random order, ``[n]`` int64."""
        return torch.from_numpy(np.argsort(self._words(n), kind="stable").astype(np.int64))

    def uniform(self, n: int) -> Tensor:
        """Return ``n`` numbers in [0, 1), ``[n]`` float64."""
        return torch.from_numpy((self._words(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53)
