"""Exact continuation: kill a run anywhere, start it again, get the same bytes, and lose nothing."""

import errno
import json
import os
import random
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from perdure import PerdureError, compare, experiment, load
from perdure.analysis.files import held
from perdure.engine.checkpoint import Checkpoint
from perdure.engine.engine import Engine
from perdure.strategies import EWC, Naive, Strategy

pytestmark = pytest.mark.usefixtures("without_report")

CALL = {
    "seeds": 2, "epochs": 1, "quiet": True, "optimizer": "adam", "lr": 0.01, "eval_every": 7,
    "model": "mlp(hidden=[8])",
}  # fmt: skip
NAMES = ["naive", "ewc"]
SMALL = {"seeds": 2, "epochs": 1, "quiet": True, "model": "mlp(hidden=[4])"}
STREAM, THREE = "split-digits | take(2)", "split-digits | take(3)"
FILES = ["run.json", "scores.csv", "scores.safetensors"]


class Killed(BaseException):
    """Stands for the end of the process."""


def stop_after(monkeypatch, saves):
    """End the process, so to speak, after so many checkpoints."""
    original, count = Checkpoint.save, [0]

    def save(self, *args):
        original(self, *args)
        count[0] += 1
        if count[0] == saves:
            raise Killed

    monkeypatch.setattr(Checkpoint, "save", save)


def stopped(folder, strategies, saves=1, **settings):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, saves)
        with pytest.raises(Killed):
            compare(STREAM, strategies, out=folder, **SMALL, **settings)


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


def no_training(*_, **__):
    raise AssertionError("nothing is to be trained")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    compare(THREE, NAMES, out=folder, **CALL)
    return folder


@pytest.mark.parametrize("after", [3, 15, 24, 38, 52])
def test_a_run_killed_anywhere_continues_to_the_same_bytes(after, whole_run, tmp_path, monkeypatch):
    original, count = Engine._step, [0]

    def deadly(self, *args):
        count[0] += 1
        if count[0] > after:
            raise Killed
        return original(self, *args)

    monkeypatch.setattr(Engine, "_step", deadly)
    with pytest.raises(Killed):
        compare(THREE, NAMES, out=tmp_path / "cut", **CALL)
    monkeypatch.setattr(Engine, "_step", original)
    with pytest.raises(PerdureError, match="is not: continue it first"):
        load(tmp_path / "cut")
    compare(THREE, NAMES, out=tmp_path / "cut", resume=True, **CALL)
    for file in ("scores.safetensors", "scores.csv"):
        assert (tmp_path / "cut" / file).read_bytes() == (whole_run / file).read_bytes()
    assert not (tmp_path / "cut" / "checkpoint").exists()
    whole, cut = load(whole_run), load(tmp_path / "cut")
    for name in NAMES:
        assert cut.costs[name]["steps"] == whole.costs[name]["steps"]


def test_a_run_with_other_settings_is_not_continued(tmp_path, monkeypatch):
    def stop(*_):
        raise Killed

    monkeypatch.setattr(Engine, "boundary", stop)
    with pytest.raises(Killed):
        compare("split-digits", NAMES, out=tmp_path / "run", **CALL)
    with pytest.raises(PerdureError, match="found another lr"):
        compare("split-digits", NAMES, out=tmp_path / "run", resume=True, **{**CALL, "lr": 0.02})


def test_a_run_that_went_on_with_other_threads_says_so_for_good(tmp_path):
    usual, names, lines = torch.get_num_threads(), ["naive", "lwf", "si"], []
    try:
        for count, threads in ((1, 1), (2, 2), (3, 1)):
            torch.set_num_threads(threads)
            results = compare(STREAM, names[:count], out=tmp_path / "run", resume=count > 1, **SMALL)
            assert results.config["threads"] == threads
            lines.append([line for line in load(tmp_path / "run").warnings if "went on" in line])
    finally:
        torch.set_num_threads(usual)
    opening = "The run went on with other threads or versions than it was begun with: threads"
    assert lines == [[], [f"{opening} (1, 2)."], [f"{opening} (2, 1)."]]


def test_a_run_that_was_stopped_says_with_what_versions_it_was_begun(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "1.0")
        stopped(tmp_path / "run", ["naive"])
    results = compare(STREAM, ["naive"], out=tmp_path / "run", resume=True, **SMALL)
    line = f"than it was begun with: torch (1.0, {torch.__version__})."
    assert next(text for text in results.warnings if "went on" in text).endswith(line)
    again = compare(STREAM, ["naive"], out=tmp_path / "again", **SMALL)
    assert not any("went on" in text for text in again.warnings)


