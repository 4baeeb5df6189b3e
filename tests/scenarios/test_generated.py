"""Whatever comes in: a stream that keeps the contract, or one line that says what is wrong.

``PERDURE_EXAMPLES=20000`` runs more examples of each; with it, ``--hypothesis-seed`` says which.
"""

import io
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from perdure.core.errors import PerdureError
from perdure.scenarios import (
    blur,
    check_stream,
    concat,
    from_arrays,
    get,
    imbalance,
    limit,
    noise_labels,
    permuted,
    repeat,
    rotated,
    split,
    take,
)
from perdure.scenarios.contract.doubts import doubts
from perdure.scenarios.sources import images, table

generated = settings(
    max_examples=int(os.environ.get("PERDURE_EXAMPLES", "30")),
    derandomize="PERDURE_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def accepted(make):
    """Return the stream that comes out, checked; None where a PerdureError of one line does."""
    try:
        stream = make()
        check_stream(stream)
    except PerdureError as error:
        line = str(error)
        assert line.strip()
        assert len(line.splitlines()) == 1, line
        return None
    for task in stream:
        for part in (task.train, task.val, task.test):
            x = part.inputs()
            assert len(x) == len(part.y) > 0
            assert bool(torch.isfinite(x).all())
    assert all(isinstance(line, str) and "\n" not in line for line in doubts(stream))
    assert stream.fingerprint()
    return stream


# ---- arrays -------------------------------------------------------------------------------------------

DTYPES = [
    "f2",
    "f4",
    "f8",
    ">f8",
    "g",
    "i1",
    "u1",
    "i4",
    ">i4",
    "u2",
    "i8",
    "u8",
    "?",
    "c8",
    "M8[s]",
    "S3",
    "U3",
    "O",
]
TORCH = [torch.bfloat16, torch.float16, torch.float64, torch.uint8, torch.int32, torch.bool, torch.complex64]
SHAPES = [(), (12,), (12, 1), (12, 3), (12, 1, 4, 4), (0, 3), (12, 0), (1, 2), (11, 3)]


@st.composite
def values(draw, shape):
    """Numbers in all forms that people hold them in, and things that are none."""
    dtype = draw(st.sampled_from(DTYPES))
    seed = draw(st.integers(0, 3))
    scale = draw(st.sampled_from([1, 100, 1e6]))
    numbers = np.asarray(np.random.default_rng(seed).normal(size=shape) * scale)
    with np.errstate(all="ignore"):
        array = numbers.astype(np.int64).astype(dtype) if dtype == "M8[s]" else numbers.astype(dtype)
    if array.dtype.kind == "f" and array.size and draw(st.integers(0, 4)) == 0:
        array.flat[draw(st.integers(0, array.size - 1))] = draw(
            st.sampled_from([np.nan, np.inf, -np.inf, 6e4])
        )
    form = draw(
        st.sampled_from(["plain"] * 6 + ["back", "list", "tensor", "frame", "mask", "torch", "sparse", "odd"])
    )
    return formed(form, array, draw)


def formed(form, array, draw):
    if form == "back" and array.ndim:
        return array[::-1]
    if form == "list":
        return array.tolist()
    if form == "tensor" and array.dtype.kind in "fiub" and array.dtype.isnative and array.dtype.itemsize <= 8:
        return torch.from_numpy(array.copy())
    if form == "frame" and array.ndim in (1, 2):
        return pd.DataFrame(array) if array.ndim == 2 else pd.Series(array, index=range(5, 5 + len(array)))
    if form == "mask":
        return np.ma.masked_array(array, mask=np.arange(array.size).reshape(array.shape) == 1)
    if form == "torch":
        return torch.zeros(array.shape, dtype=draw(st.sampled_from(TORCH)), requires_grad=False)
    if form == "sparse" and array.ndim == 2:
        return torch.zeros(array.shape).to_sparse()
    if form == "odd":
        return draw(st.sampled_from([None, "x", {"a": 1}, {1, 2}, [[1], [2, 3]], object(), 5, [None] * 12]))
    return array


@st.composite
def labels(draw, n=12):
    kind = draw(st.sampled_from(["class"] * 6 + ["shifted", "gaps", "one", "real", "bool", "any"]))
    y = np.arange(n) % draw(st.integers(2, 4))
    if kind == "any":
        return draw(values(draw(st.sampled_from([(12,), (12, 1), (), (5,)]))))
    made = {
        "class": y,
        "shifted": y + draw(st.integers(-2, 3)),
        "gaps": y * draw(st.sampled_from([3, 10**9, 2**62])),
    }
    made |= {"one": y * 0, "real": y * draw(st.sampled_from([1.0, 0.5, np.nan, 1e39])), "bool": y > 0}
    return formed(
        draw(st.sampled_from(["plain", "plain", "back", "list", "tensor", "frame"])), made[kind], draw
    )


IMAGES = (np.random.default_rng(0).random((40, 1, 4, 4)), np.arange(40) % 4)
SETTINGS = st.sampled_from(["domain", "class", "task", "joint", "Task", None, 3])
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "no", "True", 2.5, -1, 0, 10**30, [1], np.zeros(2), float("nan"), True, (), {}]
)


