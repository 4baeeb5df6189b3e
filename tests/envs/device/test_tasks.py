"""Tasks: what is open moved by hand, what is done left alone, answers in full."""

import pytest

from perdure.envs.device import Action, Episode, templates

POSTPONE = {"due": "Nov 8", "later": "Nov 20"}
OPEN = {
    "priority": "Urgent", "title": "Pay the rent", "second": "Buy stamps", "third": "Call the bank",
}  # fmt: skip


def begin(episode):
    episode.step(Action("open_app", app_name="Tasks"))


def click(episode, *texts):
    """Click on the elements with some texts or labels, one after the other."""
    for text in texts:
        found = (one for one in episode.phone.elements() if text in (one.text, *one.details[:1]))
        episode.step(Action("click", index=next(found).index))


def declare(episode):
    return episode.step(Action("status", goal_status="complete"))


def postponed(chosen):
    """Return an episode in which the tasks of a day that are chosen have been moved."""
    episode = Episode(templates()["TasksPostpone"](POSTPONE, seed=4))
    titles = [
        one["title"] for one in episode.phone.records("tasks.task") if one["due"] == "Nov 8" and chosen(one)
    ]
    begin(episode)
    for title in titles:
        click(episode, title, "Edit", "Due")
        episode.step(Action("input_text", text="Nov 20", clear_text=True))
        click(episode, "Save")
    return episode, len(titles)


def test_what_is_open_moved_by_hand():
    episode, moved = postponed(lambda one: not one["done"])
    assert moved == 3
    left = [one["done"] for one in episode.phone.records("tasks.task") if one["due"] == "Nov 8"]
    assert left == [True]
    assert declare(episode) == 1.0
    # The app, five steps for each, the declaration.
    assert episode.task.budget() - episode.left == 17


def test_what_is_done_does_not_move():
    episode, moved = postponed(lambda one: True)
    assert moved == 4
    assert declare(episode) == 0.0


@pytest.mark.parametrize(
    ("answers", "reward"),
    [
        (("Buy stamps, Call the bank, Pay the rent",), 1.0),
        (("Buy stamps", "Call the bank"), 0.0),
        (("Buy stamps", "Call the bank", "Pay the rent", "Sort the photos"), 0.0),
    ],
)
def test_all_that_is_open_is_answered_and_nothing_else(answers, reward):
    episode = Episode(templates()["TasksStillOpen"](OPEN, seed=4))
    for text in answers:
        episode.step(Action("answer", text=text))
    assert declare(episode) == reward


def test_lists_of_what_is_open_and_completed_are_all_there_is():
    episode = Episode(templates()["TasksComplete"]({"title": "Buy stamps"}, seed=4))
    episode.left = 20
    every = episode.phone.records("tasks.task")
    counts = []
    for name in ("Open", "Completed"):
        begin(episode)
        click(episode, name)
        counts.append(int(episode.phone.elements()[1].text))
        episode.step(Action("navigate_home"))
    assert counts == [sum(not one["done"] for one in every), sum(bool(one["done"]) for one in every)]
    begin(episode)
    click(episode, "Buy stamps", "Done")
    assert declare(episode) == 1.0