# ---- what a checkpoint belongs to, and whether it is whole ----------------------------------------------


def test_strategies_go_on_with_their_own_checkpoints_in_any_order(tmp_path):
    pair = ["replay(20)", "replay(40)"]
    expected = compare(STREAM, pair, **SMALL)
    stopped(tmp_path, pair, saves=3)
    swapped = compare(STREAM, pair[::-1], out=tmp_path, resume=True, **SMALL)
    for name in expected.strategies:
        assert np.array_equal(swapped.scores[name], expected.scores[name])
        assert swapped.costs[name]["steps"] == expected.costs[name]["steps"]


def test_a_checkpoint_that_is_not_as_it_was_written_is_refused(tmp_path):
    stopped(tmp_path, ["ewc"])
    (file,) = (tmp_path / "checkpoint").glob("*.safetensors")
    content, draw = file.read_bytes(), random.Random(0)
    header = 8 + int.from_bytes(content[:8], "little")

    def refused(what):
        with pytest.raises(PerdureError) as caught:
            compare(STREAM, ["ewc"], out=tmp_path, resume=True, **SMALL)
        assert "expected a checkpoint" in str(caught.value), what
        assert "\n" not in str(caught.value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "run", no_training)
        for place in [draw.randrange(header, len(content)) for _ in range(8)]:
            bad = bytearray(content)
            bad[place] ^= 1 << draw.randrange(8)
            file.write_bytes(bad)
            refused(place)
        for size in (0, 4, header, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:size])
            refused(size)
        file.write_bytes(content)
        tensors = load_file(file)
        first = next(k for k, v in tensors.items() if v.is_floating_point())
        value = tensors[first]
        for changed in (torch.full_like(value, float("nan")), value[:1].clone(), value.half()):
            save_file({**tensors, first: changed}, file)
            refused(changed)
        save_file(dict(list(tensors.items())[1:]), file)
        refused("missing")


def test_no_flipped_bit_changes_what_is_read(tmp_path):
    stopped(tmp_path, ["naive"])
    (file,) = (tmp_path / "checkpoint").glob("*.safetensors")
    content, draw = file.read_bytes(), random.Random(1)
    owner = json.loads(_metadata(file)["notes"])["owner"]
    notes, tensors = Checkpoint(file, owner).read()
    for _ in range(300):
        bad = bytearray(content)
        bad[draw.choice([draw.randrange(200), draw.randrange(len(bad))])] ^= 1 << draw.randrange(8)
        file.write_bytes(bad)
        try:
            found, values = Checkpoint(file, owner).read()
        except PerdureError:
            continue
        assert found == notes
        assert all(torch.equal(values[k], v) for k, v in tensors.items())


def _metadata(file):
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return opened.metadata()


def test_checkpoints_that_were_exchanged_are_refused(tmp_path):
    stopped(tmp_path, ["replay(20)", "replay(40)"], saves=3)
    one, two = sorted((tmp_path / "checkpoint").glob("*.safetensors"))
    content = one.read_bytes(), two.read_bytes()
    one.write_bytes(content[1])
    two.write_bytes(content[0])
    with pytest.raises(PerdureError, match="holds another"):
        compare(STREAM, ["replay(20)", "replay(40)"], out=tmp_path, resume=True, **SMALL)


def test_a_checkpoint_that_is_gone_costs_time_only(tmp_path):
    stopped(tmp_path, ["naive"])
    (file,) = (tmp_path / "checkpoint").glob("*.safetensors")
    file.unlink()
    again = compare(STREAM, ["naive"], out=tmp_path, resume=True, **SMALL)
    assert np.array_equal(again.scores["naive"], compare(STREAM, ["naive"], **SMALL).scores["naive"])


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b"[" * 5000, b"{}", b"\xff", b'{"format": 3}'])
@pytest.mark.parametrize("file", ["run.json", "checkpoint/config.json"])
def test_a_broken_note_of_what_was_begun_is_one_line(file, text, broken_run):
    (broken_run / file).write_bytes(text)
    with pytest.raises(PerdureError) as caught:
        compare(STREAM, ["naive"], out=broken_run, resume=True, **SMALL)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def begun_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun")
    stopped(folder, ["naive"])
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def broken_run(begun_run):
    for file, content in begun_run.items():
        file.write_bytes(content)
    return min(begun_run, key=lambda p: len(p.parts)).parent


