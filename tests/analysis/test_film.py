"""Pictures of episodes: strips that results keep, figures, GIFs, and the report that shows them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perdure.analysis import Results, film, load, notes, plot_filmstrip, write_gif
from perdure.analysis.film import Strip, moments
from perdure.analysis.report import films
from perdure.analysis.report.figures import pictures
from perdure.core.errors import PerdureError

ROWS = np.array([[[300.0, 20.0], [9.0, 500.0]]])


def frames(count: int, height: int = 4, width: int = 6) -> film.Frames:
    """Pictures that get redder and redder."""
    found = np.zeros((count, height, width, 3), dtype=np.uint8)
    found[..., 0] = (10 * np.arange(count))[:, None, None]
    return found


def strips() -> list[Strip]:
    """What a run with two tasks keeps: an episode of four steps, one of two, one of five hundred."""
    ends = {(0, 0): (4, 300.0), (1, 0): (2, 9.0), (1, 1): (500, 480.0)}
    return [
        Strip.of(*place, 0, moments(steps), score, frames(len(moments(steps))))
        for place, (steps, score) in ends.items()
    ]


def run(kept: Any = None, **extras: Any) -> Results:
    found = [strip.plain() for strip in strips()] if kept is None else kept
    config = {"metric": "return", "tasks": ["left", "<right>"], "info": {"best": 500.0}}
    return Results({"na<ive": ROWS}, extras={"na<ive": {"film": {"strips": found, **extras}}}, config=config)


def test_moments_are_evenly_spaced_from_the_start_to_the_end() -> None:
    assert moments(500) == [0, 71, 143, 214, 286, 357, 429, 500]
    for length in range(1, 40):
        found = moments(length)
        assert found == sorted(set(found))
        assert (found[0], found[-1], len(found)) == (0, length, min(8, length + 1))


def test_a_strip_gives_back_its_pictures() -> None:
    strip = strips()[2]
    assert strip.size == (48, 4)
    assert np.array_equal(strip.frames(), frames(8))
    large = Strip.of(0, 0, 0, [0, 1], 1.0, frames(2, 300, 200))
    assert large.frames().shape == (2, 100, 67, 3)  # a third of each side


def test_saved_results_have_the_same_strips(tmp_path: Path) -> None:
    run().save(tmp_path)
    assert film.strips(load(tmp_path), "na<ive") == strips()
    assert len(film.strips(run().select("na<ive"), "na<ive")) == 3


def test_the_report_shows_them_task_by_task() -> None:
    picture = list(pictures(run()))[-1]
    assert picture.title == "What the policies do"
    assert picture.drawings == films.drawings(run())[0]
    (drawing,) = picture.drawings
    found = [drawing.index(f"data:image/png;base64,{strip.png}") for strip in strips()]
    assert found == sorted(found)
    for text in (
        "na&lt;ive", "left, just learned: 4 steps, return 300<", "left, at the end: 2 steps, return 9<",
        "&lt;right&gt;, at the end: 500 steps, return 480 (mean of all episodes 500)<",
    ):  # fmt: skip
        assert text in drawing
    assert "<ive" not in drawing
    # Three pictures take three eighths of the width.
    assert 'width="210" height="47"' in drawing


def test_results_without_pictures_have_no_such_figure() -> None:
    plain = Results({"naive": ROWS}, config={"info": {"best": 500.0}})
    assert not film.filmed(plain)
    with pytest.raises(PerdureError, match="found none: pictures are made of streams of environments"):
        plain.plot_film("naive")
    why = run([], left_out=["thermostat has none"])
    assert "Pictures of what policies do are missing: thermostat has none." in notes(why)
    with pytest.raises(PerdureError, match="found none: thermostat has none"):
        why.plot_film("na<ive")
    with pytest.raises(PerdureError, match="unknown strategy 'ewc'"):
        run().plot_film("ewc")


def test_figures_have_a_row_for_each_strip(tmp_path: Path) -> None:
    figure = run().plot_film("na<ive", tmp_path / "film.png")
    assert [axes.get_title(loc="left").split(":")[0] for axes in figure.axes] == [
        "left, just learned", "left, at the end", "<right>, at the end",
    ]  # fmt: skip
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["0", "1", "2"]
    assert len({np.asarray(image.get_array()).shape for axes in figure.axes for image in axes.images}) == 1
    assert (tmp_path / "film.png").read_bytes().startswith(film.PNG)
    one = np.asarray(plot_filmstrip({"one": frames(3)}).axes[0].images[0].get_array())
    # Six columns of a picture, one of white between two.
    assert one.shape == (4, 20, 3)
    assert one[0, :, 0].tolist() == [0] * 6 + [255] + [10] * 6 + [255] + [20] * 6


def test_a_gif_keeps_pictures_and_time(tmp_path: Path) -> None:
    write_gif(frames(5), tmp_path / "a.gif", rate=20)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.size, image.info["loop"], image.info["duration"]) == ((6, 4), 0, 50)
        assert getattr(image, "n_frames") == 5  # noqa: B009 (typed as an image of any kind)
        for index in range(5):
            image.seek(index)
            assert image.convert("RGB").getpixel((2, 2)) == (10 * index, 0, 0)


PNG_OF_7 = base64.b64encode(film.side_by_side(frames(1, 4, 7))).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"png": "abc"}, {"png": "<script>"}, {"png": base64.b64encode(b"GIF89a" * 9).decode()}, {"png": 3},
        {"png": PNG_OF_7}, {"steps": []}, {"steps": [0.5]}, {"score": "1"}, {"stage": True}, {"stage": 2},
        {"task": -1}, {"episode": None}, {"more": 1},
    ],
)  # fmt: skip
def test_what_are_no_strips_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PerdureError) as refused:
        run([{**strips()[0].plain(), **change}])
    assert str(refused.value).startswith("expected ")
    assert "pictures of" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: write_gif(frames(2), "a.png"), "expected a file that ends in .gif; found 'a.png'"),
        (lambda: write_gif(frames(2), "a.gif", 0), "rate must lie in (0, 50]; found 0"),
        (lambda: write_gif(frames(2), "a.gif", float("nan")), "rate must lie in (0, 50]; found nan"),
        (lambda: write_gif(frames(2)[..., :2], "a.gif"), "expected pictures [n, height, width, 3] of bytes"),
        (lambda: write_gif(frames(0), "a.gif"), "expected pictures [n, height, width, 3] of bytes"),
        (lambda: plot_filmstrip({}), "expected a row of pictures at least; found none"),
        (lambda: plot_filmstrip({"a": frames(2)[0]}), "expected pictures [n, height, width, 3] of bytes"),
        (lambda: plot_filmstrip({"a": frames(2)}, steps={"a": [1]}), "expected a number for each of the 2"),
        (lambda: plot_filmstrip({"a": frames(2)}, "a.gif"), "expected a file that ends in .png"),
    ],
)
def test_refusals(call: Any, words: str) -> None:
    with pytest.raises(PerdureError) as refused:
        call()
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)
