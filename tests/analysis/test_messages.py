"""What messages tell, what they cost, and the figures of it: numbers by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perdure import PerdureError
from perdure.analysis import Messages, codes_of, mutual_information, plot_bits, plot_links, understood

STRANGE: Any = 1.0


def heard(**changes):
    """Two steps of three episodes of three agents; the second episode ends after the first step."""
    links = np.zeros((2, 3, 3, 3))
    links[:, :, 0, 1] = 0.7  # the first hears the second, always
    links[0, :, 1, 2] = 0.3  # the second hears the third, in the first step
    found = {
        "messages": np.arange(36.0).reshape(2, 3, 3, 2),
        "links": links,
        "bits": 64.0 * (links > 0).sum((2, 3)),
        "observations": np.zeros((2, 3, 3, 1, 4)),
        "actions": np.zeros((2, 3, 3), dtype=np.int64),
        "present": np.ones((2, 3, 3), dtype=bool),
        "on": np.array([[True] * 3, [True, False, True]]),
        "returns": np.array([1.0, 1.0, 0.5]),
        "returns_shuffled": np.array([0.5, 0.0, 0.25]),
        "returns_silent": np.array([0.0, 0.25, 0.5]),
    }
    return Messages(**{**found, **changes})


def test_information_by_hand():
    # Four pairs: the label is the code, one bit. Then half of them: H(2/3 : 1/3 ...) by its formula.
    one = mutual_information([0, 0, 1, 1], [5, 5, 7, 7])
    assert (one.bits, one.entropy) == pytest.approx((1.0, 1.0))
    assert 0 <= one.control < 0.6
    found = mutual_information([0, 0, 0, 1], [0, 0, 1, 1]).bits
    # p = 1/2, 1/4, 1/4; of codes 3/4, 1/4, of labels 1/2, 1/2.
    by_hand = 0.5 * np.log2(0.5 / 0.375) + 0.25 * np.log2(0.25 / 0.375) + 0.25 * np.log2(0.25 / 0.125)
    assert found == pytest.approx(by_hand)
    assert mutual_information([1, 1, 1], [0, 1, 2]).bits == 0


def test_the_control_is_the_bias_of_the_estimate():
    draws = np.random.default_rng(0)
    codes, labels = draws.integers(0, 8, 200), draws.integers(0, 5, 200)
    found = mutual_information(codes, labels)
    bias = 7 * 4 / (2 * 200 * np.log(2))
    assert found.control == pytest.approx(bias, rel=0.25)
    assert found.bits == pytest.approx(found.control, abs=0.08)
    assert found == mutual_information(codes, labels)


def test_few_messages_keep_a_code_each_and_many_are_put_together():
    bits = np.array([[0, 1], [1, 1], [0, 1], [0, 0]], dtype=float)
    codes = codes_of(bits, clusters=4)
    assert codes[0] == codes[2]
    assert len(set(codes[[0, 1, 3]])) == 3
    near = np.random.default_rng(0).normal(size=(60, 2)) * 0.01
    centre = np.repeat([[0, 0], [5, 0], [0, 5]], 20, 0)
    found = codes_of(near + centre, clusters=3)
    assert [len(set(found[i : i + 20])) for i in (0, 20, 40)] == [1, 1, 1]
    assert len(set(found)) == 3


def test_what_is_over_or_not_there_does_not_count():
    messages = heard()
    # Three agents: 2 links in the first step, 1 in the second one; the ended episode counts once.
    assert messages.bits_per_step == pytest.approx(64 * (3 * 2 + 2 * 1) / 5)
    often = messages.who_hears_whom
    assert np.isnan(np.diag(often)).all()
    assert (often[0, 1], often[1, 2], often[2, 0]) == pytest.approx((1.0, 3 / 5, 0.0))
    labels = np.array([[0, 1, 2], [0, 9, 2]])
    told = messages.information(labels, agent=1)
    assert told.bits == pytest.approx(told.entropy)
    assert told.entropy == pytest.approx(-(2 * 0.4 * np.log2(0.4) + 0.2 * np.log2(0.2)))
    away = replace(messages, present=messages.present & np.array([True, False, True]))
    assert np.isnan(away.who_hears_whom[:, 1]).all()
    with pytest.raises(PerdureError, match="expected an agent who is there; found agent 1, who never is"):
        away.information(labels, agent=1)


def diverged(messages):
    return replace(messages, messages=messages.messages * np.nan)


def nothing(messages):
    return np.zeros(messages.on.shape, dtype=int)


def test_it_prints_what_matters():
    assert repr(heard()) == (
        "Messages of 2 numbers, 3 agents, 3 episodes of up to 2 steps: return 0.8333, shuffled 0.25, "
        "silent 0.25, 102.4 bits a step"
    )


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (
            lambda m: m.information(np.zeros((2, 3)), 0),
            r"labels \[2, 3\], whole numbers; found \[2, 3\] float64",
        ),
        (lambda m: m.information([0, 1], 0), r"labels \[2, 3\], whole numbers; found \[2\] int64"),
        (
            lambda m: m.information(np.zeros((2, 3), dtype=int), 3),
            "agent must be a whole number from 0 to 2",
        ),
        (
            lambda m: m.information(np.zeros((2, 3), dtype=int), 0, clusters=0),
            "clusters must be a whole number",
        ),
        (lambda m: mutual_information([0, 1], [0]), r"\[n\] each; found \[2\] and \[1\]"),
        (lambda m: mutual_information([0.5, 0.5], [0, 1]), "codes must be whole numbers; found float64"),
        (lambda m: mutual_information([0, 1], ["a", "b"]), "labels must be whole numbers; found <U1"),
        (lambda m: mutual_information([0, 1], [0, 1], seed=-1), "seed must be a whole number of at least 0"),
        (lambda m: diverged(m).information(np.zeros((2, 3), dtype=int), 0), "finite messages; found some of"),
        (lambda m: understood(m, diverged(m), nothing, 0), "finite messages; found some of agent 0"),
        (lambda m: understood(diverged(m), m, nothing, 0), "finite messages; found some of agent 0"),
        (lambda m: understood(m, m, STRANGE, 0), "label must be a function of messages; found 1.0"),
        (lambda m: codes_of(np.full((4, 2), np.nan)), "expected finite messages"),
        (lambda m: plot_bits(m), "messages by what they are called; found Messages of"),
        (lambda m: plot_bits({STRANGE: m}), "messages by what they are called; found {1.0"),
        (lambda m: mutual_information([], []), r"\[n\] each; found \[0\] and \[0\]"),
        (lambda m: plot_links(STRANGE), "expected what `trained"),
        (lambda m: plot_bits({}), "messages by what they are called; found {}"),
        (lambda m: plot_bits({"mcs": STRANGE}), r"`trained\[name\].messages\(\)` returns; found 1.0"),
        (lambda m: plot_bits({"mcs": [m, STRANGE]}), r"`trained\[name\].messages\(\)` returns; found 1.0"),
        (lambda m: plot_bits({"mcs": []}), r"of one seed or more; found \[\]"),
        (lambda m: plot_links(m, "links.txt"), "a file that ends in"),
        (lambda m: plot_bits({}, "bits.txt"), "a file that ends in"),
    ],
)
def test_what_does_not_fit_is_refused(ask, line):
    with pytest.raises(PerdureError, match=line):
        ask(heard())


def told_in(signs):
    """One step of episodes of two agents: the first sees 0 or 1, and says ``signs`` of it."""
    seen = np.arange(len(signs)) // 2 % 2
    return replace(
        heard(),
        messages=np.asarray(signs, dtype=float).reshape(1, -1, 1, 1).repeat(2, 2),
        observations=seen.reshape(1, -1, 1, 1, 1).repeat(2, 2).astype(float),
        present=np.ones((1, len(signs), 2), dtype=bool),
        on=np.ones((1, len(signs)), dtype=bool),
    )


def seen_by_the_first(one):
    return one.observations[:, :, 0, 0, 0].astype(int)


def longer(one):
    return replace(one, messages=one.messages.repeat(2, -1))


def test_what_is_understood_by_hand():
    # Of episodes 0, 1 (label 0), 2, 3 (label 1), 4, 5 (0), 6, 7 (1).
    before = told_in([-1, -1, 1, 1, -1.2, -0.9, 1.2, 0.8])
    for signs, now in (
        ([-0.5, -3, 0.5, 3], 1.0),  # scale does not matter
        ([1, 1, -1, -1], 0.0),  # the words have changed places
        ([1, 1, 1, 1], 0.5),  # nothing is told any more
        ([-1, 1, 1, 1], 0.75),  # of the first label half, of the second all
    ):
        found = understood(before, told_in(signs), seen_by_the_first, 0)
        assert (found.then, found.now, found.chance) == (1.0, now, 0.5)
    # Read in the odd episodes, known from the even ones.
    mixed = understood(told_in([-1, 1, 1, 1]), before, seen_by_the_first, 0)
    assert (mixed.then, mixed.now) == (0.5, 1.0)


def test_a_rare_label_counts_as_much_as_a_frequent_one():
    before = told_in([-1, -1, 1, 1])
    later = replace(told_in([-1] * 8), on=np.array([[True, True, True, False, True, True, False, False]]))
    assert understood(before, later, seen_by_the_first, 0).now == 0.5  # one of five is wrong


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda m: understood(STRANGE, m, seen_by_the_first, 0), "`trained.* returns; found 1.0"),
        (lambda m: understood(m, m, lambda _: [0], 0), r"expected labels \[1, 4\], whole numbers"),
        (lambda m: understood(m, m, seen_by_the_first, 2), "agent must be a whole number from 0 to 1"),
        (lambda m: understood(m, longer(m), seen_by_the_first, 0), "of one size; found 1 and 2"),
        (lambda m: understood(told_in([1]), m, seen_by_the_first, 0), "in an odd episode; found none"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(ask, line):
    with pytest.raises(PerdureError, match=line):
        ask(told_in([-1, -1, 1, 1]))


def test_numbers_may_be_numpys():
    labels = np.array([[0, 1, 0], [1, 0, 1]])
    assert heard().information(labels, np.int64(0), np.int64(4)) == heard().information(labels, 0, 4)


def test_the_map_shows_how_often_who_hears_whom(tmp_path):
    path = tmp_path / "links.png"
    axes, bar = plot_links(heard(), path).axes
    drawn = axes.collections[0].get_array().reshape(3, 3)
    np.testing.assert_allclose(np.ma.filled(drawn, np.nan), heard().who_hears_whom)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("agent that speaks", "agent that hears")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "2"]
    assert bar.get_ylabel() == "share of steps"
    assert path.stat().st_size > 1000


def test_returns_stand_over_the_bits_that_they_cost(tmp_path):
    path = tmp_path / "bits.svg"
    (axes,) = plot_bits({"mcs": heard(), "dial": heard(bits=heard().bits / 32)}, path).axes
    points = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    found = [(line.get_xdata()[0], line.get_ydata()[0], line.get_fillstyle()) for line in points]
    assert found[:3] == [(102.4, pytest.approx(2.5 / 3), "full"), (102.4, 0.25, "none"), (0.0, 0.25, "none")]
    assert found[3][0] == pytest.approx(3.2)
    assert path.read_text().startswith("<?xml")


def test_points_of_several_seeds_are_their_means_with_intervals_over_the_seeds():
    seeds = [heard(returns=np.array(returns)) for returns in ([0.0, 1.0], [1.0, 1.0], [0.25, 0.25])]
    (axes,) = plot_bits({"mcs": seeds}).axes
    point, bar = axes.get_lines()[:2]
    assert point.get_ydata()[0] == pytest.approx((0.5 + 1.0 + 0.25) / 3)
    # A resample of three seeds can hold one thrice, so the ends are the seeds' own extremes, not episodes'.
    assert list(bar.get_ydata()) == [0.25, 1.0]