def test_one_setting_changed_in_what_was_begun_is_noticed(broken_run):
    for file in ("run.json", "checkpoint/config.json"):
        text = (broken_run / file).read_text()
        (broken_run / file).write_text(text.replace('"lr": 0.1', '"lr": 0.2'))
        with pytest.raises(PerdureError, match="changed or damaged"):
            compare(STREAM, ["naive"], out=broken_run, resume=True, **{**SMALL, "lr": 0.2})
        (broken_run / file).write_text(text)


@dataclass(frozen=True)
class Warns(Strategy):
    """Says something in the first task only, and branches there."""

    name = "warns"

    def begin_task(self, net, params, state, task):
        if task.index == 0:
            warnings.warn("heard in the first task", stacklevel=1)
            if next(iter(params.values())).sum() > 1e9:
                return params, state
        return params, state


def test_what_was_said_before_the_stop_is_said_and_what_ran_one_by_one_goes_on_so(tmp_path):
    whole = compare(STREAM, [Warns()], **SMALL)
    stopped(tmp_path, [Warns()])
    again = compare(STREAM, [Warns()], out=tmp_path, resume=True, **SMALL)
    assert any("heard in the first task" in w for w in whole.warnings)
    assert again.warnings == whole.warnings
    assert again.extras["warns"]["mapped"] is whole.extras["warns"]["mapped"] is False
    assert np.array_equal(again.scores["warns"], whole.scores["warns"])


# ---- finished runs ----------------------------------------------------------------------------------------


def test_a_folder_with_a_run_is_refused_without_a_word_on_what_to_do_with_it(tmp_path, monkeypatch):
    compare(STREAM, ["naive"], out=tmp_path / "done", **SMALL)
    stopped(tmp_path / "begun", ["naive"])
    for folder, what in (("done", "a finished run"), ("begun", "a run that was stopped")):
        before = {p: p.read_bytes() for p in (tmp_path / folder).rglob("*") if p.is_file()}
        monkeypatch.setattr(experiment, "run", no_training)
        with pytest.raises(PerdureError, match=f"found {what} in .*--resume.*--overwrite"):
            compare(STREAM, ["ewc"], out=tmp_path / folder, **SMALL)
        monkeypatch.undo()
        assert before == {p: p.read_bytes() for p in (tmp_path / folder).rglob("*") if p.is_file()}
        replaced = compare(STREAM, ["naive"], out=tmp_path / folder, overwrite=True, **{**SMALL, "seeds": 3})
        assert load(tmp_path / folder).seeds == replaced.seeds == [0, 1, 2]
        assert names_in(tmp_path / folder) == FILES


def test_a_finished_run_is_shown_as_it_is(tmp_path, monkeypatch):
    done = compare(STREAM, ["naive", "joint"], out=tmp_path, **SMALL)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(experiment, "run", no_training)
    for wanted in (["naive", "joint"], ["joint", "naive"], ["naive"]):
        shown = compare(STREAM, wanted, out=tmp_path, resume=True, **SMALL)
        assert shown.strategies == ["naive", "joint"]
        assert np.array_equal(shown.scores["naive"], done.scores["naive"])
        assert (shown.costs, shown.config, shown.warnings) == (done.costs, done.config, done.warnings)
    assert before == {p: p.read_bytes() for p in tmp_path.iterdir()}


@pytest.mark.parametrize("change", [{"lr": 0.02}, {"seeds": 3}, {"epochs": 2}, {"tune": {"lr": [0.02]}}])
def test_a_finished_run_is_not_shown_for_other_settings(change, tmp_path):
    compare(STREAM, ["naive"], out=tmp_path, **SMALL)
    with pytest.raises(
        PerdureError, match=f"found another {'lr' if 'tune' in change else next(iter(change))}"
    ):
        compare(STREAM, ["naive"], out=tmp_path, resume=True, **{**SMALL, **change})
    assert load(tmp_path).strategies == ["naive"]


