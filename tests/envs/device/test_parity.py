"""The batched phone against the readable one, step by step, on whatever actions."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
import torch

from perdure import check_env
from perdure.core.random import Rng
from perdure.envs.device import Device, Episode, Given, Slot, Task
from perdure.envs.device.bank import bank
from perdure.envs.device.catalogue import catalogue
from perdure.envs.device.coding import Coding
from perdure.envs.device.declare import ELEMENTS
from perdure.envs.device.goals import Add
from perdure.envs.device.tables import Compiler, compiled
from tests.envs.device.small_phone import PHONE, SONGS

RNG = Rng(torch.tensor(0), torch.tensor(0))
STEPS = 25


def drawn(rng, env, episode):
    """Draw an action: mostly clicks on what is there, and typing; seldom the end."""
    choice = rng.random()
    if choice < 0.55:
        return rng.randrange(len(episode.phone.elements()))
    kinds = (
        ("type",) if choice < 0.75 else ("open", "scroll", "back", "answer_element", "answer_slot", "wait")
    )
    kinds = kinds if choice < 0.98 else ("status", "home", "click")
    return rng.choice([i for i, one in enumerate(env.coding.actions) if one.kind in kinds])


def differ(found, expected):
    return [i for i in range(len(found)) if not np.allclose(found[i], expected[i], atol=1e-6)]


@pytest.mark.parametrize("app", [*catalogue().apps])
def test_screens_contents_and_rewards_are_the_same(app):
    env, rng = Device(app, instances=1), Random(1)
    compiler, tables = compiled()
    episodes = [Episode(task) for task in env.tasks]
    state = env.start(torch.arange(len(episodes)))
    for t in range(STEPS):
        seen = env.observe(state).numpy()
        going = [i for i, episode in enumerate(episodes) if not episode.over]
        expected = [episodes[i].observe() for i in going]
        wrong = differ(seen[going], expected)
        assert not wrong, f"step {t}: {episodes[going[wrong[0]]].phone.screen}"
        actions = [0 if episode.over else drawn(rng, env, episode) for episode in episodes]
        state, reward, ended = env.step(state, torch.tensor(actions), RNG)
        for i in going:
            assert episodes[i].step(actions[i]) == float(reward[i])
            assert episodes[i].over == bool(ended[i])
        if t % 6 == 5:
            for i in going:
                contents = episodes[i].phone.contents
                cells = compiler.fill(contents)
                assert compiler.digest(cells[None], tables.salts) == state["digest"][i]
                # What is gone leaves its fields behind: only those of what is there are compared.
                for kind, base in compiler.base.items():
                    for place, one in enumerate(contents[kind]):
                        width = compiler.stride(kind)
                        held = state["cells"][i, base + place * width :][:width].numpy()
                        assert held[0] == (one is not None)
                        assert one is None or (held == cells[base + place * width :][:width]).all()


def test_a_small_phone_with_all_that_apps_may_have(monkeypatch):
    # Records made of others, rows that write, lists by what a row wrote, forms that are filled in partly.
    slots = {name: Slot("music.song.name") for name in ("song", "other")}

    class Small(Task):
        template = "Add {song} and {other}."
        app_names = ("music",)
        complexity = 20.0
        schema = slots
        setup = tuple(Given("music.mood", name=name) for name in ("calm", "loud"))
        goals = (Add("music.entry", song="{song}"),)

    tasks = [Small({"song": one, "other": other}, i, PHONE) for i, (one, other) in enumerate(pairwise(SONGS))]
    codes = Coding(PHONE, {"Small": Small})
    compiler = Compiler(codes)
    tables = compiler.tables()
    held = bank(compiler, tables, tasks)
    for place in ("world.coding", "episode.coding"):
        monkeypatch.setattr(f"perdure.envs.device.{place}", lambda: codes)
    monkeypatch.setattr("perdure.envs.device.world.tables_on", lambda *_: tables)
    monkeypatch.setattr("perdure.envs.device.world._bank_on", lambda *_: held)
    env, rng, visited = Device("settings"), Random(5), set()
    episodes = [Episode(task) for task in tasks]
    state = env.start(torch.arange(len(tasks)))
    for t in range(120):
        seen, expected = env.observe(state).numpy(), [episode.observe() for episode in episodes]
        wrong = differ(seen, expected)
        assert not wrong, f"step {t}: {episodes[wrong[0]].phone.screen}"
        drawing = [i for i, one in enumerate(codes.actions) if one.kind != "status"]
        actions = [rng.randrange(len(episode.phone.elements())) if rng.random() < 0.7 else rng.choice(drawing)
                   for episode in episodes]  # fmt: skip
        state, _, _ = env.step(state, torch.tensor(actions), RNG)
        for episode, action in zip(episodes, actions, strict=True):
            episode.step(action)
            visited.add(episode.phone.screen)
    cells = np.stack([compiler.fill(episode.phone.contents) for episode in episodes])
    assert compiler.digest(cells, tables.salts).tolist() == state["digest"].tolist()
    assert visited == set(PHONE.layouts)
    assert any(len(episode.phone.records("music.entry")) == 6 for episode in episodes)


@pytest.mark.parametrize("app", [*catalogue().apps])
def test_near_misses_are_the_same(app, solved):
    # The oracle's plan with one action left out, doubled, or another in its place.
    env, rng = Device(app, instances=1), Random(2)
    rewards = set()
    for _ in range(2):
        episodes, plans = [Episode(task) for task in env.tasks], []
        for task in env.tasks:
            plan = [*solved(task.name())[1]]
            at, change = rng.randrange(len(plan) - 1), rng.randrange(3)
            plan[at : at + 1] = [[], [plan[at]] * 2, [rng.randrange(env.actions.n)]][change]
            plans.append([*plan, plan[-1]])
        state = env.start(torch.arange(len(episodes)))
        for t in range(max(map(len, plans))):
            actions = [plan[min(t, len(plan) - 1)] for plan in plans]
            state, reward, ended = env.step(state, torch.tensor(actions), RNG)
            for i, episode in enumerate(episodes):
                if not episode.over:
                    assert episode.step(actions[i]) == float(reward[i])
                    assert episode.over == bool(ended[i])
                    rewards.add((episode.over, episode.reward))
    # In an app of few templates none may come off all the same.
    assert {(False, 0.0), (True, 0.0)} <= rewards <= {(False, 0.0), (True, 0.0), (True, 1.0)}


def test_it_keeps_the_contract_of_environments():
    check_env(Device("calendar", instances=2, seed=3), steps=10)


def test_a_phone_that_is_full_takes_no_more():
    # Both forms: saving a thirteenth record only goes back to the list; a list that gets shorter than where
    # it has been scrolled to begins anew.
    env = Device("CalendarAddEvent", instances=1)
    episode = Episode(env.tasks[0])
    state = env.start(torch.tensor([0]))
    state["left"] = state["left"] + 100
    episode.left += 100
    opened, down = ([one.word for one in env.coding.actions].index(word) for word in ("calendar", "down"))

    def do(state, *actions):
        for action in actions:
            state, _, _ = env.step(state, torch.tensor([action]), RNG)
            episode.step(action)
        np.testing.assert_allclose(env.observe(state)[0], episode.observe(), atol=1e-6)
        return state

    for _ in range(13):
        # Open the calendar, "Add", "Save".
        state = do(state, opened, 2, 1)
    assert len(episode.phone.records("calendar.event")) == 12
    compiler, tables = compiled()
    cells = compiler.fill(episode.phone.contents)
    assert compiler.digest(cells[None], tables.salts) == state["digest"]
    # Search, the text to look for, down, the slot's value, which no event has.
    state = do(state, 3, 2, down)
    assert episode.phone.scroll == 8
    state = do(state, ELEMENTS)
    assert (episode.phone.scroll, int(state["scroll"]), int(state["count"])) == (0, 0, 0)
