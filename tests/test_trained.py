"""What is kept of a run: trained replicas."""

import dataclasses

import numpy as np
import pytest
import torch

from perdure import PerdureError, compare
from perdure.scenarios import get
from perdure.scenarios.contract.objective import Regression
from perdure.testing import TinyTokens, tiny_stream


@pytest.fixture(scope="module")
def results():
    return compare("split-digits", ["naive", "replay(50)"], seeds=3, epochs=2, quiet=True, keep=True)


def test_scores_again_what_the_run_scored(results):
    stream = get("split-digits")
    for name in ("naive", "replay(50)"):
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
    assert trained.state("replay" if "replay" in trained.replica.state else "naive") == {}


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


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_arrays_are_inputs_too(results, kind):
    x = get("split-digits")[1].test.inputs()[:4]
    trained = results.trained["naive"]
    expected = trained.predict(x, 1)
    torch.testing.assert_close(trained.predict(x.numpy().astype(kind), np.int64(1)), expected)
    torch.testing.assert_close(trained.predict(x.tolist(), [1, 1, 1, 1]), expected)
    assert trained.params(np.int64(2)).keys() == trained.params(2).keys()


IMAGES = torch.zeros(3, 1, 8, 8)


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda t: t.predict(IMAGES[..., :4]), "shape [n, 1, 8, 8], n at least 1; found [3, 1, 8, 4]"),
        (lambda t: t.predict(IMAGES[0]), "found [1, 8, 8]"),
        (lambda t: t.predict(IMAGES[:0]), "n at least 1; found [0, 1, 8, 8]"),
        (lambda t: t.predict(torch.tensor(1.0)), "found []"),
        (lambda t: t.predict(np.zeros((2, 1, 8, 8), dtype=np.uint8)), "inputs of floating point, scaled"),
        (lambda t: t.predict(np.array([["a"]])), "a tensor or an array of numbers; found ndarray"),
        (lambda t: t.predict(None), "a tensor or an array of numbers; found NoneType"),
        (lambda t: t.predict(IMAGES, task=99), "a task in [0, 5); found 99"),
        (lambda t: t.predict(IMAGES, task=-1), "a task in [0, 5); found -1"),
        (lambda t: t.predict(IMAGES, task=[0, 1, 5]), "a task in [0, 5); found 5"),
        (lambda t: t.predict(IMAGES, task=1.0), "must be a whole number"),
        (lambda t: t.predict(IMAGES, task=True), "must be a whole number"),
        (lambda t: t.predict(IMAGES, task="a"), "must be an index or one for each input"),
        (lambda t: t.predict(IMAGES, task=[0, 1]), "an index or [3], one for each input; found [2]"),
        (lambda t: t.predict(IMAGES, batch=0), "batch must be a whole number of at least 1"),
        (lambda t: t.evaluate(get("split-digits"), "valid"), "one of train, val, test; found 'valid'"),
        (lambda t: t.evaluate(get("split-digits(setting='domain')")), "a stream of 10 outputs; found 2"),
        (lambda t: t.evaluate("split-digits"), "expected a Stream; found str"),
        (lambda t: t.evaluate(tiny_stream("class", (10,), 10)), "found [1, 5]"),
        (lambda t: t.evaluate(get("split-digits"), batch=1.5), "batch must be a whole number"),
        (lambda t: t.params(-1), "a replica in [0, 3); found -1"),
        (lambda t: t.params(1.0), "a replica in [0, 3); found 1.0"),
        (lambda t: t.net(True), "a replica in [0, 3); found True"),
        (lambda t: t.buffers("a"), "a replica in [0, 3); found 'a'"),
        (lambda t: t.state(["naive"]), "expected one of naive; found ['naive']"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(results, ask, line):
    with pytest.raises(PerdureError) as caught:
        ask(results.trained["naive"])
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_streams_that_were_not_learned():
    stream, more = tiny_stream("domain", (6, 6)), tiny_stream("domain", (6, 6, 6))
    kept = compare(stream, ["naive", "icarl(4)"], seeds=1, epochs=1, quiet=True, keep=True).trained
    assert kept["naive"].evaluate(more).shape == (1, 3)
    with pytest.raises(PerdureError, match="at most 2 tasks; found 3"):
        kept["icarl(4)"].evaluate(more)
    targets = more.with_tasks([dataclasses.replace(t, objective=Regression()) for t in more])
    with pytest.raises(PerdureError, match="objective Classification; found Regression"):
        kept["naive"].evaluate(targets)


def test_token_ids_stay_whole():
    stream = tiny_stream("class", 2, kind="tokens")
    kept = compare(stream, ["naive"], model=TinyTokens, seeds=2, epochs=1, quiet=True, keep=True).trained[
        "naive"
    ]
    assert kept.predict(np.array([[1, 2, 3]], dtype=np.int32)).shape == (2, 1, 4)
    for x, line in (
        (torch.zeros(2, 4), "token ids, whole numbers; found float32"),
        (torch.full((2, 4), 100), "the model does not take these inputs"),
        (torch.full((2, 4), -1), "the model does not take these inputs"),
    ):
        with pytest.raises(PerdureError, match=line):
            kept.predict(x)


def test_it_prints_in_five_lines(results):
    trained = results.trained["replay(50)"]
    assert str(trained).splitlines() == [
        "Trained replay(capacity=50)",
        "  replicas: 3",
        "  model: Sequential, 85,002 parameters",
        "  input shape: [1, 8, 8], outputs: 10",
        "  state: replay",
    ]
    assert trained._repr_html_().startswith("<p><b>Trained replay(capacity=50)</b><br>replicas: 3<br>")


def test_weights_are_saved_and_loaded(results, tmp_path):
    trained, x = results.trained["naive"], get("split-digits")[0].test.inputs()
    torch.save({**trained.params(0), **trained.buffers(0)}, tmp_path / "weights.pt")
    trained.module.load_state_dict(torch.load(tmp_path / "weights.pt"))
    torch.testing.assert_close(trained.module(x), trained.predict(x)[0])
    again = compare(
        "split-digits", "probe", model=trained.module, pretrained=True, seeds=1, epochs=1, quiet=True
    )
    np.testing.assert_allclose(again.untrained["probe"][0], results.scores["naive"][0, -1], atol=1e-6)