def test_new_strategies_are_added_and_what_is_finished_stays_until_they_are_whole(tmp_path, monkeypatch):
    wanted = [EWC(1.0), Naive(), EWC(2.0)]
    whole = compare(STREAM, wanted, out=tmp_path / "whole", **SMALL)
    compare(STREAM, [EWC(1.0)], out=tmp_path / "parts", **SMALL)
    stopped(tmp_path / "parts", wanted, saves=3, resume=True)
    assert load(tmp_path / "parts").strategies == ["ewc(strength=1.0)"]
    trained = []

    def spy(stream, strategy, *args, original=experiment.run):
        trained.append(str(strategy))
        return original(stream, strategy, *args)

    monkeypatch.setattr(experiment, "run", spy)
    added = compare(STREAM, wanted, out=tmp_path / "parts", resume=True, **SMALL)
    assert trained == ["naive", "ewc(strength=2.0)"]
    assert added.strategies == whole.strategies == ["ewc(strength=1.0)", "naive", "ewc(strength=2.0)"]
    assert added.config == whole.config
    for file in FILES[1:]:
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert names_in(tmp_path / "parts") == FILES


def test_a_replaced_run_stays_until_the_new_one_is_whole(tmp_path):
    old = compare(STREAM, ["naive"], out=tmp_path, **SMALL)
    stopped(tmp_path, ["naive", "ewc"], saves=3, overwrite=True, lr=0.02)
    assert np.array_equal(load(tmp_path).scores["naive"], old.scores["naive"])
    again = compare(STREAM, ["naive", "ewc"], out=tmp_path, resume=True, lr=0.02, **SMALL)
    expected = compare(STREAM, ["naive", "ewc"], lr=0.02, **SMALL)
    for name in NAMES:
        assert np.array_equal(again.scores[name], expected.scores[name])
    assert load(tmp_path).config["lr"] == 0.02


def test_a_strategy_that_was_begun_and_is_not_asked_for_keeps_its_checkpoint(tmp_path):
    stopped(tmp_path, ["naive", "ewc"], saves=3)
    fewer = compare(STREAM, ["naive"], out=tmp_path, resume=True, **SMALL)
    assert any("1 strategy was begun" in w for w in fewer.warnings)
    assert names_in(tmp_path) == ["checkpoint", *FILES]
    both = compare(STREAM, ["naive", "ewc"], out=tmp_path, resume=True, **SMALL)
    assert both.strategies == NAMES
    assert not any("begun" in w for w in both.warnings)
    assert names_in(tmp_path) == FILES


def test_replicas_that_are_to_be_kept_are_trained_again(tmp_path):
    compare(STREAM, ["naive", "ewc"], out=tmp_path, **SMALL)
    again = compare(STREAM, ["naive"], out=tmp_path, resume=True, keep=True, **SMALL)
    assert again.strategies == ["ewc", "naive"]
    assert list(again.trained) == ["naive"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "resume needs the folder"),
        ({"overwrite": True}, "overwrite needs the folder"),
        ({"resume": True, "overwrite": True}, "found both"),
    ],
)
def test_what_needs_a_folder_says_so(options, message):
    with pytest.raises(PerdureError, match=message):
        compare(STREAM, ["naive"], **SMALL, **options)


# ---- folders and disks -------------------------------------------------------------------------------------


def test_what_others_put_into_the_folder_is_never_removed(tmp_path):
    stopped(tmp_path, ["naive"])
    own = ["checkpoint/model.pt", "checkpoint/naive.safetensors", ".hidden", ".perdure-notes", "notes.txt"]
    for name in own:
        (tmp_path / name).write_text(name)
    drafts = [tmp_path / ".perdure-0123456789abcdef", tmp_path / "checkpoint" / ".perdure-fedcba9876543210"]
    for draft in drafts:
        draft.write_bytes(b"")
    compare(STREAM, ["naive"], out=tmp_path, resume=True, **SMALL)
    assert not any(draft.exists() for draft in drafts)
    compare(STREAM, ["naive"], out=tmp_path, overwrite=True, **SMALL)
    assert [(tmp_path / name).read_text() for name in own] == own
    (tmp_path / "checkpoint" / "config.json").write_text('{"model_type": "mine"}')
    for how in ("resume", "overwrite"):
        with pytest.raises(PerdureError, match="of another program"):
            compare(STREAM, ["naive"], out=tmp_path, **SMALL, **{how: True})


