"""Training an anchor on a source of one's choice."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from perdure import PerdureError, compare
from perdure.models import get as get_model
from perdure.pretrain import pretrain
from perdure.scenarios import from_arrays, get, split
from perdure.scenarios.source import SOURCES
from perdure.strategies import CLR

NET = "cnn(channels=[3], hidden=6)"


@pytest.mark.parametrize(
    "source",
    ["digits", "split-digits(setting='task') | take(2)", SOURCES.get("digits"), split("digits", 5)],
    ids=["source", "stream", "a source", "a stream"],
)
def test_the_file_holds_the_model_that_was_scored(source, tmp_path):
    path = tmp_path / "anchor.safetensors"
    results = pretrain(source, path, model=NET, epochs=1, seed=3, quiet=True)
    assert results.strategies == ["joint"]
    assert results.seeds == [3]
    model = get_model(NET)((1, 8, 8), 10).eval()
    model.load_state_dict(load_file(path))
    stream = results.trained["joint"]
    assert all(torch.equal(v, stream.params()[k]) for k, v in model.state_dict().items())


def test_all_classes_of_a_source_compete(tmp_path):
    results = pretrain("digits", tmp_path / "anchor", model=NET, epochs=2, quiet=True)
    again = compare(split("digits", 10), ["joint"], model=NET, epochs=2, seeds=1, quiet=True)
    np.testing.assert_array_equal(results.scores["joint"], again.scores["joint"])
    assert results.scores["joint"].shape == (1, 1, 1)


def test_clr_starts_from_it_and_leaves_it_alone(tmp_path):
    path = tmp_path / "anchor"
    pretrain("digits", path, model=NET, epochs=1, quiet=True)
    stream = get("split-digits(setting='task') | take(2)")
    results = compare(
        stream, [CLR(anchor=str(path))], model=NET, seeds=2, epochs=1, weight_decay=0.1, quiet=True, keep=True
    )
    held = load_file(path)
    trained = results.trained[results.strategies[0]]
    for k in range(2):
        params = trained.params(k)
        for own, theirs in (
            ("0.conv.weight", "0.weight"),
            ("0.conv.bias", "0.bias"),
            ("4.weight", "4.weight"),
        ):
            assert torch.equal(params[own], held[theirs])
        assert not torch.equal(params["6.weight"], held["6.weight"]), "the head is each task's own"


def test_refusals(tmp_path):
    with pytest.raises(PerdureError, match="of the seed given; found 'seeds' besides"):
        pretrain("digits", tmp_path / "anchor", model=NET, seeds=3)
    with pytest.raises(PerdureError, match="in a folder that exists; found"):
        pretrain("digits", tmp_path / "none" / "anchor", model=NET)
    with pytest.raises(PerdureError, match="stream"):
        pretrain("nowhere", tmp_path / "anchor", model=NET)
    wide = from_arrays([(np.ones((20, 1, 4, 4)) + np.arange(20)[:, None, None, None], np.arange(20) % 2)])
    pretrain(wide, tmp_path / "anchor", model=NET, epochs=1, quiet=True)
    with pytest.raises(PerdureError, match=r"the anchor in .* must hold '4\.weight' of shape"):
        compare(
            get("split-digits(setting='task')"), [CLR(anchor=str(tmp_path / "anchor"))], model=NET, quiet=True
        )
