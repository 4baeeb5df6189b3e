"""Arithmetic of fixed bits, against NumPy's; and the draws that are made with it."""

import hashlib

import numpy as np
import pytest
import scipy.stats

from perdure.scenarios import exact
from perdure.scenarios.draws import Draws

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "x", [np.array([1.0, 1 - 1e-12, 2.0, 0.5, 1e-300, 1e300, 5e-324]), RNG.uniform(0, 2, 1000)]
)
def test_logarithm(x):
    np.testing.assert_allclose(exact.log(x), np.log(x), rtol=1e-14, atol=1e-16)


def test_cosine():
    x = np.concatenate([RNG.normal(scale=50, size=1000), [0.0, np.pi, -np.pi, np.pi / 2, 1e4]])
    np.testing.assert_allclose(exact.cos(x), np.cos(x), atol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 100])
def test_total(n):
    x = RNG.normal(size=(n, 3))
    np.testing.assert_allclose(exact.total(x), x.sum(0), atol=1e-12)


def test_product_does_not_depend_on_how_rows_are_cut(monkeypatch):
    a, b = RNG.normal(size=(50, 8)), RNG.normal(size=(8, 3))
    whole = exact.product(a, b)
    np.testing.assert_allclose(whole, a @ b, atol=1e-12)
    monkeypatch.setattr(exact, "PIECE", 21)
    assert (exact.product(a, b) == whole).all()


def test_factor_has_the_rank_of_the_matrix():
    low = RNG.normal(size=(6, 2))
    found = exact.factor(low @ low.T)
    assert found.shape == (6, 2)
    np.testing.assert_allclose(found @ found.T, low @ low.T, atol=1e-9)


def test_orthonormal_rows_even_of_nearly_dependent_ones():
    rows = RNG.normal(size=(5, 9))
    rows[1] = rows[0] + 1e-7 * rows[1]
    found = exact.orthonormal(rows)
    np.testing.assert_allclose(found @ found.T, np.eye(5), atol=1e-12)


def test_normal_numbers_are_normal():
    found = Draws(0, "x").normal(100_000).numpy()
    assert scipy.stats.kstest(found, "norm").pvalue > 0.01
    assert len(Draws(0, "x").normal(0)) == 0
    assert len(np.unique(found)) == len(found)


def test_normal_numbers_are_the_same_everywhere():
    bits = Draws(3, "fixed").normal(1000).numpy().tobytes()
    assert hashlib.blake2b(bits, digest_size=8).hexdigest() == "41b576feaec56c4a"