def test_checkpoints_may_lie_elsewhere_behind_a_link(tmp_path):
    stopped(tmp_path / "run", ["naive"])
    (tmp_path / "run" / "checkpoint").rename(tmp_path / "scratch")
    (tmp_path / "run" / "checkpoint").symlink_to(tmp_path / "scratch")
    for how in ("resume", "overwrite"):
        results = compare(STREAM, ["naive"], out=tmp_path / "run", **SMALL, **{how: True})
        assert str(load(tmp_path / "run")) == str(results)
        assert (tmp_path / "run" / "checkpoint").is_symlink()
        assert names_in(tmp_path / "scratch") == []


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_what_is_no_checkpoint_in_its_place_is_one_line_and_nothing_changes(how, tmp_path):
    stopped(tmp_path / "run", ["naive", "ewc"], saves=3)
    whole = tmp_path / "run"
    file = next((whole / "checkpoint").glob("ewc-*"))
    kept = {p: p.read_bytes() for p in whole.rglob("*") if p.is_file() and p != file}
    file.unlink()
    file.mkdir()
    with pytest.raises(PerdureError) as caught:
        compare(STREAM, ["naive", "ewc"], out=whole, **SMALL, **{how: True})
    assert len(str(caught.value).splitlines()) == 1
    assert {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()} == kept
    (whole / "checkpoint").rename(tmp_path / "moved")
    (whole / "checkpoint").write_text("mine")
    with pytest.raises(PerdureError, match="expected a folder for checkpoints"):
        compare(STREAM, ["naive", "ewc"], out=whole, **SMALL, **{how: True})
    assert (whole / "checkpoint").read_text() == "mine"


def test_a_pipe_in_the_place_of_a_file_is_one_line(tmp_path):
    stopped(tmp_path, ["naive"])
    for file in (tmp_path / "run.json", *(tmp_path / "checkpoint").iterdir()):
        content = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(PerdureError):
            compare(STREAM, ["naive"], out=tmp_path, resume=True, **SMALL)
        file.unlink()
        file.write_bytes(content)


def test_nothing_is_written_beside_the_folder(tmp_path, monkeypatch):
    # So it may be a mount point, a link to another file system, or lie where nothing may be made.
    (tmp_path / "elsewhere" / "lost+found").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    moved, original = [], os.replace

    def replace(source, target):
        moved.append((os.path.dirname(source), os.path.dirname(target)))
        original(source, target)

    monkeypatch.setattr(os, "replace", replace)
    before = os.stat(tmp_path).st_mtime_ns
    compare(STREAM, ["naive"], out=tmp_path / "out", **SMALL)
    assert moved
    assert all(source == target for source, target in moved)
    assert os.stat(tmp_path).st_mtime_ns == before
    assert names_in(tmp_path / "elsewhere") == ["lost+found", *FILES]


def test_a_disk_that_is_full_is_one_line_and_the_run_goes_on_later(tmp_path, monkeypatch):
    compare(STREAM, ["naive"], out=tmp_path / "whole", **SMALL)
    original, count, room, said = os.fsync, [0], [0], []

    def full(file):
        count[0] += 1
        if count[0] > room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(file)

    monkeypatch.setattr(os, "fsync", full)
    for room[0] in range(0, 30, 3):
        count[0] = 0
        try:
            compare(STREAM, ["naive"], out=tmp_path / "cut", resume=True, **SMALL)
            break
        except PerdureError as error:
            said.append(str(error))
        if (tmp_path / "cut").exists():
            hidden = [p for p in (tmp_path / "cut").rglob(".*") if p.is_file()]
            assert not hidden
    assert len(said) > 3
    assert all(text.endswith(": No space left on device") for text in said)
    assert (tmp_path / "cut" / FILES[2]).read_bytes() == (tmp_path / "whole" / FILES[2]).read_bytes()
    assert names_in(tmp_path / "cut") == FILES


def test_two_runs_in_one_folder_are_one_too_many(tmp_path):
    with held(tmp_path / "new"), pytest.raises(PerdureError, match="another is at work in"):
        compare(STREAM, ["naive"], out=tmp_path / "new", **SMALL)
    assert not (tmp_path / "new").exists()
    results = compare(STREAM, ["naive"], out=tmp_path / "new", **SMALL)
    with held(tmp_path / "new"), pytest.raises(PerdureError, match="another is at work in"):
        results.save(tmp_path / "new")


@pytest.mark.slow
def test_a_few_kills():
    # `python tests/kills.py` makes all of them.
    command = [sys.executable, str(Path(__file__).with_name("kills.py")), "--kills", "2", "--few"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