@st.composite
def mostly(draw, *usual):
    """One of the usual values, or at times an odd one."""
    return draw(ODD) if draw(st.integers(0, 7)) == 0 else draw(st.sampled_from(usual))


@generated
@given(st.data())
def test_arrays(data):
    def pair():
        shape = data.draw(st.sampled_from([(12, 3)] * 6 + SHAPES))
        return data.draw(values(shape)), data.draw(labels())

    def task():
        form = data.draw(st.sampled_from(["whole", "whole", "parts", "odd"]))
        return pair() if form == "whole" else (pair(), pair()) if form == "parts" else data.draw(ODD)

    tasks = [
        task() if data.draw(st.integers(0, 5)) == 0 else pair() for _ in range(data.draw(st.integers(0, 3)))
    ]
    accepted(
        lambda: from_arrays(
            tasks,
            data.draw(SETTINGS),
            names=data.draw(mostly(None, None, ["a", "b"])),
            val=data.draw(mostly(0.1, 0.3)),
            outputs=data.draw(mostly(None, None, 8)),
            online=data.draw(mostly(False, True)),
            seed=data.draw(mostly(0, 1)),
        )
    )


@generated
@given(st.data())
def test_generators_and_operators(data):
    draw = data.draw
    source = draw(mostly(IMAGES, (np.eye(24), np.arange(24) % 4), (draw(values((12, 3))), draw(labels()))))
    chosen = {
        "setting": draw(SETTINGS),
        "online": draw(mostly(False)),
        "val": draw(mostly(0.1)),
        "seed": draw(mostly(0)),
    }
    make = draw(st.sampled_from([split, permuted, rotated]))
    if make is split:
        more = {"classes_per_task": draw(mostly(None, 2)), "by": draw(mostly(None, "classes", "groups")),
                "shuffle_classes": draw(mostly(False, True))}  # fmt: skip
    else:
        more = {"tasks": draw(mostly(2, 3))} | (
            {"angles": draw(mostly(None, [0, 30]))} if make is rotated else {}
        )
    stream = accepted(lambda: make(source, **chosen, **more))
    if stream is None:
        stream = draw(st.sampled_from([None, "split-digits", split(IMAGES, tasks=2)]))
    change = draw(st.sampled_from([
        lambda: blur(stream, draw(mostly(0.2, 0.5)), seed=draw(mostly(0))),
        lambda: repeat(stream, draw(mostly(1, 2))),
        lambda: take(stream, draw(mostly(1, 2, [1, 0]))),
        lambda: imbalance(stream, draw(mostly(0.1, 1))),
        lambda: noise_labels(stream, draw(mostly(0.2, 0, 1))),
        lambda: limit(stream, draw(mostly(5, 50))),
        lambda: concat(stream, draw(mostly(stream, split(IMAGES, tasks=2)))),
    ]))  # fmt: skip
    accepted(change)


