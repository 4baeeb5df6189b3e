"""Dialects against loops that follow each library's code; what a library does not compute is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from perdure.analysis import DIALECTS, METRICS, Results
from perdure.core.errors import PerdureError

Build = Callable[..., Results]
SIZES = [10, 40, 20, 30]


def avalanche_accuracy(r: np.ndarray, b: np.ndarray) -> float:
    return sum(n * score for n, score in zip(SIZES, r[-1], strict=True)) / sum(SIZES)


def first_minus_last(r: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([r[j, j] - r[-1, j] for j in range(len(r) - 1)]))


def last_minus_first(r: np.ndarray, b: np.ndarray) -> float:
    return -first_minus_last(r, b)


def before_minus_untrained(r: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([r[j - 1, j] - b[j] for j in range(1, len(r))]))


def padded_maximum(r: np.ndarray, b: np.ndarray) -> float:
    seen = np.zeros_like(r)
    for i in range(len(r)):
        seen[i, : i + 1] = r[i, : i + 1]
    return float(np.mean([seen[:, j].max() - r[-1, j] for j in range(len(r) - 1)]))


def pooled_seen(r: np.ndarray, b: np.ndarray) -> float:
    rows = [np.average(r[i, : i + 1], weights=SIZES[: i + 1]) for i in range(len(r))]
    return float(np.mean(rows))


def mean_seen(r: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([r[i, : i + 1].mean() for i in range(len(r))]))


def last_row(r: np.ndarray, b: np.ndarray) -> float:
    return float(r[-1].mean())


def all_pairs_back(r: np.ndarray, b: np.ndarray) -> float:
    t = len(r)
    return sum(r[i, j] - r[j, j] for i in range(t) for j in range(i)) / (t * (t - 1) / 2)


def all_pairs_ahead(r: np.ndarray, b: np.ndarray) -> float:
    t = len(r)
    return sum(r[i, j] for i in range(t) for j in range(i + 1, t)) / (t * (t - 1) / 2)


def continuum_forgetting(r: np.ndarray, b: np.ndarray) -> float:
    k = len(r)
    return sum(max(r[i, j] for i in range(j, k - 2)) - r[k - 1, j] for j in range(k - 2)) / (k - 1)


def continuum_back(r: np.ndarray, b: np.ndarray) -> float:
    t, total = len(r), 0.0
    for i in range(1, t):
        for j in range(i - 1):
            total += r[i, j] - r[j, j]
    return total / (t * (t - 1) / 2)


def continuum_ahead(r: np.ndarray, b: np.ndarray) -> float:
    t = len(r)
    return sum(r[i, j] for i in range(t) for j in range(i)) / (t * (t - 1) / 2)


def libcontinual_forgetting(r: np.ndarray, b: np.ndarray) -> float:
    last = len(r) - 1
    return sum(r[j, j] - r[last, j] for j in range(last - 1)) / last


def libcontinual_back(r: np.ndarray, b: np.ndarray) -> float:
    last, total = len(r) - 1, 0.0
    for i in range(2, last):
        total += sum(r[i, j] - r[j, j] for j in range(i - 1))
    total += sum(r[last, j] - r[j, j] for j in range(last - 1))
    return 2 * total / (last * (last + 1))


def growth(r: np.ndarray, b: np.ndarray) -> float:
    return (1 + 1 / 2 + 1 / 2 + 1 / 4) / 4


CODE = {
    ("avalanche", "average_accuracy"): avalanche_accuracy,
    ("avalanche", "forgetting"): first_minus_last,
    ("avalanche", "backward_transfer"): last_minus_first,
    ("avalanche", "forward_transfer"): before_minus_untrained,
    ("mammoth", "average_accuracy"): last_row,
    ("mammoth", "forgetting"): padded_maximum,
    ("mammoth", "backward_transfer"): last_minus_first,
    ("mammoth", "forward_transfer"): before_minus_untrained,
    ("pilot", "average_incremental_accuracy"): pooled_seen,
    ("pilot", "forgetting"): padded_maximum,
    ("capymoa", "average_accuracy"): last_row,
    ("capymoa", "average_incremental_accuracy"): mean_seen,
    ("capymoa", "backward_transfer"): all_pairs_back,
    ("capymoa", "forward_transfer"): all_pairs_ahead,
    ("continuum", "forgetting"): continuum_forgetting,
    ("continuum", "backward_transfer"): continuum_back,
    ("continuum", "forward_transfer"): continuum_ahead,
    ("continuum", "model_size_efficiency"): growth,
    ("libcontinual", "average_accuracy"): last_row,
    ("libcontinual", "average_incremental_accuracy"): mean_seen,
    ("libcontinual", "forgetting"): libcontinual_forgetting,
    ("libcontinual", "backward_transfer"): libcontinual_back,
}
# On the curve of evaluations, where the library's grid of evaluations is the curve itself.
AS_THE_PAPER = {("capymoa", "anytime_average_accuracy")}
PAIRS = [(dialect, metric) for dialect in DIALECTS if dialect != "paper" for metric in METRICS]


@pytest.fixture(scope="module", name="noise")
def _noise() -> Results:
    rng = np.random.default_rng(3)
    names = ("naive", "ewc")
    return Results(
        {name: rng.uniform(size=(3, 4, 4)) for name in names},
        {name: rng.uniform(size=(3, 4)) for name in names},
        extras={name: {"parameters_per_stage": [10, 20, 20, 40]} for name in names},
        config={"test_sizes": SIZES},
    )


@pytest.mark.parametrize(("dialect", "metric"), PAIRS)
def test_every_pair_follows_the_librarys_code_or_is_refused(
    noise: Results, dialect: str, metric: str
) -> None:
    if (dialect, metric) in AS_THE_PAPER:
        assert DIALECTS[dialect][metric] == DIALECTS["paper"][metric]
        return
    code = CODE.get((dialect, metric))
    if code is None:
        with pytest.raises(PerdureError, match=f"the dialect '{dialect}' defines .*; found '{metric}'") as e:
            noise.metric(metric, "naive", dialect=dialect)
        assert "\n" not in str(e.value)
        with pytest.raises(PerdureError, match="the dialect"):
            noise.table([metric], dialect=dialect)
        with pytest.raises(PerdureError, match="the dialect"):
            noise.compare(metric, dialect=dialect)
        return
    expected = [code(r, b) for r, b in zip(noise.scores["ewc"], noise.untrained["ewc"], strict=True)]
    assert noise.metric(metric, "ewc", dialect=dialect) == pytest.approx(expected, abs=1e-12)


def test_a_table_of_a_dialect_holds_what_it_defines(build: Build) -> None:
    table = build().table(dialect="continuum")
    assert set(table["metric"]) == {"forgetting", "backward_transfer", "forward_transfer"}


def test_the_paper_defines_every_metric() -> None:
    assert set(DIALECTS["paper"]) == set(METRICS)


def test_two_tasks_in_the_dialects_that_skip_one() -> None:
    two = Results({"a": np.random.default_rng(0).uniform(size=(2, 2, 2))})
    for dialect in ("continuum", "libcontinual"):
        for metric in ("forgetting", "backward_transfer"):
            assert two.metric(metric, "a", dialect).tolist() == [0, 0]


@pytest.mark.slow
def test_avalanche_itself_agrees(noise: Results) -> None:
    metrics = pytest.importorskip("avalanche.evaluation.metrics")
    for seed, (r, b) in enumerate(zip(noise.scores["ewc"], noise.untrained["ewc"], strict=True)):
        lost, ahead = metrics.Forgetting(), metrics.ForwardTransfer()
        for j in range(4):
            lost.update(j, r[j, j], initial=True)
            ahead.update(j, b[j], initial=True)
        for j in range(3):
            lost.update(j, r[3, j])
            ahead.update(j + 1, r[j, j + 1])
        for metric, own in (("forgetting", lost), ("forward_transfer", ahead)):
            found = noise.metric(metric, "ewc", "avalanche")[seed]
            assert found == pytest.approx(np.mean(list(own.result().values())))
