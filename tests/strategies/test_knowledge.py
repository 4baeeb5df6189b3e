"""Preferences scored after a run: what is asked, what is refused, and what it costs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from perdure import PerdureError, compare
from perdure.strategies import IBCL, Knowledge
from perdure.testing import TinyTokens, tiny_model, tiny_norm, tiny_stream

PREFERENCES = [[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]]


def train(stream, spec, model=tiny_model):
    chosen = {"optimizer": "adam", "lr": 0.02, "epochs": 3, "dtype": "float64", "quiet": True}
    return compare(stream, spec, model=model, seeds=2, keep=True, **chosen)


@pytest.fixture(scope="module")
def three():
    stream = tiny_stream("domain", (9, 12, 7))
    results = train(stream, {"ibcl": IBCL(distance=0.0)})
    return stream, results, results.trained["ibcl"]


@pytest.mark.parametrize("setting", ["domain", "task"])
def test_equal_preference_scores_what_the_run_scored(setting):
    stream = tiny_stream(setting, (9, 12, 7))
    results = train(stream, "ibcl", tiny_norm)
    for k in range(2):
        front = Knowledge.of(results.trained["ibcl"], k).front(stream, [[1 / 3] * 3])
        torch.testing.assert_close(front.points[0], torch.as_tensor(results.scores["ibcl"][k, -1]))


def test_a_front_holds_the_scores_of_the_models_that_it_names(three):
    stream, _, trained = three
    known = Knowledge.of(trained, 1)
    found = known.front(
        stream, torch.tensor(PREFERENCES), models=4, part="train", reading="independent", seed=3
    )
    assert found.scores.shape == (3, 4, 3)
    torch.testing.assert_close(found.preferences, torch.tensor(PREFERENCES).double())
    drawn = known.models_for(PREFERENCES[1], 4, reading="independent", seed=3)
    for weights, scores in zip(drawn, found.scores[1], strict=True):
        model = known.build(weights)
        hits = [(model(t.train.x.double()).argmax(-1) == t.train.y).double().mean() for t in stream]
        torch.testing.assert_close(scores, torch.stack(hits))
    middle = known.front(stream, PREFERENCES, reading="mixture")
    assert torch.equal(middle.scores, known.front(stream, PREFERENCES).scores)
    assert middle.scores.shape == (3, 1, 3)


def test_a_front_costs_no_step_and_changes_nothing(three):
    stream, results, trained = three
    before = {k: v.clone() for k, v in trained.state("ibcl")["bank"].items()}
    steps = results.costs["ibcl"]["steps"]
    Knowledge.of(trained).front(stream, PREFERENCES, models=3)
    assert results.costs["ibcl"]["steps"] == steps
    assert all(torch.equal(v, before[k]) for k, v in trained.state("ibcl")["bank"].items())


def test_it_is_read_from_a_composition_as_well():
    stream = tiny_stream("domain", (9, 12))
    trained = train(stream, "replay(20) + ibcl").trained["replay(20) + ibcl"]
    assert Knowledge.of(trained, 1).front(stream, [[0.5, 0.5]]).points.isfinite().all()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"preferences": [[0.5, 0.5]]}, "one weight for each of the 3 tasks"),
        ({"preferences": [0.5, 0.25, 0.25]}, "one weight for each of the 3 tasks"),
        ({"preferences": [[0.5, 0.5, 0.5]]}, "sum to 1: divide by the sum"),
        ({"preferences": [[1.5, -0.5, 0.0]]}, "at least 0"),
        ({"preferences": []}, "at least one preference"),
        ({"models": 0}, "models must be a whole number of at least 1; found 0"),
        ({"reading": "sum"}, "reading must be one of"),
        ({"part": "testing"}, "part must be one of train, val, test; found 'testing'"),
        ({"stream": tiny_stream("domain", (9, 12))}, "expected a stream of 3 tasks; found 2"),
        ({"stream": tiny_stream("domain", (9, 12, 7), 3)}, "expected a stream of 2 outputs; found 3"),
        ({"stream": "split-digits"}, "expected a Stream; found str"),
        ({"models": 1.5}, "models must be a whole number of at least 1; found 1.5"),
        ({"models": 2, "alpha": 1.0}, r"alpha must lie in \(0, 1\)"),
    ],
)
def test_what_cannot_be_answered_is_refused(three, change, line):
    stream, _, trained = three
    with pytest.raises(PerdureError, match=line) as caught:
        Knowledge.of(trained).front(**{"stream": stream, "preferences": PREFERENCES, **change})
    assert "\n" not in str(caught.value)


def test_a_task_not_learned_is_refused(three):
    stream, _, trained = three
    known = replace(Knowledge.of(trained), seen=torch.tensor([True, True, False]))
    assert known.front(stream, [[0.5, 0.5, 0.0]]).points.shape == (1, 3)
    with pytest.raises(PerdureError, match="give task 2 weight 0 or learn it"):
        known.front(stream, PREFERENCES)


def test_only_a_run_of_ibcl_has_knowledge():
    stream = tiny_stream("domain", (9, 12))
    with pytest.raises(PerdureError, match="expected one of naive; found 'ibcl'"):
        Knowledge.of(train(stream, "naive").trained["naive"])


def test_fronts_of_token_ids():
    stream = tiny_stream("class", 2, kind="tokens")
    results = compare(
        stream, {"ibcl": IBCL(distance=0.0)}, model=TinyTokens, seeds=1, epochs=1, quiet=True, keep=True
    )
    front = Knowledge.of(results.trained["ibcl"]).front(stream, [[0.5, 0.5]])
    np.testing.assert_allclose(front.points[0], results.scores["ibcl"][0, -1], atol=1e-6)
