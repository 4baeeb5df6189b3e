"""The tiny streams and models that plugins are checked on."""

from functools import partial

import pytest
import torch

from perdure import PerdureError, compare
from perdure.scenarios.contract.objective import Regression
from perdure.testing import (
    TinyTokens,
    check_stream,
    tiny_model,
    tiny_norm,
    tiny_stream,
    tiny_team,
    tiny_team_stream,
)

SETTINGS = ("task", "domain", "class", "joint")


@pytest.mark.parametrize("kind", ["classes", "real", "tokens"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_streams_of_every_kind_and_setting_keep_the_contract(kind, setting):
    if (kind, setting) == ("real", "class"):
        pytest.skip("real labels have no classes to tell apart")
    stream = tiny_stream(setting, 4, kind=kind)
    check_stream(stream)
    assert [len(t.train) for t in stream] == [9, 12, 7, 9]
    assert stream.fingerprint() == tiny_stream(setting, 4, kind=kind).fingerprint()
    assert stream.fingerprint() != tiny_stream(setting, 4, seed=1, kind=kind).fingerprint()


def test_sizes_classes_and_labels_are_what_was_asked_for():
    stream = tiny_stream("class", (5, 8), classes=4)
    assert [len(t.train) for t in stream] == [5, 8]
    assert stream[1].outputs == (4, 5, 6, 7)
    real = tiny_stream("task", 2, kind="real")
    assert real[1].outputs == (1,)
    assert isinstance(real[0].objective, Regression)
    assert real[0].train.y.is_floating_point()
    ids = tiny_stream(kind="tokens")[0].train.x
    assert ids.dtype == torch.int64
    assert ids.min() >= 0
    assert ids.max() < 100


def test_the_team_has_tables_of_one_size():
    stream = tiny_team_stream(3)
    check_stream(stream)
    assert stream.input_shape == (2, 5, 24)
    assert stream.outputs == tiny_team(stream.input_shape, stream.outputs)(torch.zeros(1, 2, 5, 24)).shape[1]
    assert [len(task.train) for task in stream] == [9, 9, 9]
    assert stream.fingerprint() == tiny_team_stream(3).fingerprint()


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (partial(tiny_stream, kind="images"), "kind must be one of classes, real, tokens; found 'images'"),
        (partial(tiny_stream, tasks=0), "tasks must be at least one, of at least one sample each; found 0"),
        (partial(tiny_stream, tasks=(3, 0)), "found (3, 0)"),
        (partial(tiny_team_stream, 8), "tasks must be a whole number of at most 7; found 8"),
    ],
)
def test_what_cannot_be_made_is_said(make, line):
    with pytest.raises(PerdureError) as caught:
        make()
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "model"),
    [("classes", tiny_model), ("classes", tiny_norm), ("real", tiny_model), ("tokens", TinyTokens)],
)
def test_models_learn_on_them(kind, model):
    results = compare(tiny_stream(kind=kind), ["naive"], model=model, seeds=1, epochs=1, quiet=True)
    assert results.config["model"] == model.__name__
