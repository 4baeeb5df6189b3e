"""SD-LoRA."""

import pytest
import torch

from perdure import PerdureError, check_strategy
from perdure.models.adapters import lowrank
from perdure.optim.adamw import AdamW
from perdure.optim.scaled import Scaled
from perdure.optim.sgd import SGD
from perdure.strategies import SDLoRA, get
from perdure.strategies.adapters.sdlora import fold
from perdure.testing import tiny_model, tiny_stream

DOWN, UP, MAGNITUDE = (lowrank.key("1", part) for part in ("down", "up", "magnitude"))
STREAM = tiny_stream("task", (9, 12, 7, 6))


def norms(tensors):
    return (tensors[UP] @ tensors[DOWN]).flatten(1).norm(dim=1)


@pytest.mark.parametrize("optimizer", [AdamW(), SGD(momentum=0.9)])
@pytest.mark.parametrize("warm", [True, False])
def test_directions_are_frozen_with_norm_one_and_magnitudes_move(optimizer, warm, walk):
    ends, first = {}, int(warm)
    for moment, phase, tensors, *_ in walk(SDLoRA(warm=warm), STREAM, tiny_model, optimizer=optimizer):
        task = phase.tasks[0]
        if moment == "begin" and task == 0:
            start = tensors
            assert (tensors[MAGNITUDE] == torch.tensor(0.8)).all()
        if moment != "end":
            continue
        ends[task] = tensors
        for t in range(4):
            if t < first or t > task:
                assert all(torch.equal(tensors[k][t], start[k][t]) for k in (DOWN, UP))
            elif t < task:
                assert all(torch.equal(tensors[k][t], ends[t][k][t]) for k in (DOWN, UP))
                assert tensors[MAGNITUDE][t] != ends[task - 1][MAGNITUDE][t]
        want = [float(first <= t <= task) for t in range(4)]
        assert norms(tensors).tolist() == pytest.approx(want, abs=1e-12)
        assert (tensors[MAGNITUDE][task + 1 :] == torch.tensor(0.8)).all()


def test_the_weight_by_hand(walk):
    moments = list(walk(SDLoRA(rank=2, warm=False), STREAM, tiny_model))
    _, _, tensors, _, net = moments[-1]
    base = tensors[lowrank.key("1", "base")]
    directions = tensors[UP] @ tensors[DOWN]
    want = base + sum(m * d / d.norm() for m, d in zip(tensors[MAGNITUDE], directions, strict=True))
    torch.testing.assert_close(lowrank.merge(net.module, tensors)["1.weight"], want)
    assert (want - base).norm() > 0.05


def test_nothing_jumps_when_a_direction_is_divided_by_its_norm(walk, monkeypatch):
    strategy, one = SDLoRA(rank=2, warm=False), tiny_stream("task", (9,))
    with monkeypatch.context() as patch:
        patch.setattr(SDLoRA, "end_task", lambda self, net, params, state, task: (params, state))
        *_, (_, _, raw, _, _) = walk(strategy, one, tiny_model)
    *_, (_, _, divided, _, net) = walk(strategy, one, tiny_model)
    assert norms(raw).item() != pytest.approx(1.0, abs=0.01)
    assert norms(divided).item() == pytest.approx(1.0, abs=1e-12)
    weights = [lowrank.merge(net.module, t)["1.weight"] for t in (raw, divided)]
    torch.testing.assert_close(*weights, rtol=0, atol=1e-14)


def test_what_was_not_learned_has_no_direction(walk):
    *_, (_, _, tensors, _, _) = walk(SDLoRA(), STREAM, tiny_model, optimizer=Scaled("sgd", {"": 0.0}))
    assert not tensors[UP].any()
    assert torch.isfinite(tensors[MAGNITUDE]).all()


# ---- fewer parameters ---------------------------------------------------------------------------------


def test_the_rank_falls(walk):
    strategy = SDLoRA(rank=3, falls=[(1, 2), (3, 1)], warm=False)
    *_, (_, _, tensors, _, _) = walk(strategy, STREAM, tiny_model)
    used = [(tensors[k].norm(dim=axis) > 0).sum(1).tolist() for k, axis in ((DOWN, 2), (UP, 1))]
    assert used == [[3, 2, 2, 1]] * 2
    ranks = torch.linalg.matrix_rank(tensors[UP] @ tensors[DOWN], rtol=1e-9)
    assert ranks.tolist() == [3, 2, 2, 1]


