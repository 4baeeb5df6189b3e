"""Fixtures and skips for all tests."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def pytest_configure():
    # The tests' models are so small that a second thread costs more than it brings.
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        if item.get_closest_marker("shared_data") and not os.environ.get("PERDURE_DATA"):
            item.add_marker(pytest.mark.skip(reason="PERDURE_DATA is not set"))


@pytest.fixture
def root():
    """The checkout."""
    return ROOT


@pytest.fixture
def without_report():
    """Runs with a folder draw no report: where nobody looks at it, it takes longer than the run."""
    from perdure.engine.run_folder import Checkpoints

    # A patch of its own: tests undo theirs.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "report", lambda self, results: None)
        yield


@pytest.fixture
def table(monkeypatch):
    """The table of strategies; what a test registers is taken away again."""
    from perdure.strategies import STRATEGIES

    monkeypatch.setattr(STRATEGIES, "_makers", dict(STRATEGIES._makers))
    return STRATEGIES


@pytest.fixture
def shared_data():
    """The folder of real data sets that PERDURE_DATA points to; the test is skipped without it."""
    place = os.environ.get("PERDURE_DATA")
    if not place:
        pytest.skip("PERDURE_DATA is not set")
    if not Path(place).is_dir():
        pytest.skip(f"PERDURE_DATA is no folder: {place}")
    return Path(place)
