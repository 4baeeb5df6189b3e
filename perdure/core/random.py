"""Counter-based random numbers: every draw is a function of (seed, purpose, step), never of a global state.

The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
written as tensor operations, so that it runs on any device and can be mapped over replicas. Replica k then
draws the same numbers whether it runs alone or among hundreds, and a stopped run continues without any
generator state.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
# So many counters on the CPU are computed sooner by NumPy: it starts an operation in a tenth of torch's time.
_FEW = 1 << 12

Words = Tensor | np.ndarray[Any, Any] | int


def philox(counter: Sequence[Words], key: Sequence[Words]) -> tuple[Any, Any, Any, Any]:
    """Philox4x32-10: four 32-bit words from a counter of four and a key of two (all int64, in [0, 2^32)).

    Tensors or NumPy's arrays, which broadcast; a word that is the same everywhere may be a number.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # A 64-bit product may wrap into the sign, but its bits are right; the masks take them out.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def purpose_key(purpose: str) -> int:
    """Return the 32-bit word that stands for a purpose, the same in every process."""
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=4).digest(), "little")


def draw_bits(seed: Tensor, step: Tensor, purpose: int, n: int) -> Tensor:
    """Return ``n`` words in [0, 2^32) per seed and step, shape ``broadcast(seed, step) + (n,)`` int64."""
    block: Any = torch.arange(-(-n // 4), device=seed.device)
    at: Any = step.unsqueeze(-1)
    who: Any = seed.unsqueeze(-1)
    if seed.is_cpu and max(seed.numel(), 1) * max(step.numel(), 1) * len(block) <= _FEW:
        block, at, who = block.numpy(), at.numpy(), who.numpy()
    words = philox((block, at & _MASK, (at >> 32) & _MASK, 0), (who & _MASK, purpose))
    return torch.stack([torch.as_tensor(w) for w in words], -1).flatten(-2)[..., :n]


# :func:`draw_bits` as one node of a recorded step, so that the engine can draw for many steps at once.
_LIBRARY: Any = torch.library.Library("perdure", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define("random_bits(Tensor seed, Tensor step, int purpose, int n) -> Tensor")
_LIBRARY.impl("random_bits", draw_bits, "CompositeExplicitAutograd")
random_bits = torch.ops.perdure.random_bits.default


def _fake_bits(seed: Tensor, step: Tensor, purpose: int, n: int) -> Tensor:
    shape = torch.broadcast_shapes(seed.shape, step.shape)  # type: ignore[no-untyped-call]
    return seed.new_empty((*shape, n), dtype=torch.int64)


def _mapped_bits(
    info: Any, in_dims: Any, seed: Tensor, step: Tensor, purpose: int, n: int
) -> tuple[Tensor, int]:
    seed = seed.movedim(in_dims[0], 0) if in_dims[0] is not None else seed.expand(info.batch_size)
    if in_dims[1] is not None:
        step = step.movedim(in_dims[1], 0)
    return random_bits(seed, step, purpose, n), 0


torch.library.register_fake("perdure::random_bits", _fake_bits, lib=_LIBRARY)
torch.library.register_vmap("perdure::random_bits", _mapped_bits, lib=_LIBRARY)


@dataclass(frozen=True)
class Rng:
    """The random numbers of one replica at one step.

    Parameters
    ----------
    seed:
        The replica's seed, a 0-d int64 tensor; with an axis of replicas, draws have it too.
    step:
        Position in the run, a 0-d int64 tensor.
    scope:
        Prefix of every purpose; each strategy of a composition has its own.

    The same purpose asked for twice gives the same numbers: name each use.
    """

    seed: Tensor
    step: Tensor
    scope: str = ""

    def scoped(self, name: str) -> Rng:
        """Return the numbers of a part of the run that may use the same purposes."""
        return Rng(self.seed, self.step, f"{self.scope}{name}/")

    def bits(self, purpose: str, n: int) -> Tensor:
        """``n`` independent words, uniform in [0, 2^32), int64."""
        bits: Tensor = random_bits(self.seed, self.step, purpose_key(self.scope + purpose), n)
        return bits

    def uniform(self, purpose: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform in [0, 1) on a grid of 2^-24, so that float32 and float64 runs draw the same."""
        words = self.bits(purpose, math.prod(shape)).view(*self.seed.shape, *shape)
        return (words >> 8).to(dtype) * 2.0**-24

    def integers(self, purpose: str, high: int | Tensor, *shape: int) -> Tensor:
        """Uniform in {0, ..., high - 1}, int64; ``high`` in [1, 2^31) may be a tensor that broadcasts."""
        return (self.bits(purpose, math.prod(shape)).view(*self.seed.shape, *shape) * high) >> 32

    def normal(self, purpose: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal, by the Box-Muller transform: two numbers of every two uniform ones."""
        n = math.prod(shape)
        pairs = -(-n // 2)
        u = self.uniform(purpose, 2 * pairs, dtype=dtype)
        radius, angle = (-2.0 * torch.log(1.0 - u[..., :pairs])).sqrt(), 2.0 * math.pi * u[..., pairs:]
        both = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], -1)
        return both[..., :n].view(*self.seed.shape, *shape)

    def permutation(self, purpose: str, n: int) -> Tensor:
        """Return a uniformly random order of ``n`` things, int64 ``[n]``."""
        return self.bits(purpose, n).sort(dim=-1, stable=True).indices
