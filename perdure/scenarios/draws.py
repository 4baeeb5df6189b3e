"""Random draws that depend on nothing but a seed and a purpose."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from perdure.core.checks import check_whole
from perdure.scenarios.exact import log

# Normal numbers that are drawn at a time: what lies between takes several times their memory.
PIECE = 2**20


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

    def normal(self, n: int) -> Tensor:
        """Return ``n`` numbers of the standard normal distribution, ``[n]`` float64.

        By Marsaglia's polar method: of points drawn in a square, those inside the circle, each of which gives
        two numbers. The same bits on every machine.
        """
        found, count = [], 0
        while count < n:
            # Of the points pi / 4 lie inside; a few more save the second round.
            points = int(0.66 * min(n - count, PIECE)) + 16
            u, v = self.uniform(2 * points).numpy().reshape(2, points) * 2 - 1
            square = u * u + v * v
            inside = (square > 0) & (square < 1)
            u, v, square = u[inside], v[inside], square[inside]
            found.append((np.stack([u, v], 1) * np.sqrt(-2 * log(square) / square)[:, None]).reshape(-1))
            count += 2 * len(square)
        return torch.from_numpy(np.concatenate(found)[:n]) if found else torch.empty(0, dtype=torch.float64)
