"""What steps free is kept for the next: no page of memory is asked for again at each step."""

import os

import pytest
import torch

from perdure.core.freed_memory import keep_freed

resource = pytest.importorskip("resource")


def faults() -> int:
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)


def allocate() -> None:
    one = torch.ones(1_000_000)
    for _ in range(3):
        kept = [one + 1 for _ in range(12)]
        del kept


@pytest.mark.skipif(not keep_freed(), reason="another C library, or thresholds that the user has set")
def test_memory_that_was_freed_is_used_again():
    allocate()
    before = faults()
    allocate()
    assert faults() - before < 1_000  # 36 arrays of 4 MB have 37,000 pages


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_thresholds_of_the_user_are_left_alone(name, monkeypatch):
    monkeypatch.setitem(os.environ, name, "1")
    assert not keep_freed.__wrapped__()