# ---- tables -------------------------------------------------------------------------------------------

CELLS = st.sampled_from([
    "1", "2", "0.5", "-3", "a", "b", "", "?", "nan", "inf", "1e308", "1e400", "9" * 30, '"x,y"', '"', "é",
    "\x00", "True", "2020-01-01", "  z ",
])  # fmt: skip
NAMES = st.sampled_from(["a", "b", "c", "y", "y", "", "0", "é", '"q,r"', " a"])


@st.composite
def csv(draw):
    columns = draw(st.integers(1, 4))
    separator = draw(st.sampled_from([",", ",", ",", ";", "\t"]))
    head = [draw(NAMES) for _ in range(columns)] if draw(st.booleans()) else ["a", "b", "c", "y"][-columns:]
    body = []
    for i in range(draw(st.sampled_from([0, 1, 2, 12, 12, 12]))):
        row = [str(i * 3 + j) for j in range(columns - 1)] + [str(i % 2)]
        if draw(st.integers(0, 3)) == 0:
            row[draw(st.integers(0, columns - 1))] = draw(CELLS)
        if draw(st.integers(0, 20)) == 0:
            row += row[: draw(st.integers(0, 2))]
        body.append(row)
    text = draw(st.sampled_from(["", "", "", "\ufeff", "\n", "# note\n"]))
    text += "".join(
        separator.join(row) + draw(st.sampled_from(["\n", "\n", "\r\n"])) for row in [head, *body]
    )
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1"])), "replace")
    return content[: draw(st.sampled_from([None, None, None, 7, -3]))]


@generated
@given(st.data())
def test_tables(data):
    draw = data.draw
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / draw(st.sampled_from(["t.csv", "t.csv", "t.csv", "t.csv.gz", "t.parquet", "t"]))
        path.write_bytes(draw(st.one_of(csv(), csv(), csv(), st.binary(max_size=60))))
        test = draw(st.sampled_from([None, None, path, Path(folder), Path(folder) / "none"]))
        accepted(
            lambda: split(
                table(
                    path,
                    draw(mostly(-1, 0, "y", "a")),
                    test=test,
                    categorical=draw(mostly(None, ["a"], [0])),
                    drop=draw(mostly((), ["b"], "b")),
                    domain=draw(mostly(None, None, "c", 0)),
                    header=draw(mostly(True, True, False)),
                    separator=draw(mostly(",", ",", ";")),
                ),
                setting=draw(SETTINGS),
            )
        )


PARQUET = st.sampled_from([
    [0, 1, 2] * 4, [0.5, 1.0, 1.5] * 4, ["a", "b"] * 6, [None, 1] * 6, [[1], [2, 3]] * 6, [{"k": 1}] * 12,
    [b"x", b"y"] * 6, [np.nan] * 12, [True, False, None] * 4, [1e308, -1e308] * 6, [2**63] * 12,
    pd.to_datetime(range(12)), pd.to_timedelta(range(12)), [np.inf] + [0.0] * 11, [0.1] * 12, [""] * 12,
    pd.Categorical(["u", "v"] * 6), pd.array([1, None] * 6, dtype="Int64"), np.arange(12, dtype="f4") / 7,
])  # fmt: skip


@generated
@given(st.data())
def test_parquet(data):
    draw = data.draw
    frame = pd.DataFrame({name: draw(PARQUET) for name in draw(st.sampled_from(["ay", "aby", "y"]))})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        frame.to_parquet(path)
        if draw(st.integers(0, 5)) == 0:
            path.write_bytes(path.read_bytes()[: draw(st.integers(0, 500))])
        domain = draw(st.sampled_from([None, "a"]))
        accepted(lambda: split(table(path, draw(st.sampled_from(["y", "y", "a"])), domain=domain)))


# ---- images -------------------------------------------------------------------------------------------

MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "I;16B"]


