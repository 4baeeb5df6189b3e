"""Runs on disk that were damaged, tampered with or begun wrongly: the same results as before, or one line.

``PERDURE_EXAMPLES`` says how many examples each test tries; with it, ``--hypothesis-seed`` says which.
"""

import io
import json
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perdure import PerdureError, compare, experiment, load
from perdure.analysis.files import DRAFT, LOCK
from perdure.analysis.report import page as report
from perdure.analysis.store import WAITING
from perdure.cli import app as cli
from perdure.engine.checkpoint import Checkpoint
from perdure.models import MODELS
from perdure.scenarios import from_arrays
from perdure.strategies import STRATEGIES

pytestmark = pytest.mark.usefixtures("without_report")

EXAMPLES = int(os.environ.get("PERDURE_EXAMPLES", "30"))
DRAWS = np.random.default_rng(0)
STREAM = from_arrays([(DRAWS.normal(size=(20, 3)), np.arange(20) % 2) for _ in range(2)], "domain")
CALL = {"seeds": 2, "epochs": 1, "batch_size": 8, "model": "mlp(hidden=[4])", "eval_every": 2, "quiet": True}
PAIR = ["naive", "replay(capacity=6)"]
HEAD, ARRAYS, TABLE = "run.json", "scores.safetensors", "scores.csv"


def generated(share=1):
    """Settings of a test; ``share`` of the usual number where an example trains or draws."""
    return settings(
        max_examples=max(1, int(EXAMPLES * share)), deadline=None, database=None,
        derandomize="PERDURE_EXAMPLES" not in os.environ, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # making a failure smaller would train hundreds of times
    )  # fmt: skip


class Stop(BaseException):
    """Stands for the end of the process."""


# ---- folders, as they are while runs begin, stop, are added to, replaced and finished -------------------


@contextmanager
def stopped(saves):
    """End the process, so to speak, after so many checkpoints."""
    original, count = Checkpoint.save, [0]

    def save(self, *args):
        original(self, *args)
        count[0] += 1
        if count[0] == saves:
            raise Stop

    with pytest.MonkeyPatch.context() as patch, suppress(Stop):
        patch.setattr(Checkpoint, "save", save)
        yield
    assert count[0] == saves


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders by what became of the run in them."""
    place = tmp_path_factory.mktemp("runs")
    compare(STREAM, PAIR, out=place / "finished", **CALL)
    compare(STREAM, PAIR[:1], out=place / "added", **CALL)
    shutil.copytree(place / "finished", place / "replaced")
    with stopped(3):
        compare(STREAM, PAIR, out=place / "stopped", **CALL)
    with stopped(1):
        compare(STREAM, PAIR, out=place / "added", resume=True, **CALL)
    with stopped(3):
        compare(STREAM, PAIR, out=place / "replaced", overwrite=True, **CALL)
    return place


def numbers(results):
    """Return all that a run measured, without times."""
    times = ("seconds_train", "seconds_eval", "seconds_warmup")
    costs = {n: {k: v for k, v in cost.items() if k not in times} for n, cost in results.costs.items()}
    curves = {n: [c.steps.tolist(), c.stage.tolist(), c.scores.tolist()] for n, c in results.curves.items()}
    arrays = [{n: a.tolist() for n, a in kind.items()} for kind in (results.scores, results.untrained)]
    return repr([arrays, curves, costs, results.seeds, results.tasks, results.config["strategies"]])


def contents(folder):
    """Return every file, folder and link below ``folder``, with what is in it or where it leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        what = path.is_symlink() and os.readlink(path)
        found[str(path.relative_to(folder))] = what or (
            path.read_bytes() if path.is_file() else path.is_dir()
        )
    return found


def leftover(name):
    """Tell whether a file is one that a killed process leaves, so that the next one may remove it."""
    own = Path(name).name
    return bool(DRAFT.fullmatch(own)) or own == LOCK or own in WAITING.values()


def line(error):
    """Return what an error says; it must be one line."""
    assert str(error).strip()
    assert len(str(error).splitlines()) == 1, str(error)
    assert len(str(error)) < 2500
    return str(error)


