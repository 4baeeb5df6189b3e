"""Counter-based random numbers: known answers, independence of replicas, distributions."""

import pytest
import torch
from scipy import stats
from torch.func import vmap

from perdure.core.random import Rng, draw_bits, philox, purpose_key

# Published with the Random123 library (kat_vectors, philox4x32-10): counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def rng(seed: int = 3, step: int = 7) -> Rng:
    return Rng(torch.tensor(seed), torch.tensor(step))


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_words(counter, key, expected):
    words = philox([torch.tensor(c) for c in counter], [torch.tensor(k) for k in key])
    assert tuple(int(w) for w in words) == expected


def test_draw_bits_lays_blocks_of_four_words_end_to_end():
    purpose = purpose_key("x")
    bits = draw_bits(torch.tensor(5), torch.tensor(2**33 + 9), purpose, 6)
    first = philox([torch.tensor(c) for c in (0, 9, 2, 0)], [torch.tensor(5), torch.tensor(purpose)])
    second = philox([torch.tensor(c) for c in (1, 9, 2, 0)], [torch.tensor(5), torch.tensor(purpose)])
    assert bits.tolist() == [int(w) for w in (first[0], first[1], first[2], first[3], second[0], second[1])]


@pytest.mark.parametrize("shape", [(), (3,), (0,)])
@pytest.mark.parametrize("steps", [torch.tensor(2**40 + 5), torch.tensor([[2**33 - 1], [2**33]])])
def test_few_words_and_many_are_computed_alike(shape, steps, monkeypatch):
    seeds = torch.arange(3)[: max(shape, default=1)].reshape(shape) * 2**60 - 7
    few = [draw_bits(seeds, steps, purpose_key("x"), n) for n in (0, 1, 9)]
    monkeypatch.setattr("perdure.core.random._FEW", -1)  # by torch's operations, as on a GPU
    for n, words in zip((0, 1, 9), few, strict=True):
        assert words.shape == (*torch.broadcast_shapes(shape, steps.shape), n)
        assert torch.equal(words, draw_bits(seeds, steps, purpose_key("x"), n))


def test_a_replica_draws_the_same_alone_and_among_others():
    seeds = torch.tensor([4, 9, 2])
    among = vmap(lambda s: Rng(s, torch.tensor(11)).uniform("a", 5))(seeds)
    for row, seed in zip(among, seeds, strict=True):
        assert torch.equal(row, Rng(seed, torch.tensor(11)).uniform("a", 5))


def test_purpose_scope_seed_and_step_each_change_the_draw():
    draws = [
        rng().uniform("a", 4),
        rng().uniform("b", 4),
        rng().scoped("s").uniform("a", 4),
        rng(seed=4).uniform("a", 4),
        rng(step=8).uniform("a", 4),
    ]
    assert len({tuple(d.tolist()) for d in draws}) == len(draws)


def test_uniform_is_uniform_and_below_one():
    u = rng().uniform("u", 200_000)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


def test_normal_is_normal():
    z = rng().normal("z", 200_000, dtype=torch.float64)
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("n", [1, 2, 7])
def test_normals_are_those_of_box_and_muller(n):
    u = rng().uniform("z", n + n % 2, dtype=torch.float64)
    first, second = u.view(2, -1)
    radius = (-2 * (1 - first).log()).sqrt()
    expected = torch.cat([radius * (2 * torch.pi * second).cos(), radius * (2 * torch.pi * second).sin()])[:n]
    torch.testing.assert_close(rng().normal("z", n, dtype=torch.float64), expected)
    assert rng().normal("z", 3, 5).shape == (3, 5)


def test_the_two_normals_of_a_pair_are_independent():
    z = rng().normal("z", 200_000, dtype=torch.float64).view(2, -1)
    assert abs(float(torch.corrcoef(z)[0, 1])) < 4 / 100_000**0.5
    assert abs(float(torch.corrcoef(z.square())[0, 1])) < 4 / 100_000**0.5
    for row in z:
        assert stats.kstest(row.numpy(), "norm").pvalue > 1e-3


def test_integers_cover_the_range_evenly_and_take_a_tensor_bound():
    counts = torch.bincount(rng().integers("i", 7, 70_000), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    high = torch.tensor([1, 2, 5])
    assert bool((rng().integers("i", high, 3) < high).all())


def test_permutation_is_one():
    assert rng().permutation("p", 101).sort().values.tolist() == list(range(101))
