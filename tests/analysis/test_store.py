"""Runs on disk: exact round trip, equal bytes for equal scores, nothing else overwritten or believed."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perdure.analysis import Results, check_out, load, store
from perdure.core.errors import PerdureError

Build = Callable[..., Results]


def test_round_trip_is_exact(results: Results, tmp_path: Path) -> None:
    results.scores["ewc"][0, 0, 0] = np.nan
    results.costs["ewc"]["flops"] = float("nan")
    results.save(tmp_path / "runs" / "first")
    back = load(tmp_path / "runs" / "first")
    assert back.strategies == results.strategies
    for kind in ("scores", "untrained"):
        for name, values in getattr(results, kind).items():
            assert getattr(back, kind)[name].dtype == np.float64
            assert np.array_equal(getattr(back, kind)[name], values, equal_nan=True)
    for name, curve in results.curves.items():
        for part in ("steps", "stage", "scores"):
            assert np.array_equal(getattr(back.curves[name], part), getattr(curve, part))
    assert (back.config, back.extras, back.warnings) == (results.config, results.extras, results.warnings)
    assert str(back.costs) == str(results.costs)
    assert back.table().equals(results.table())


def test_run_json_is_valid_json(results: Results, tmp_path: Path) -> None:
    odd = [float("nan"), float("inf"), -float("inf"), "NaN", None, {"number": "seven"}]
    results.costs["ewc"]["flops"] = float("nan")
    results.extras["ewc"] = {"noted": {"lr": odd}}
    results.config["limits"] = odd
    results.warnings.append("NaN")
    store.begin(tmp_path / "begun", {"limits": odd})
    results.save(tmp_path / "run")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    for folder in ("begun", "run"):
        text = (tmp_path / folder / "run.json").read_text(encoding="utf-8")
        json.loads(text, parse_constant=refuse)
    back = load(tmp_path / "run")
    assert str((back.costs, back.config, back.extras)) == str((results.costs, results.config, results.extras))


def test_a_run_with_bare_nan_is_still_read(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    head = json.loads((tmp_path / "run.json").read_text())
    head["costs"]["ewc"]["flops"] = float("nan")  # as runs were saved before, without a seal
    del head["seal"]
    (tmp_path / "run.json").write_text(json.dumps(head))
    assert np.isnan(load(tmp_path).costs["ewc"]["flops"])


def test_half_a_character_in_a_name_of_a_task_loses_no_run(build: Build, tmp_path: Path) -> None:
    results = build(("naive",), tasks=2, curves=False, stream="\udc80")
    results.config["tasks"] = ["caf\udce9", "類"]
    results.save(tmp_path / "run")
    back = load(tmp_path / "run")
    assert (back.tasks, back.config) == (results.tasks, results.config)
    back.report(tmp_path / "report.html")


def test_arrays_of_any_layout_are_stored(tmp_path: Path) -> None:
    scores = np.asfortranarray(np.random.default_rng(0).uniform(size=(3, 4, 4)))
    Results({"naive": scores}).save(tmp_path)
    assert np.array_equal(load(tmp_path).scores["naive"], scores)


def test_loading_repeats_no_warning(build: Build, tmp_path: Path) -> None:
    few = build(seeds=3)
    few.save(tmp_path)
    assert load(tmp_path).warnings == few.warnings


def test_csv_holds_the_frame_exactly(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "run")
    with (tmp_path / "run" / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(results.frame().columns)
    assert [float(row["score"]) for row in rows] == results.frame()["score"].tolist()


def test_equal_scores_give_equal_bytes(build: Build, tmp_path: Path) -> None:
    one, two = build(), build()
    two.costs["naive"]["seconds_train"] = 99.0
    two.scores = dict(reversed(two.scores.items()))
    one.save(tmp_path / "one")
    two.save(tmp_path / "two")
    first, second = ((tmp_path / name / "scores.safetensors").read_bytes() for name in ("one", "two"))
    assert first == second
    two.scores["naive"][0, 0, 0] += 1e-15
    two.save(tmp_path / "two")
    assert (tmp_path / "two" / "scores.safetensors").read_bytes() != first


def test_saving_again_replaces_the_run_and_keeps_other_files(build: Build, tmp_path: Path) -> None:
    build(("naive",)).save(tmp_path)
    (tmp_path / "report.html").write_text("kept")
    build(("naive", "ewc"), curves=False).save(tmp_path)
    assert load(tmp_path).strategies == ["naive", "ewc"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*store.FILES, "report.html"])


def test_a_folder_with_other_files_is_refused(results: Results, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for refuse in (check_out, results.save):
        with pytest.raises(PerdureError, match="expected a new or empty folder, or one with a run"):
            refuse(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "run.json").write_text('{"name": "another program"}')
    with pytest.raises(PerdureError, match="expected a new or empty folder"):
        check_out(tmp_path)
    with pytest.raises(PerdureError, match="found the file"):
        check_out(tmp_path / "thesis.tex")


def test_new_and_empty_folders_are_accepted(tmp_path: Path) -> None:
    check_out(tmp_path)
    check_out(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_run_that_has_begun_can_be_saved_and_not_loaded(results: Results, tmp_path: Path) -> None:
    store.begin(tmp_path / "run", {"stream": "split-digits"})
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(PerdureError, match="expected a finished run"):
        load(tmp_path / "run")
    results.save(tmp_path / "run")
    assert load(tmp_path / "run").strategies == results.strategies


def test_a_failure_leaves_the_old_run(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(("naive",)).save(tmp_path / "run")
    synced: list[int] = []

    def full(file: int) -> None:
        synced.append(file)
        if len(synced) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PerdureError, match=r"found .*: No space left on device"):
        build(("ewc",)).save(tmp_path / "run")
    assert load(tmp_path / "run").strategies == ["naive"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted(store.FILES)


def _edit(folder: Path, **changes: object) -> None:
    head = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**head, **changes}))


def test_what_is_no_run_is_refused(results: Results, tmp_path: Path) -> None:
    with pytest.raises(PerdureError, match=r"found no run\.json"):
        load(tmp_path / "nowhere")
    folder = tmp_path / "run"
    results.save(folder)
    _edit(folder, version=2)
    with pytest.raises(PerdureError, match="expected a run of format 1; found 2"):
        load(folder)
    _edit(folder, format="other")
    with pytest.raises(PerdureError, match="another program"):
        load(folder)
    for text in ("{", "[]", "\xff"):
        (folder / "run.json").write_text(text, encoding="latin-1")
        with pytest.raises(PerdureError, match=r"expected a run; found"):
            load(folder)


def test_corrupted_runs_are_refused(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    arrays = tmp_path / "scores.safetensors"
    content = bytearray(arrays.read_bytes())
    content[-3] ^= 1
    arrays.write_bytes(content)
    with pytest.raises(
        PerdureError, match=r"expected the scores\.safetensors that run\.json was written with"
    ):
        load(tmp_path)
    arrays.unlink()
    with pytest.raises(PerdureError, match="expected a complete run"):
        load(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"strategies": ["ghost"]}, {"curves": 3}, {"config": None}, {"sha256": 1}]
)
def test_inconsistent_heads_are_refused(results: Results, tmp_path: Path, changes: dict[str, object]) -> None:
    results.save(tmp_path)
    _edit(tmp_path, **changes)
    with pytest.raises(PerdureError) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_damage_to_a_run_is_believed_or_a_traceback(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    whole = {name: (tmp_path / name).read_bytes() for name in ("run.json", "scores.safetensors")}
    draw, kept = random.Random(0), load(tmp_path)
    for trial in range(400):
        name = draw.choice(list(whole))
        content = bytearray(whole[name])
        if trial % 4:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        else:
            content = content[: draw.randrange(len(content))]
        (tmp_path / name).write_bytes(content)
        try:
            found = load(tmp_path)
        except PerdureError as error:
            assert "\n" not in str(error)  # noqa: PT017 (what is read may be right all the same)
        else:
            assert str(found) == str(kept)
        (tmp_path / name).write_bytes(whole[name])


WRONG: list[Any] = [None, 3, -1.5, True, "x", [], [3], {}, {"naive": 3}, 10**400, [[[[]]]]]


@pytest.mark.parametrize(
    "key", ["finished", "sha256", "strategies", "untrained", "curves", "config", "costs"]
)
def test_wrong_kinds_in_a_run_without_a_seal_are_one_line(results: Results, tmp_path: Path, key: str) -> None:
    results.save(tmp_path)
    head = json.loads((tmp_path / "run.json").read_text())
    del head["seal"]
    for value in WRONG:
        (tmp_path / "run.json").write_text(json.dumps({**head, key: value}))
        try:
            load(tmp_path)
        except PerdureError as error:
            assert "\n" not in str(error)  # noqa: PT017 (some are right, such as no costs)
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(PerdureError, match="unreadable"):
        load(tmp_path)


def test_a_run_takes_the_place_of_another_in_one_move(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    old, new = build(("naive",)), build(("naive", "ewc"))
    seen, original = set(), os.replace
    for last in range(1, 12):
        folder, moves = tmp_path / str(last), [0]
        old.save(folder)

        def replace(*places: Path, moves: list[int] = moves, last: int = last) -> None:
            if moves[0] == last:
                raise Killed
            moves[0] += 1
            original(*places)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            patch.setattr(Path, "unlink", lambda *_, **__: None)  # a process that is killed removes nothing
            try:
                new.save(folder)
            except Killed:
                pass
            else:
                break
        found = load(folder).strategies
        assert found in (["naive"], ["naive", "ewc"])
        seen.add(tuple(found))
        (folder / ".perdure-lock").unlink(missing_ok=True)
        new.save(folder)
        assert sorted(p.name for p in folder.iterdir()) == sorted(store.FILES)
        assert load(folder).strategies == ["naive", "ewc"]
    assert len(seen) == 2


def test_a_fresh_volume_is_an_empty_folder(results: Results, tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    results.save(tmp_path)
    assert load(tmp_path).strategies == results.strategies


@pytest.mark.parametrize("name", ["scores.safetensors", "scores.csv"])
def test_a_folder_where_a_file_goes_is_found_before_any_work(
    results: Results, tmp_path: Path, name: str
) -> None:
    results.save(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    head = (tmp_path / "run.json").read_bytes()
    for act in (lambda: store.check_out(tmp_path), lambda: results.save(tmp_path)):
        with pytest.raises(PerdureError, match="found a folder where a file goes"):
            act()
    assert (tmp_path / "run.json").read_bytes() == head


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"kinds": 3}}, {"config": {"bounds": [[]]}}, {"config": {"higher_is_better": "no"}},
        {"config": {"test_sizes": "many"}}, {"config": {"failed": {"a": 1}}}, {"config": {"strategies": []}},
        {"extras": {"ewc": {"diverged": 3}}}, {"extras": {"ewc": {"chosen": {"lr": "x"}}}}, {"warnings": [3]},
        {"extras": {"ewc": {"chosen": {"lr": 0.1}, "tried": [{"weight_decay": 0.1}]}}},
        {"extras": {"ewc": {"training_flops": ["x"]}}}, {"config": {"threads": "two"}},
        {"config": {"versions": ["2.0"]}}, {"config": {"earlier": 1}}, {"config": {"earlier": [1]}},
        {"config": {"earlier": [{"threads": []}]}}, {"config": {"earlier": [{"versions": {"torch": 2}}]}},
    ],
)  # fmt: skip
def test_settings_of_a_wrong_kind_are_one_line(
    results: Results, tmp_path: Path, change: dict[str, Any]
) -> None:
    results.save(tmp_path)
    head = json.loads((tmp_path / "run.json").read_text())
    for key, value in change.items():
        head[key] = {**head[key], **value} if isinstance(value, dict) else value
    del head["seal"]
    (tmp_path / "run.json").write_text(json.dumps(head))
    with pytest.raises(PerdureError) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
