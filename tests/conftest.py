"""Fixtures and skips for all tests."""

import fcntl
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def pytest_configure():
    # The tests' models are so small that a second thread costs more than it brings.
    torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    # What is loaded by now stays to the end: to look through it again and again for garbage takes long.
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure():
    gc.unfreeze()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        if item.get_closest_marker("shared_data") and not os.environ.get("PERDURE_DATA"):
            item.add_marker(pytest.mark.skip(reason="PERDURE_DATA is not set"))


def pytest_collection_finish():
    # Modules and collected tests stay to the end: what looks for cycles need not walk them each time.
    gc.collect()
    gc.freeze()


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


@pytest.fixture
def lived():
    """Gives the replicas of an engine after all phases of a run."""

    def live(engine):
        replica = engine.start()
        for phase in engine.composition.phases(engine.stream):
            data = engine.load(phase)
            replica = engine.boundary(replica, phase, data, "begin_task")
            for replica in engine.train(replica, phase, data):  # noqa: B007, B020 (each is the next)
                pass
            replica = engine.boundary(replica, phase, data, "end_task")
        return replica

    return live


@pytest.fixture
def lives_the_same(lived):
    """Checks that the second of two replicas ends the same alone, and both unrecorded; gives their weights.

    What is given builds an engine in float64, of two replicas or of the seeds that it is told.
    """

    def check(build):
        def live(recorded=True, **changes):
            engine = build(**changes)
            engine.mapper.mapped = recorded
            replica = lived(engine)
            return replica.params, engine.evaluate(replica)

        whole, scores = live()
        plain, same = live(recorded=False)
        alone, own = live(seeds=[1])
        for k, v in whole.items():
            assert float((v - plain[k]).abs().max()) < 1e-9
            assert float((v[1:] - alone[k]).abs().max()) < 1e-9
        assert torch.equal(scores, same)
        assert torch.equal(scores[1:], own)
        return whole

    return check


# What a new interpreter does one after the other: what one step leaves out, those before it do as well.
STEPS = {
    "package": "import perdure",
    "analysis": "import perdure.analysis",
    "scenarios": "import perdure.scenarios",
    "strategies": "import perdure.strategies; perdure.strategies.get('avalanche')",
    "rooms": (
        "import perdure.models, perdure.envs; from perdure import compare, load\n"
        "from perdure import check_env, check_strategy, check_stream"
    ),
    "run": "perdure.compare('split-digits', ['naive'], seeds=1, epochs=1, quiet=True)",
}


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """CPU seconds that a new interpreter has used, and what it has loaded, after each of `STEPS`."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return tell_steps()
    # The workers of a session have one folder in common: the first that asks leaves the answer there.
    place = tmp_path_factory.getbasetemp().parent / "fresh.json"
    with place.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (text := file.read()):
            text = json.dumps({step: (seconds, [*names]) for step, (seconds, names) in tell_steps().items()})
            file.write(text)
    return {step: (seconds, {*names}) for step, (seconds, names) in json.loads(text).items()}


def tell_steps():
    tell = "print(json.dumps([time.process_time(), [*sys.modules]]))"
    code = "\n".join(["import json, sys, time", *(f"{step}\n{tell}" for step in STEPS.values())])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {step: (seconds, {*names}) for step, (seconds, names) in zip(STEPS, lines, strict=True)}