# ---- damage --------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(
        [10**400, -1, 1e308, "nan", "naive", "\0", "x\ny", "<b>$", {"number": "nan"}, "\ud800"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
texts = st.sampled_from([
    b"", b"\0" * 100, b"{}", b"[]", b"null", b"3", b'"x"', b"{", b"[" * 100_000, b"\xff\xfe", b"9" * 5000,
    b'{"format": "perdure-run"}', b'{"format": "perdure-run", "version": 1}', b'{"a": 1, "a": 2}', b"NaN",
    b'{"format": "perdure-checkpoint", "version": 1}', b"\xef\xbb\xbf{}", (2**62).to_bytes(8, "little"),
    b'{"format": "perdure-run", "version": 1, "finished": false, "config": {}}', (9).to_bytes(8, "little"),
    b'{"format": "perdure-run", "version": 1, "finished": true, "config": {"seeds": 1}}',
])  # fmt: skip


def flip(draw, file):
    content = bytearray(file.read_bytes())
    for _ in range(draw(st.integers(1, 3)) if content else 0):
        content[draw(st.integers(0, len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    file.write_bytes(content)


def cut(draw, file):
    content = file.read_bytes()
    file.write_bytes(content[: draw(st.integers(0, len(content)))])


def extend(draw, file):
    file.write_bytes(file.read_bytes() + draw(st.binary(max_size=9) | texts))


def put(draw, file):
    file.write_bytes(draw(texts | st.binary(max_size=40)))


def swap(draw, file):
    other = draw(st.sampled_from(sorted(p for p in file.parent.rglob("*") if p.is_file())))
    ours, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    if draw(st.booleans()):
        other.write_bytes(ours)


def tamper(draw, file):
    """Change a value in JSON, wherever it is; other files are left alone."""
    try:
        head = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return
    file.write_text(json.dumps(changed(draw, head)))


def changed(draw, value):
    """Return JSON with one value replaced, left out or put in."""
    keys = list(value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ())
    if not keys or draw(st.integers(0, 4)) == 0:
        return draw(values)
    key = draw(st.sampled_from(keys))
    how = draw(st.sampled_from(["inside", "inside", "inside", "gone", "more"]))
    copy = value.copy()
    if how == "gone":
        del copy[key]
    elif how == "more" and isinstance(value, dict):
        copy[draw(st.text(max_size=4))] = draw(values)
    elif how == "more":
        copy.insert(key, draw(values))
    else:
        copy[key] = changed(draw, value[key])
    return copy


def remove(draw, file):
    file.unlink()


def make_folder(draw, file):
    file.unlink()
    file.mkdir()
    if draw(st.booleans()):
        (file / "notes.txt").write_text("mine")


def link(draw, file):
    """Put a link in the place of a file: to a copy, to nowhere, to itself, to a folder or a device."""
    elsewhere = file.with_name(f"{file.name}.elsewhere")
    shutil.copy(file, elsewhere)
    file.unlink()
    file.symlink_to(draw(st.sampled_from([elsewhere, elsewhere, "nowhere", file.name, ".", "/dev/zero"])))


def pipe(draw, file):
    file.unlink()
    os.mkfifo(file)


def displace(draw, file):
    """Put a file, or a link to nowhere or to a copy, in the place of the folder of checkpoints."""
    folder = next(p for p in (file.parent, file.parent / "checkpoint") if p.name == "checkpoint")
    if folder.is_dir() and not folder.is_symlink():
        elsewhere = folder.with_name("moved")
        folder.rename(elsewhere)
        kind = draw(st.sampled_from(["file", "nowhere", "moved"]))
        folder.write_bytes(draw(texts)) if kind == "file" else folder.symlink_to(kind)


EXTRA = [
    ".perdure-0123456789abcdef", ".perdure-lock", ".scores.safetensors.next", ".scores.csv.next", "notes.txt",
    "checkpoint", "checkpoint/notes.txt", "checkpoint/.perdure-0123456789abcdef", "report.html",
    "checkpoint/naive-0123456789abcdef.safetensors", "checkpoint/config.json", "lost+found",
]  # fmt: skip


def add(draw, file):
    """Put something more into the folder: a file, a folder, a link, a copy of another file."""
    extra = file.parent / draw(st.sampled_from(EXTRA))
    kind = draw(st.sampled_from(["copy", "text", "folder", "link", "loop"]))
    if extra.exists() or extra.is_symlink() or not extra.parent.is_dir():
        return
    if kind == "folder":
        extra.mkdir()
    elif kind in ("link", "loop"):
        extra.symlink_to(file.name if kind == "link" else extra.name)
    else:
        extra.write_bytes(file.read_bytes() if kind == "copy" else draw(texts))


DAMAGE = [flip, cut, extend, put, swap, tamper, tamper, remove, make_folder, link, pipe, displace, add, add]


def damage(draw, folder):
    """Do one to three things to a run's files."""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        files = sorted(
            p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.stat().st_size < 10**6
        )
        if files:
            draw(st.sampled_from(DAMAGE))(draw, draw(st.sampled_from(files)))


@contextmanager
def copy_of(run):
    with tempfile.TemporaryDirectory() as place:
        yield Path(shutil.copytree(run, Path(place) / "run"))


# ---- what is done with them -----------------------------------------------------------------------------


@generated()
@given(st.data())
def test_loading_a_damaged_run(runs, data):
    kind = data.draw(st.sampled_from(["finished", "finished", "replaced", "added", "stopped"]))
    with copy_of(runs / kind) as folder:
        damage(data.draw, folder)
        before = contents(folder)
        try:
            found = load(folder)
        except PerdureError as error:
            line(error)
        else:
            whole = load(runs / kind)
            assert str(found) == str(whole)
            assert numbers(found) == numbers(whole)
        assert contents(folder) == before


def command(*arguments):
    """Run the command in this process; returns its status and what it says on standard error."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["perdure", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
    return status, err.getvalue()


@generated(1 / 3)
@given(st.data())
def test_reporting_a_damaged_run(runs, data):
    with copy_of(runs / "finished") as folder, pytest.MonkeyPatch.context() as patch:
        # What is drawn is what was loaded: the figures of these results take seconds and are always the same.
        patch.setattr(report, "pictures", lambda results: [])
        damage(data.draw, folder)
        before = contents(folder)
        status, said = command("report", folder)
        after = contents(folder)
        if status:
            assert status == 2
            line(said)
            assert after == before
        else:
            page = after.pop("report.html")
            assert page.rstrip().endswith(b"</html>")
            assert after == {k: v for k, v in before.items() if k != "report.html"}


@generated(1 / 3)
@given(st.data())
def test_a_run_of_before_there_were_checksums_with_other_values(runs, data):
    with copy_of(runs / "finished") as folder, pytest.MonkeyPatch.context() as patch:
        if data.draw(st.integers(0, 9)):
            patch.setattr(report, "pictures", lambda results: [])
        head = json.loads((folder / HEAD).read_text())
        del head["seal"]
        for _ in range(data.draw(st.integers(1, 2))):
            head = changed(data.draw, head) if isinstance(head, dict) else head
        (folder / HEAD).write_text(json.dumps(head))
        before = contents(folder)
        status, said = command("report", folder)
        if status:
            assert status == 2
            line(said)
            assert contents(folder) == before


@generated(1 / 3)
@given(st.data())
def test_going_on_with_a_damaged_run(runs, data):
    kind = data.draw(st.sampled_from(["stopped", "added", "replaced", "finished"]))
    how = data.draw(st.sampled_from(["resume", "resume", "resume", "overwrite"]))
    with copy_of(runs / kind) as folder:
        damage(data.draw, folder)
        before = contents(folder)
        try:
            results = compare(STREAM, PAIR, out=folder, **CALL, **{how: True})
        except PerdureError as error:
            line(error)
            kept = {name: content for name, content in before.items() if not leftover(name)}
            after = contents(folder)
            assert {name: content for name, content in after.items() if not leftover(name)} == kept
            assert {name for name in after if leftover(name)} <= set(before)
        else:
            assert "failed" not in results.config
            assert numbers(results) == numbers(load(runs / "finished"))
            assert numbers(load(folder)) == numbers(results)
            assert not contents(folder).keys() & set(WAITING.values())


# ---- runs that do not begin -----------------------------------------------------------------------------

STREAMS = {
    "vectors": STREAM,
    "images": from_arrays([(DRAWS.random((16, 1, 8, 8)), np.arange(16) % 2) for _ in range(2)], "task"),
    "tokens": from_arrays([(DRAWS.integers(0, 9, (16, 5)), np.arange(16) % 2) for _ in range(2)], "class"),
    "numbers": from_arrays([(DRAWS.normal(size=(16, 3)), DRAWS.normal(size=16)) for _ in range(2)], "domain"),
}
WRONG = st.sampled_from([
    {}, {}, {}, {"lr": -1.0}, {"seeds": 0}, {"epochs": 0}, {"optimizer": "sgd(momentum=-1)"}, {"model": "no"},
    {"device": "cpu:5"}, {"tune": {}}, {"strategies": []}, {"strategies": [3]}, {"stream": 5}, {"resume": 3},
    {"keep": "no"}, {"pretrained": True}, {"precision": "x"}, {"schedule": 2}, {"resume": True},
    {"batch_size": 10**12}, {"tune": {"lr": [0.1, float("nan")]}}, {"dtype": "int8"}, {"eval_every": 0},
    {"model": len}, {"model": STREAM}, {"model": "mlp(hidden=[0])"}, {"overwrite": True, "resume": True},
])  # fmt: skip
OUT = st.sampled_from(["a", "a/b/c", "file", "file/b", "loop", "nowhere", "full", "x" * 300, "a\0", "é\n"])


@generated()
@given(st.data())
def test_a_run_that_is_refused_leaves_no_folder(data):
    name = data.draw(st.sampled_from([n for n in STRATEGIES if n != "avalanche"]))
    model = data.draw(st.sampled_from(["mlp"] + [n for n in MODELS if n != "encoder"]))
    stream = STREAMS[data.draw(st.sampled_from(sorted(STREAMS)))]
    call = {"stream": stream, "strategies": [name], **CALL, "model": model, **data.draw(WRONG)}

    def train(*_, **__):
        raise Stop

    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "run", train)
        here = Path(place) / "here"
        (here / "full").mkdir(parents=True)
        (here / "full" / "mine.txt").write_text("mine")
        (here / "file").write_text("mine")
        (here / "loop").symlink_to("loop")
        (here / "nowhere").symlink_to("gone")
        before = contents(here)
        try:
            compare(out=here / data.draw(OUT), **call)
        except Stop:
            assert not [p for p in contents(here) if leftover(p)]
        except PerdureError as error:
            line(error)
            assert contents(here) == before
