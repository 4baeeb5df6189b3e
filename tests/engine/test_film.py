"""Pictures of what policies do: taken while stages are scored, and of episodes that are played again."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from perdure import PerdureError, compare, load
from perdure.analysis import film, notes
from perdure.engine import film as filming
from perdure.engine.checkpoint import Checkpoint
from perdure.envs import Discrete, Env
from perdure.scenarios.generators.acting import acting
from perdure.scenarios.generators.recipes import PPORecipe
from perdure.testing import tiny_stream

SMALL = {"seeds": 2, "quiet": True}


@dataclass(frozen=True, repr=False)
class Walk(Env):
    """A place on a line, moved by what was drawn and by the action; an episode ends beyond `end`."""

    name = "walk"
    shape = (1,)
    end: float = 3.0

    @property
    def actions(self):
        return Discrete(2)

    @property
    def bounds(self):
        return torch.tensor([-1e9]), torch.tensor([1e9])

    def reset(self, rng, n):
        return {"place": rng.uniform("start", n)}

    def observe(self, state):
        return state["place"].unsqueeze(-1)

    def step(self, state, action, rng):
        place = state["place"] + 0.5 * action + rng.uniform("moved", len(action))
        return {"place": place}, place - 1, place >= self.end


@dataclass(frozen=True, repr=False)
class Shown(Walk):
    """The same, as a picture of four by six pixels whose red is ten times the place."""

    def frame(self, state):
        red = (10 * state["place"]).clamp(0, 255)
        return (red.view(-1, 1, 1, 1) * torch.tensor([1.0, 0.0, 0.0])).expand(-1, 4, 6, 3).to(torch.uint8)


@dataclass(frozen=True, repr=False)
class Broken(Walk):
    """The same, with a picture that cannot be made."""

    def frame(self, state):
        raise ValueError("out of paint")


RECIPE = PPORecipe(copies=2, horizon=4, passes=1, batch_size=8, hidden=(4,))


def walks(kind=Shown, tasks=2):
    envs = {f"end {3 + i}": kind(end=3.0 + i, limit=12) for i in range(tasks)}
    return acting("walks", envs, RECIPE, "domain", steps=8, episodes=3)


@pytest.fixture(scope="module")
def results():
    return compare(walks(), ["naive", "joint"], keep=True, **SMALL)


def test_strips_are_of_the_task_just_learned_and_of_all_at_the_end(results):
    for name, expected in {"naive": [(0, 0), (1, 0), (1, 1)], "joint": [(0, 0), (0, 1)]}.items():
        assert [(strip.stage, strip.task) for strip in film.strips(results, name)] == expected
        for strip in film.strips(results, name):
            count = min(film.MOMENTS, strip.steps[-1] + 1)
            assert strip.steps == film.moments(strip.steps[-1])
            assert len(strip.steps) == count > 2
            assert strip.steps[-1] <= 12
            assert strip.frames().shape == (count, 4, 6, 3)
            assert strip.size == (6 * count, 4)


def test_pictures_change_no_score(results, monkeypatch):
    monkeypatch.setattr(filming.Film, "cameras", lambda *_: {})
    without = compare(walks(), ["naive", "joint"], **SMALL)
    assert not film.filmed(without)
    for name in results.strategies:
        assert np.array_equal(without.scores[name], results.scores[name])
        assert without.costs[name]["flops"] == results.costs[name]["flops"]


def test_what_is_played_again_is_what_was_scored(results):
    trained = results.trained["naive"]
    for replica in range(2):
        for task, name in enumerate(results.tasks):
            played = trained.play(name, replica, episodes=3)
            mean = np.mean([episode.rewards.sum() for episode in played])
            assert mean == pytest.approx(results.scores["naive"][replica, -1, task], rel=1e-6)
    for strip in film.strips(results, "naive")[1:]:
        played = trained.play(strip.task, episodes=3)
        returns = [one.rewards.sum() for one in played]
        assert strip.score == pytest.approx(sorted(returns)[1], rel=1e-6)
        episode = played[strip.episode]
        assert len(episode) == strip.steps[-1] == len(episode.actions)
        assert episode.rewards.sum() == pytest.approx(strip.score, rel=1e-6)
        assert episode.frames.shape == (len(episode) + 1, 4, 6, 3)
        assert np.array_equal(episode.frames[strip.steps], strip.frames())
        # The picture before each step is of what the policy saw.
        expected = np.clip(10 * episode.observations[:, 0], 0, 255).astype(np.uint8)
        assert np.array_equal(episode.frames[:-1, 0, 0, 0], expected)
        assert episode.frames[-1, 0, 0, 0] >= 10 * (3 + strip.task)


def test_a_gif_of_an_episode(results, tmp_path):
    (episode,) = results.trained["naive"].play(1)
    episode.gif(tmp_path / "one.gif", rate=10)
    with Image.open(tmp_path / "one.gif") as image:
        assert image.size == (6, 4)
        assert image.info["loop"] == 0
        lasts = 0
        for index in range(image.n_frames):
            image.seek(index)
            lasts += image.info["duration"]
        assert lasts == 100 * len(episode.frames)  # pictures that are alike are one that lasts longer


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"task": "end 5"}, "unknown task 'end 5': did you mean end 4, end 3?"),
        ({"task": 2}, "expected a task in [0, 2); found 2"),
        ({"replica": -1}, "expected a replica in [0, 2); found -1"),
        ({"episodes": 4}, "episodes must be"),
        ({"episodes": 0}, "episodes must be"),
    ],
)
def test_refusals(results, given, words):
    with pytest.raises(PerdureError) as refused:
        results.trained["naive"].play(**given)
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_samples_are_not_played_in():
    found = compare(tiny_stream(), "naive", keep=True, epochs=1, seeds=1, quiet=True)
    with pytest.raises(PerdureError, match="found one of samples"):
        found.trained["naive"].play()
    with pytest.raises(PerdureError, match="found none: pictures are made of streams of environments"):
        found.plot_film("naive")
    assert "film" not in found.extras["naive"]


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (walks(Walk), "walk does not say what it looks like: override `frame`"),
        (walks(Broken, 1), "ValueError: out of paint"),
    ],
)
def test_an_environment_that_cannot_draw_has_its_scores_and_a_note(stream, why, results):
    found = compare(stream, ["naive"], keep=True, **SMALL)
    if len(stream) == 2:
        assert np.array_equal(found.scores["naive"], results.scores["naive"])
    assert not film.filmed(found)
    assert any(why in line and line.startswith("Pictures of what policies do") for line in notes(found))
    (episode,) = found.trained["naive"].play()
    assert len(episode) == len(episode.rewards) > 0
    with pytest.raises(ValueError, match=why.split(": ")[-1]):
        episode.gif("nowhere.gif")


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ({"MANY": 1}, "the stream has 2 tasks, and pictures are made of up to 1"),
        # Three episodes, a place and a mark of four bytes each, at thirteen moments.
        ({"MOST_KEPT": 13 * 24 - 1}, "the states of all steps would take 0 MB, more than 0"),
        ({"MOST_KEPT": 13 * 24}, ""),
    ],
)
def test_there_are_none_of_many_tasks_or_large_states(limit, why, monkeypatch):
    for name, value in limit.items():
        monkeypatch.setattr(filming, name, value)
    found = compare(walks(), ["naive"], **SMALL)
    assert film.left_out(found) == [why] * bool(why)
    assert bool(film.filmed(found)) == (not why)


@pytest.mark.usefixtures("without_report")
def test_a_run_that_was_stopped_has_the_same_pictures(results, tmp_path, monkeypatch):
    original = Checkpoint.save

    class Killed(BaseException):
        pass

    def save(self, *args):
        original(self, *args)
        raise Killed

    monkeypatch.setattr(Checkpoint, "save", save)
    with pytest.raises(Killed):
        compare(walks(), ["naive", "joint"], out=tmp_path, **SMALL)
    monkeypatch.setattr(Checkpoint, "save", original)
    again = compare(walks(), ["naive", "joint"], out=tmp_path, resume=True, **SMALL)
    for found in (again, load(tmp_path)):
        for name in results.strategies:
            assert found.extras[name]["film"] == results.extras[name]["film"]


def test_of_a_grid_the_pictures_are_those_of_what_was_chosen():
    for lrs in ([1e-4, 0.5], [0.5, 1e-4]):  # one of them chooses the second
        found = compare(walks(), ["naive"], keep=True, tune={"lr": lrs}, **SMALL)
        for strip in film.strips(found, "naive")[1:]:
            episode = found.trained["naive"].play(strip.task, episodes=3)[strip.episode]
            assert np.array_equal(episode.frames[strip.steps], strip.frames())
        again = [np.mean([e.rewards.sum() for e in found.trained["naive"].play(t, 1, 3)]) for t in range(2)]
        assert again == pytest.approx(found.scores["naive"][1, -1], rel=1e-6)
