"""What is kept of a run: trained replicas."""

import dataclasses

import numpy as np
import pytest
import torch

from perdure import PerdureError, compare
from perdure.scenarios import get


@pytest.fixture(scope="module")
def results():
    return compare("split-digits", ["naive", "replay(50)"], seeds=3, epochs=2, quiet=True, keep=True)


def test_scores_again_what_the_run_scored(results):
    stream = get("split-digits")
    for name in ("naive", "replay"):
        again = results.trained[name].evaluate(stream, batch=100)
        np.testing.assert_allclose(again, results.scores[name][:, -1], atol=1e-6)


def test_another_setting_opens_other_outputs():
    closed = get("split-digits(setting='task')")
    results = compare(closed, ["naive"], seeds=2, epochs=2, quiet=True, keep=True)
    trained = results.trained["naive"]
    np.testing.assert_allclose(trained.evaluate(closed), results.scores["naive"][:, -1], atol=1e-6)
    opened = trained.evaluate(get("split-digits"))
    assert (opened <= trained.evaluate(closed)).all()
    assert opened.mean() < trained.evaluate(closed).mean()


def test_outputs_are_those_of_the_model(results):
    stream = get("split-digits")
    trained = results.trained["naive"]
    x = stream[2].test.inputs()[:7]
    outputs = trained.predict(x, 2, batch=3)
    assert outputs.shape == (3, 7, 10)
    for k in range(3):
        alone = trained.net(k)(trained.params(k), x, torch.tensor(2))
        torch.testing.assert_close(outputs[k], alone)
    assert trained.state("replay" if "replay" in trained.replica["state"] else "naive") == {}


def test_tuned_replicas_are_those_chosen():
    stream = get("split-digits(val=0.2)")
    results = compare(stream, ["naive"], seeds=2, epochs=1, tune={"lr": [0.01, 0.2]}, quiet=True, keep=True)
    trained = results.trained["naive"]
    assert trained.replicas == 2
    np.testing.assert_allclose(trained.evaluate(stream), results.scores["naive"][:, -1], atol=1e-6)


def test_not_kept_unless_asked(results):
    assert compare("split-digits", ["naive"], seeds=1, epochs=1, quiet=True).trained == {}
    assert "trained" in {f.name for f in dataclasses.fields(results)}


def test_refusals(results):
    with pytest.raises(PerdureError, match=r"replica in \[0, 3\); found 3"):
        results.trained["naive"].params(3)
    with pytest.raises(PerdureError, match="expected one of naive; found 'ewc'"):
        results.trained["naive"].state("ewc")
