"""Fixtures of the scenarios' tests."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from perdure.core.errors import PerdureError
from perdure.scenarios import Source


@pytest.fixture
def refuses():
    """A context in which a PerdureError of one line, holding all the given words, must come."""

    @contextmanager
    def context(*words):
        with pytest.raises(PerdureError) as caught:
            yield
        line = str(caught.value)
        assert "\n" not in line
        for word in words:
            assert word in line, f"expected {word!r} in: {line}"

    return context


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of data sets, and no other."""
    place = tmp_path / "data"
    place.mkdir()
    monkeypatch.setenv("PERDURE_DATA", str(place))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return place


@pytest.fixture
def real():
    """Say which real file a test needs; it is skipped when that is not there."""

    def need(*names):
        place = os.environ.get("PERDURE_DATA")
        if not place:
            pytest.skip("PERDURE_DATA is not set")
        missing = [name for name in names if not (Path(place) / name).is_file()]
        if missing:
            pytest.skip(f"PERDURE_DATA lacks {', '.join(missing)}")

    return need


def numbered(classes=4, each=10, shape=(3,), test=4):
    """A source whose inputs all differ: the first value is the number of the sample."""
    y, y_test = torch.arange(classes).repeat(each), torch.arange(classes).repeat(test)
    x = torch.zeros(len(y) + len(y_test), *shape)
    x.flatten(1)[:, 0] = torch.arange(len(x))
    x.flatten(1)[:, -1] = torch.arange(len(x)) * 0.5
    return Source.build("numbered", x[: len(y)], y, x[len(y) :], y_test)


@pytest.fixture
def source():
    return numbered()


@pytest.fixture
def make_source():
    return numbered


@pytest.fixture
def sample_ids():
    """The numbers of the samples of a part of the `source` fixture."""
    return lambda part: sorted(part.x.flatten(1)[:, 0].long().tolist())