@st.composite
def image(draw):
    kind = draw(st.sampled_from(["L"] * 12 + MODES))
    ending = draw(st.sampled_from([".png"] * 8 + [".tif", ".gif", ".jpg", ".bmp", ".pgm", ".webp"]))
    side = draw(st.sampled_from([6, 6, 6, 1, 9]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    plain = Image.fromarray(rng.integers(0, 256, (side, side, 3)).astype(np.uint8))
    out = io.BytesIO()
    try:
        grey = kind[0] in "IF"
        (plain.convert("L") if grey else plain).convert(kind).save(out, Image.registered_extensions()[ending])
    except (OSError, ValueError, KeyError):
        out = io.BytesIO()
        plain.save(out, "PNG")
    content = out.getvalue()
    cut = draw(st.sampled_from([None] * 20 + [0, 10, 50, -5]))
    return ending, content[:cut]


LAYOUTS = [
    "{c}/{i}", "{c}/{i}", "{p}/{c}/{i}", "{c}/{p}/{i}", "{g}/{c}/{i}", "{p}/{g}/{c}/{i}", "{i}", "{p}/{i}",
    ".h/{c}/{i}", "../{c}/{i}", "/{c}/{i}", "top/{p}/{c}/{i}",
]  # fmt: skip


@st.composite
def tree(draw):
    layout = draw(st.sampled_from(LAYOUTS))
    parts = draw(
        st.sampled_from(
            [
                ("train", "val"),
                ("Train", "TEST"),
                ("train", "valid", "test"),
                ("val",),
                ("train", "other"),
                ("train", "test", "other"),
            ]
        )
    )
    some = [draw(image()) for _ in range(3)]
    files = {}
    for p in parts:
        for g in "AB":
            for c in ("cat", "dog"):
                for i in range(4):
                    ending, content = some[draw(st.integers(0, 2))] if i == 0 else (".png", png(len(files)))
                    files[layout.format(p=p, g=g, c=c, i=i) + ending] = content
    for extra in draw(
        st.lists(
            st.sampled_from([".DS_Store", "cat/notes.txt", "cat/x.png/y.png", "train/9.png"]), max_size=1
        )
    ):
        files[extra] = b"?"
    return files


def png(number):
    pixels = np.full((6, 6), 255, dtype=np.uint8)
    pixels.flat[[number % 36, number // 36 % 36]] = number % 251
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def put(folder, files):
    for name, content in files.items():
        path = Path(folder) / "d" / name.lstrip("./").replace("../", "")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
    return Path(folder) / "d"


def pack(folder, files, draw):
    path = Path(folder) / "z.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    whole = path.read_bytes()
    path.write_bytes(whole[: draw(st.sampled_from([None] * 6 + [len(whole) // 2, 10]))])
    return path


@generated
@given(st.data())
def test_image_folders(data):
    draw = data.draw
    folder = tempfile.mkdtemp()
    try:
        files = draw(tree())
        path = put(folder, files) if draw(st.booleans()) else pack(folder, files, draw)
        if path.is_dir() and draw(st.integers(0, 6)) == 0:
            (path / "loop").symlink_to(draw(st.sampled_from([path, path / "cat", path / "nowhere"])))
        stream = accepted(
            lambda: split(
                images(
                    path,
                    draw(mostly(4, 6)),
                    channels=draw(mostly(1, 1, 3)),
                    invert=draw(mostly(False, True)),
                    test=draw(mostly(None, None, None, path)),
                )
            )
        )
        if stream is not None:
            every = torch.cat([task.train.inputs() for task in stream])
            assert float(every.min()) >= 0
            assert float(every.max()) <= 1
            # Nothing here is all white: that is what a wrong scale makes of an image.
            assert float(every.mean()) < 1
            # Beside folders of other names, and without classes below, "train" is a class: images of trains.
            classes = any(name.split("/")[-2:-1] == ["cat"] for name in files)
            assert not classes or not any("train" in name.lower() for name in stream.names)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "spec", ["split-digits(", "split-digits | ", "", "|", "split-digits | take(0)", "x" * 5000]
)
def test_specs_of_streams(spec):
    assert accepted(lambda: get(spec)) is None