def directions(*entries):
    """Adapters of rank 2 whose products are the 2 x 2 matrices of these entries."""
    up = torch.tensor(entries).double().view(-1, 2, 2)
    return torch.eye(2).double().expand_as(up), up


def test_merging_by_hand():
    down, up = directions([1, 0, 0, 0], [0, 1, 0, 0], [0.6, 0.8, 0, 0])
    own = torch.tensor([False, False, True])
    magnitude = torch.tensor([2.0, 3.0, 5.0]).double()
    before = (magnitude.view(-1, 1, 1) * (up @ down)).sum(0)
    # D_2 = 0.6 D_0 + 0.8 D_1 exactly.
    new_up, new = fold(down, up, magnitude, own, 0.01)
    assert new.tolist() == pytest.approx([5.0, 7.0, 0.0])
    assert not new_up[2].any()
    assert torch.equal(new_up[:2], up[:2])
    torch.testing.assert_close((new.view(-1, 1, 1) * (new_up @ down)).sum(0), before)


@pytest.mark.parametrize(("tau", "merged"), [(0.35, False), (0.37, True)])
def test_it_merges_where_what_is_left_lies_below_the_threshold(tau, merged):
    # D_1 = 0.8 D_0 + a rest whose squared norm is 0.36.
    down, up = directions([1, 0, 0, 0], [0.8, 0, 0, 0.6])
    up_after, magnitude = fold(down, up, torch.tensor([1.0, 2.0]).double(), torch.tensor([False, True]), tau)
    assert magnitude.tolist() == pytest.approx([2.6, 0.0] if merged else [1.0, 2.0])
    assert torch.equal(up_after, up * torch.tensor([1.0, 0.0]).view(-1, 1, 1) if merged else up)


def test_the_first_direction_and_an_empty_one_are_not_merged():
    down, up = directions([1, 0, 0, 0], [0, 0, 0, 0])
    magnitude = torch.tensor([1.0, 2.0]).double()
    for own in ([True, False], [False, True]):
        after = fold(down, up, magnitude, torch.tensor(own), 0.5)
        assert torch.equal(after[0], up)
        assert torch.equal(after[1], magnitude)


def test_merged_adapters_are_dropped_and_the_model_goes_on(walk):
    # A threshold of 1 merges all that is not orthogonal to the earlier ones: all but the first is dropped.
    for moment, phase, tensors, *_ in walk(SDLoRA(warm=False, merge=1.0), STREAM, tiny_model):
        if moment == "end":
            assert norms(tensors).tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0], abs=1e-12)
            assert (tensors[MAGNITUDE][1 : phase.tasks[0] + 1] == 0).all()
            assert torch.isfinite(tensors[MAGNITUDE]).all()


def test_it_keeps_the_contract(level):
    check_strategy(get("sd-lora(warm=False, merge=0.9)"), level=level)


@pytest.mark.parametrize(
    ("terms", "line"),
    [
        ("magnitude=0", "magnitude must be above 0; found 0"),
        ("merge=1.5", "merge, a threshold, must lie in .0, 1.; found 1.5"),
        ("falls=[(0, 2)]", "falls must be pairs"),
        ("falls=[(2, 2), (1, 1)]", "falls must be pairs"),
        ("falls=[(1, 5)]", "falling ranks from 4 to 1; found .*5"),
        ("falls=[(1, 0)]", "falls must be pairs"),
        ("alpha=2", "alpha"),
        ("fresh=True", "fresh"),
    ],
)
def test_bad_settings_are_one_line(terms, line):
    with pytest.raises(PerdureError, match=line) as caught:
        get(f"sd-lora({terms})")
    assert "\n" not in str(caught.value)


def test_settings_make_a_name_that_builds_them_again():
    strategy = get("sd-lora(rank=3, falls=[(2, 2)], merge=0.1, targets=['1'])")
    assert get(str(strategy)) == strategy
