"""Two runs on one stream put together, and parts of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perdure.analysis import Results, load
from perdure.core.errors import PerdureError

Build = Callable[..., Results]


def run(build: Build, specs: dict[str, str], **config: Any) -> Results:
    return build(tuple(specs), strategies=specs, **config)


def test_strategies_stand_side_by_side(build: Build) -> None:
    one = run(build, {"naive": "naive"}, together=["naive"])
    two = run(build, {"joint": "joint"}, bounds=["joint"])
    both = one + two
    assert both.strategies == ["naive", "joint"]
    assert np.array_equal(both.scores["joint"], two.scores["joint"])
    assert set(both.curves) == set(both.costs) == {"naive", "joint"}
    assert both.config["strategies"] == {"naive": "naive", "joint": "joint"}
    assert (both.config["bounds"], both.config["together"]) == (["joint"], ["naive"])
    assert "by_strategy" not in both.config
    assert both.metric("gap_closed", "joint") == pytest.approx(np.ones(6))
    assert repr(one.join(two)) == repr(both)


def test_the_order_of_joining_does_not_matter(build: Build) -> None:
    a, b, c = (
        run(build, {name: name}, epochs=epochs, model=model)
        for name, epochs, model in (("naive", 1, "mlp"), ("si", 5, "mlp"), ("mas", 5, "cnn"))
    )
    left, right = (a + b) + c, a + (b + c)
    assert left.config == right.config
    assert left.warnings == right.warnings
    assert left.config["by_strategy"]["si"] == {"epochs": 5, "model": "mlp"}
    assert sum(line.startswith("Strategies come from runs that differ") for line in left.warnings) == 1
    assert any("epochs (1, 5)" in line and "model ('mlp', 'cnn')" in line for line in left.warnings)


def test_same_names_with_other_parameters_get_them(build: Build) -> None:
    one = run(build, {"naive": "naive", "ewc": "ewc(strength=1)"})
    one.warnings.append("ewc: odd")
    two = run(build, {"ewc": "ewc(strength=20)"})
    both = one + two
    assert both.strategies == ["naive", "ewc(strength=1)", "ewc(strength=20)"]
    assert both.config["kinds"]["ewc(strength=20)"] == "ewc"
    assert "ewc(strength=1): odd" in both.warnings
    assert set(both.untrained) == set(both.scores)


def test_what_does_not_fit_is_refused(build: Build) -> None:
    one = run(build, {"naive": "naive", "ewc": "ewc(strength=1)"})
    for other, message in (
        (one, "found 'naive' in both: leave it out"),
        (one.select("ewc"), r"found 'ewc' in both with the parameters ewc\(strength=1\)"),
        (run(build, {"si": "si"}, fingerprint="x"), "differ in fingerprint: '0123456789abcdef' and 'x'"),
        (run(build, {"si": "si"}, setting="task"), "differ in setting: 'class' and 'task'"),
        (run(build, {"si": "si"}, metric="r2"), "differ in metric"),
    ):
        with pytest.raises(PerdureError, match=message):
            one + other
    for key, value in (("seeds", [5, 6, 7, 8, 9, 10]), ("tasks", ["a", "b", "c", "d"])):
        other = run(build, {"si": "si"})
        other.config[key] = value
        with pytest.raises(PerdureError, match=f"differ in {key}"):
            one + other
    bare = [Results({name: np.zeros((2, 2, 2))}, config={"stream": name}) for name in "ab"]
    with pytest.raises(PerdureError, match="differ in stream: 'a' and 'b'"):
        bare[0] + bare[1]
    with pytest.raises(TypeError):
        one + 1


def test_a_joined_run_is_saved_and_loaded(build: Build, tmp_path: Path) -> None:
    both = run(build, {"naive": "naive"}, epochs=1) + run(build, {"si": "si"}, epochs=2)
    both.save(tmp_path / "both")
    again = load(tmp_path / "both")
    assert again.config == both.config
    assert again.warnings == both.warnings


def test_select(build: Build) -> None:
    results = build(failed={"der": "too large"}, strategies={"naive": "naive", "ewc": "ewc", "der": "der"})
    results.warnings += ["naive: odd", "der: no results"]
    part = results.select("joint", "ewc")
    assert part.strategies == ["joint", "ewc"]
    assert part.config["failed"] == {"der": "too large"}
    assert part.config["strategies"] == {"ewc": "ewc", "der": "der"}
    assert "naive: odd" not in part.warnings
    assert "der: no results" in part.warnings
    assert results.strategies == ["naive", "ewc", "joint", "single"]
    with pytest.raises(PerdureError, match="unknown strategy 'ewcc'"):
        results.select("ewcc")
    with pytest.raises(PerdureError, match="at least one strategy"):
        results.select()
