import numpy as np
import pytest

from perdure import compare
from perdure.scenarios import check_stream, concat, from_arrays, limit, repeat, split, take
from perdure.scenarios.contract.doubts import doubts

X = np.random.default_rng(0).normal(size=(60, 8))
Y = np.arange(60) % 2


def tasks(*labels):
    return [(X + index, y) for index, y in enumerate(labels)]


@pytest.mark.parametrize("labels", [(Y, 1 - Y), (Y + 1, Y + 1), (Y, np.arange(60) % 3), (Y > 0, Y > 0)])
def test_the_same_labels_in_every_task_get_outputs_of_their_own(labels):
    stream = from_arrays(tasks(*labels), "task")
    check_stream(stream)
    first, second = stream
    assert not set(first.outputs) & set(second.outputs)
    assert stream.outputs == len(first.outputs) + len(second.outputs)
    assert (stream.masks().sum(0) == 1).all()
    assert len(doubts(stream)) == 1
    assert "each task has outputs of its own" in doubts(stream)[0]


def test_results_repeat_the_note():
    stream = from_arrays(tasks(Y, 1 - Y), "task")
    results = compare(stream, ["naive"], model="mlp(hidden=[4])", seeds=2, epochs=1, quiet=True)
    assert [line for line in results.warnings if "outputs of its own" in line] == doubts(stream)


def test_labels_of_the_whole_stream_stay_what_they_are():
    stream = from_arrays(tasks(Y, Y + 2), "task")
    assert [task.outputs for task in stream] == [(0, 1), (2, 3)]
    assert doubts(stream) == []
    assert from_arrays(tasks(Y), "task").outputs == 2
    assert doubts(from_arrays(tasks(Y, Y))) == []


@pytest.mark.parametrize("setting", ["class", "task", "joint"])
def test_shared_outputs_are_noted(setting):
    (line,) = doubts(from_arrays(tasks(Y, Y + 2, Y + 1), setting, names=["a", "b", "c"]))
    assert "a, b, c share the outputs of the classes 1, 2" in line
    (line,) = doubts(from_arrays(tasks(Y, Y + 1), "joint"))
    assert "task 1, task 2 share the outputs of the classes 1" in line


def test_tasks_without_a_common_class_are_noted_where_they_share_outputs():
    (line,) = doubts(from_arrays(tasks(Y, Y + 2)))
    assert "no class occurs in all tasks" in line


def test_a_task_that_comes_again_is_no_other_task():
    assert doubts(repeat(split("digits", setting="task"))) == []


def test_single_classes_are_noted_where_nothing_competes():
    (line,) = doubts(split("digits", 1, "task"))
    assert "score 1 whatever is learned" in line
    assert "and 5 more" in line
    assert doubts(split("digits", 1)) == []


def test_real_numbers_that_are_all_whole_are_noted():
    (line,) = doubts(from_arrays([(X, Y * 1.0)]))
    assert "regression" in line
    assert doubts(from_arrays([(X, X[:, 0])])) == []


def test_notes_outlive_operators():
    stream = from_arrays(tasks(Y, Y), "task")
    other = from_arrays([(X + 9, Y + 4)], "task")
    for changed in (limit(stream, 20), take(stream, 1), concat(stream, other), concat(other, stream)):
        assert changed.notes == stream.notes


def test_fewer_outputs_than_the_tasks_need(refuses):
    with refuses("`outputs` must be at least 4", "found 2"):
        from_arrays(tasks(Y, Y), "task", outputs=2)
    with refuses("labels must be in", "-1"):
        from_arrays(tasks(Y - 1, Y - 1), "task")


@pytest.mark.parametrize(
    "objective", [["regression(rmse)", None], ["regression(r2)", None], ["regression(mae)"] * 2]
)
def test_scores_of_which_some_are_better_when_lower(objective):
    y = np.stack([np.arange(40) / 7, np.arange(40) % 2], 1)
    lines = doubts(from_arrays([(np.eye(40), y)], objective=objective))
    tasks = doubts(from_arrays([(np.eye(40), y[:, 0]), (np.eye(40), y[:, 1])], "task", objective=objective))
    mixed = objective[0] == "regression(rmse)"
    for found in (lines, tasks):
        assert any("a lower RMSE" in line for line in found) == mixed
