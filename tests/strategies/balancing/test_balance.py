"""The strategies that balance tasks: whose gradients meet which weights, and what rules learn over steps."""

import importlib
import math
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.func import vmap

from perdure import PerdureError, check_strategy, compare
from perdure.core.random import Rng
from perdure.engine.engine import Engine
from perdure.optim.sgd import SGD
from perdure.scenarios import from_arrays
from perdure.strategies import BALANCING, EWC, Balance, FlatRegions, Phase, Strategy, get
from perdure.strategies.balancing import DWA, FAMO, GradNorm, RepMTL, Uncertainty
from perdure.strategies.balancing.rep_mtl import contrast, entropy, saliencies
from perdure.strategies.contract.composition import lay_out
from perdure.strategies.interop import torchjd
from perdure.testing import tiny_model, tiny_stream
from perdure.training import Training

STREAM = tiny_stream("task", (8, 8, 8))


def learn(strategy, stream=STREAM, model=tiny_model, epochs=1, batch=8, lr=0.1, seeds=(0,)):
    """Weights before and after, unrecorded, and the state."""
    training = Training(epochs, batch, SGD(), lr=lr, device="cpu", dtype="float64")
    engine = Engine(stream, strategy, training, model, list(seeds))
    engine.mapper.mapped = False
    engine.program = replace(engine.program, mappable=False)
    replica = engine.start()
    before = {k: v[0].clone() for k, v in replica.params.items()}
    for phase in lay_out(engine.strategy, stream):
        data = engine.load(phase)
        replica = engine.boundary(replica, phase, data, "begin_task")
        for replica in engine.train(replica, phase, data):  # noqa: B007, B020
            pass
        replica = engine.boundary(replica, phase, data, "end_task")
    return before, {k: v[0] for k, v in replica.params.items()}, replica.state


def each_loss(params, stream=STREAM):
    """Each task's loss at the parameters."""
    model, found = tiny_model((5,), stream.outputs).double(), []
    for task in stream:
        output = torch.func.functional_call(model, params, (task.train.inputs().double(),))
        loss = nn.functional.cross_entropy(output[:, list(task.outputs)], task.train.y - task.outputs[0])
        found.append(loss)
    return torch.stack(found)


def each_gradient(params, stream=STREAM, away=None):
    """Each task's gradient at the parameters (or at a place of its own), by autograd."""
    found = []
    for t in range(len(stream)):
        there = {k: v + (0 if away is None else away[t][k]) for k, v in params.items()}
        there = {k: v.detach().requires_grad_() for k, v in there.items()}
        slopes = torch.autograd.grad(each_loss(there, stream)[t], list(there.values()))
        found.append(dict(zip(there, slopes, strict=True)))
    return found


def stacked(each, names):
    return torch.stack([torch.cat([g[k].flatten() for k in names]) for g in each])


BODY, HEAD = ("1.weight", "1.bias"), ("3.weight", "3.bias")


@pytest.mark.parametrize("spec", ["mgda", "upgrad", "aligned-mtl", "cagrad", "nash-mtl(max_norm=0.3)"])
def test_shared_weights_get_the_weighed_sum_and_the_head_the_plain_one(spec, weigh):
    before, after, _ = learn(get(f"balance(rule={spec})"))
    each = each_gradient(before)
    weights = weigh(BALANCING.get(spec), stacked(each, BODY))
    for k in before:
        share = weights if k in BODY else torch.ones(3)
        expected = sum(w * g[k] for w, g in zip(share, each, strict=True))
        torch.testing.assert_close(before[k] - after[k], 0.1 * expected, rtol=1e-9, atol=1e-9)


def test_where_all_outputs_compete_on_every_task_the_head_is_weighed_too(weigh):
    stream = tiny_stream("domain", (8, 8, 8))
    before, after, _ = learn(get("balance(rule=mgda)"), stream)
    each = each_gradient(before, stream)
    weights = weigh(BALANCING.get("mgda"), stacked(each, before))
    for k in before:
        expected = sum(w * g[k] for w, g in zip(weights, each, strict=True))
        torch.testing.assert_close(before[k] - after[k], 0.1 * expected, rtol=1e-9, atol=1e-9)


def test_equal_weights_are_the_plain_sum():
    @dataclass(frozen=True)
    class Plain(Strategy):
        name: ClassVar[str] = "plain"

        def phases(self, stream):
            return [Phase(tuple(range(len(stream))), batch_per_task=True)]

    one, other = learn(get("balance(rule=equal)"), epochs=3)[1], learn(Plain(), epochs=3)[1]
    for k, v in one.items():
        torch.testing.assert_close(v, other[k])


def test_a_penalty_behind_the_losses_counts_once():
    @dataclass(frozen=True)
    class Pull(Strategy):
        name: ClassVar[str] = "pull"

        def losses(self, net, params, state, batch, losses):
            return torch.cat([losses, sum(p.square().sum() for p in params.values()).unsqueeze(0)])

    for spec in ("balance(rule=mgda)", "balance(rule=uncertainty)", "flat-regions(rule=mgda)"):
        for beside in (get(spec) + Pull(), Pull() + get(spec)):
            before, after, _ = learn(beside)
            alone = learn(get(spec))[1]
            for k, v in after.items():
                torch.testing.assert_close(alone[k] - v, 0.1 * 2 * before[k], msg=f"{beside}, {k}")


def test_several_labels_of_a_sample_are_balanced_like_tasks(weigh):
    source = torch.Generator().manual_seed(0)
    x = torch.randn(40, 5, generator=source)
    y = torch.stack([x[:, 0], 100 * x[:, 1], x[:, 2] - x[:, 0]], 1)
    y[0, 0] = torch.nan  # one is missing
    stream = from_arrays([(x, y)], "joint")
    for spec in ("uncertainty", "gradnorm", "mgda", "pcgrad"):
        _, after, state = learn(get(f"balance(rule={spec})"), stream, batch=20, lr=1e-5)
        assert all(v.isfinite().all() for v in after.values())
        if spec == "uncertainty":
            assert next(iter(state.values()))["value"].shape == (1, 3)


@pytest.mark.parametrize("spec", ["balance", "flat-regions", "balance(rule=gradnorm)"])
def test_a_model_that_shares_nothing_is_refused(spec):
    with pytest.raises(PerdureError, match="needs parameters that all tasks share; found none in Linear"):
        compare(STREAM, [spec], model=lambda shape, outputs: nn.Linear(5, outputs), seeds=1, quiet=True)


def test_a_layer_that_the_model_does_not_have_is_refused():
    needs = "needs a layer behind a shared representation in Sequential; found 'no'"
    with pytest.raises(PerdureError, match=needs):
        compare(STREAM, ["rep-mtl(layer='no')"], model="mlp(hidden=[4])", seeds=1, quiet=True)


def test_two_strategies_that_lay_out_phases_are_refused():
    with pytest.raises(PerdureError, match="at most one strategy with its own phases"):
        get("balance") + get("joint")


# ---- rules that learn ---------------------------------------------------------------------------------


def go(rule, losses, gram=None, afters=None):
    """The weights that a rule gives before each step, as rows."""
    zero = torch.tensor(0)
    state, rows = rule.init(losses.shape[1], losses), []
    for i, one in enumerate(losses):
        rows.append(rule.weights(gram, one, state, Rng(zero, zero)))
        state = rule.update(gram, one, one if afters is None else afters[i], state)
    return torch.stack(rows)


def falling(steps=12, tasks=3):
    rates = torch.linspace(0.05, 0.3, tasks, dtype=torch.float64)
    scales = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)
    return scales * torch.exp(-rates * torch.arange(steps, dtype=torch.float64).unsqueeze(1))


def scalarizer(name, *args, **kwargs):
    room = pytest.importorskip("torchjd.scalarization", reason="TorchJD is not installed")
    return getattr(room, name)(*args, **kwargs)


def slopes(made, losses):
    """What TorchJD's scalar weighs the losses with."""
    values = losses.clone().requires_grad_()
    return torch.autograd.grad(made(values), values)[0]


def test_uncertainty_is_torchjds_with_adam():
    losses, made = falling(), scalarizer("UW", 3).double()
    adam, rows = torch.optim.Adam(made.parameters(), lr=0.1), []
    for one in losses:
        rows.append(slopes(made, one))
        adam.zero_grad()
        made(one).backward()
        adam.step()
    torch.testing.assert_close(go(Uncertainty(lr=0.1), losses), torch.stack(rows))


def test_uncertainty_comes_to_rest_where_all_weighed_losses_are_one_half():
    losses = torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64).expand(600, 3)
    weighed = go(Uncertainty(lr=0.05), losses)[-1] * losses[-1]
    assert weighed.tolist() == pytest.approx([0.5] * 3, rel=1e-2)


def test_famo_is_torchjds():
    losses, made = falling(), scalarizer("FAMO", 3).double()
    afters, rows = losses * torch.tensor([0.9, 0.99, 0.5]), []
    for one, after in zip(losses, afters, strict=True):
        rows.append(slopes(made, one))
        made.update(after)
    found = go(FAMO(), losses, afters=afters)
    torch.testing.assert_close(found, torch.stack(rows), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.sum(1), torch.ones(12, dtype=torch.float64))
    # What fell least counts more and more, beside what it is due for its size.
    assert (found[:, 1] * losses[:, 1] / (found * losses).sum(1)).diff().min() > 0


def test_famo_sees_the_losses_before_the_step_and_after():
    before, after, state = learn(get("balance(rule=famo)"))
    fell = each_loss(before).log() - each_loss(after).log()
    slope = (fell - fell.mean()) / 3
    memory = next(iter(state.values()))["memory"]["first"]["value"][0]  # a tenth of the first slope
    torch.testing.assert_close(memory, 0.1 * slope.detach(), rtol=1e-6, atol=1e-12)


def test_dwa_is_torchjds_with_windows_for_epochs():
    losses, made, rows = falling(), scalarizer("DWA"), []
    for i, one in enumerate(losses):
        rows.append(slopes(made, one))
        if i % 3 == 2:
            made.step()
    found = go(DWA(every=3), losses)
    torch.testing.assert_close(found, torch.stack(rows))
    assert (found[:6] == 1).all()
    # The first falls slowest.
    assert found[6, 0] > found[6, 1] > found[6, 2]


def test_gradnorm_by_hand():
    gram = torch.diag(torch.tensor([1.0, 9.0], dtype=torch.float64))
    losses = torch.ones(400, 2, dtype=torch.float64)
    found = go(GradNorm(alpha=0.0, lr=0.05), losses, gram)
    assert found[0].tolist() == [1, 1]
    torch.testing.assert_close(found.sum(1), torch.full((400,), 2.0, dtype=torch.float64))
    # At rest w_1 = 3 w_2.
    assert found[-1].tolist() == pytest.approx([1.5, 0.5], abs=0.03)
    # The second has fallen by half: with alpha 1 its gradient is to be half as long as the first's.
    losses[1:, 1] = 0.5
    last = go(GradNorm(alpha=1.0, lr=0.05), losses, gram)[-1]
    assert last.tolist() == pytest.approx([12 / 7, 2 / 7], abs=0.03)


def test_gradnorms_weights_follow_the_slope_of_what_it_minimises():
    gram = torch.diag(torch.tensor([1.0, 9.0, 4.0], dtype=torch.float64))
    rule, value = GradNorm(alpha=0.5), torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    losses, first = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    length = 3 * torch.softmax(value, -1) * gram.diagonal().sqrt()
    target = (length.mean() * (losses / losses.mean()) ** 0.5).detach()
    (slope,) = torch.autograd.grad((length - target).abs().sum(), value)
    state = rule.init(3, losses)
    state["memory"]["count"] += 1  # the losses of the first step are known
    found = rule.update(gram, losses, losses, {**state, "value": value.detach(), "first": first})
    torch.testing.assert_close(found["memory"]["first"]["value"], 0.1 * slope)
    assert torch.equal(found["first"], first)


def toy(scales=(1.0, 100.0)):
    """Chen et al. 2018: y_i = s_i tanh((B + e_i) x)."""
    source = torch.Generator().manual_seed(0)
    shared, x = torch.randn(1, 5, generator=source), torch.randn(200, 5, generator=source)
    own = [0.3 * torch.randn(1, 5, generator=source) for _ in scales]
    y = torch.cat([s * torch.tanh(x @ (shared + e).mT) for s, e in zip(scales, own, strict=True)], 1)
    y[0, 0] = torch.nan  # one is missing
    return from_arrays([(x, y)], "joint")


def test_gradnorm_turns_down_the_loss_of_the_larger_scale():
    _, _, state = learn(Balance(GradNorm(alpha=0.12, lr=0.1)), toy(), epochs=5, batch=20, lr=1e-5)
    weights = 2 * torch.softmax(next(iter(state.values()))["value"][0], -1)
    assert float(weights[1]) < 0.1
    assert float(weights.sum()) == pytest.approx(2)


# ---- flat regions -------------------------------------------------------------------------------------


def test_flat_regions_by_autograd(weigh):
    before, after, _ = learn(FlatRegions("mgda", rho=0.2))
    each = each_gradient(before)
    lengths = {k: stacked(each, part).norm(dim=1) for part in (BODY, HEAD) for k in part}
    away = [{k: 0.2 * v / lengths[k][t] for k, v in g.items()} for t, g in enumerate(each)]
    beyond = each_gradient(before, away=away)
    flat = [{k: there[k] - g[k] for k in g} for there, g in zip(beyond, each, strict=True)]
    rule = BALANCING.get("mgda")
    shares = [weigh(rule, stacked(some, BODY)) for some in (each, flat)]
    for k in before:
        expected = sum(
            w * g[k]
            for share, some in zip(shares, (each, flat), strict=True)
            for w, g in zip(share if k in BODY else torch.ones(3), some, strict=True)
        )
        torch.testing.assert_close(before[k] - after[k], 0.1 * expected, rtol=1e-8, atol=1e-9)


# ---- saliency -----------------------------------------------------------------------------------------


def test_entropy_and_contrast_by_hand():
    # The first feature matters to both tasks alike, the second to the first task alone.
    found = torch.tensor([[[1.0, 2.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    assert float(entropy(found)) == pytest.approx(math.log(2) / 2)
    # Affinities (2, 2; 2, 4) and (4, 0; 0, 0): rows of length 1 (a, a), (b, 2 b), and (1, 0), (0, 0).
    a, b = 0.5**0.5, 0.2**0.5

    def miss(right, wrong):
        return math.log(1 + math.exp(wrong - right))

    by_hand = miss(a, 0) + miss(0, b) + miss(a, b) + miss(0, 0)
    assert float(contrast(found, 1.0)) == pytest.approx(by_hand / 4)
    assert float(contrast(found[:1], 1.0)) == 0


def test_saliencies_are_slopes_in_what_goes_into_the_head():
    seen = []

    @dataclass(frozen=True)
    class Looks(RepMTL):
        name: ClassVar[str] = "looks"

        def losses(self, net, params, state, batch, losses):
            seen.append((saliencies(net, params, batch, "3").detach(), batch.task))
            return super().losses(net, params, state, batch, losses)

    before, after, _ = learn(Looks(regulation=0.0, alignment=0.0))
    plain = learn(get("balance(rule=equal)"))[1]
    for k, v in after.items():
        torch.testing.assert_close(v, plain[k])
    found, task = seen[0]
    assert found.shape == (3, 24, 6)
    for t in range(3):
        assert (found[t][task != t] == 0).all()
        assert (found[t][task == t] != 0).any()
    # What goes in passes through the head's weights: each slope lies in the span of the task's own two rows.
    rows = before["3.weight"][2:4]
    inside = found[1] @ torch.linalg.pinv(rows) @ rows
    torch.testing.assert_close(inside, found[1])


def test_regulation_makes_the_tasks_ask_for_features_of_their_own():
    ends = []

    @dataclass(frozen=True)
    class Watches(RepMTL):
        name: ClassVar[str] = "watches"

        def losses(self, net, params, state, batch, losses):
            ends.append(float(entropy(saliencies(net, params, batch, "3").detach())))
            return super().losses(net, params, state, batch, losses)

    learned = {}
    for strength in (0.0, 5.0):
        ends.clear()
        learn(Watches(regulation=strength, alignment=0.0), epochs=15)
        learned[strength] = ends[-1]
    assert learned[5.0] < 0.8 * learned[0.0]


def test_contract_of_rep_mtl(level):
    check_strategy(RepMTL(), level=level)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("rep-mtl(temperature=0)", "temperature must be positive; found 0"),
        ("rep-mtl(regulation=-1)", "regulation must be at least 0; found -1"),
        ("flat-regions(rule=dwa)", "flat-regions: rule must be one that weighs gradients"),
        ("flat-regions(rho=0)", "rho must be positive; found 0"),
        ("balance(rule=3)", "balance: rule must be"),
        ("balance(rule=none)", "balance: rule must be"),
        ("balance(rule=mean)", "unknown balancing rule 'mean'"),
    ],
)
def test_refusals(spec, line):
    with pytest.raises(PerdureError) as caught:
        get(spec)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- the contract -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["dwa(every=2)", *(n for n in BALANCING if n not in ("dwa", "torchjd"))])
def test_contract_of_every_rule(rule, level):
    check_strategy(get(f"balance(rule={rule})"), level=level)


def test_contract_of_flat_regions(level):
    check_strategy(FlatRegions("cagrad"), level=level)


def test_contract_in_company():
    check_strategy(get("balance(rule=gradnorm)") + EWC(), level="quick")


# ---- TorchJD's rules by name --------------------------------------------------------------------------

INSTALLED = pytest.mark.skipif(find_spec("torchjd") is None, reason="TorchJD is not installed")


@INSTALLED
@pytest.mark.parametrize("spec", ["AlignedMTL", "MGDA, epsilon=1e-9", "IMTLG", "PCGrad"])
def test_torchjds_rules_weigh_for_each_replica_as_they_do(spec, gradients, weigh):
    rule = BALANCING.get(f"torchjd({spec})")
    assert BALANCING.get(repr(rule)) == rule
    rows = torch.stack([gradients("independent", seed) for seed in range(3)])
    name, _, given = spec.partition(", ")
    kind = getattr(importlib.import_module("torchjd.aggregation"), name)
    made = kind(epsilon=1e-9) if given else kind()
    step = torch.tensor(0)

    def one(some, seed):
        return rule.weights(some @ some.mT, some[:, 0], {}, Rng(seed, step))

    found = vmap(one)(rows, torch.arange(3))
    for i, (some, weights) in enumerate(zip(rows, found, strict=True)):
        torch.testing.assert_close(one(some, torch.tensor(i)), weights)
        if name != "PCGrad":
            torch.testing.assert_close(weights @ some, made(some))
    before = torch.get_rng_state()
    vmap(one)(rows, torch.arange(3))
    assert torch.equal(torch.get_rng_state(), before)


@INSTALLED
def test_contract_of_torchjds_rules():
    pytest.importorskip("quadprog", reason="TorchJD's solver of quadratic problems is not installed")
    check_strategy(get("balance(rule=torchjd)"), level="quick")
    check_strategy(get("balance(rule=torchjd(PCGrad))"), level="quick")


@INSTALLED
@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("torchjd(CAGrad)", "TorchJD's CAGrad takes c, norm_eps; found {}: missing a required argument: 'c'"),
        ("torchjd(GradDrop)", "unknown TorchJD aggregator that weighs by products of gradients 'GradDrop'"),
        ("torchjd(NashMTL, n_tasks=3)", "unknown TorchJD aggregator"),
        ("torchjd(AlignedMTL, scale=1)", "AlignedMTL takes pref_vector, scale_mode; found {'scale': 1}"),
    ],
)
def test_what_torchjd_does_not_have_is_refused(spec, line):
    with pytest.raises(PerdureError) as caught:
        BALANCING.get(spec)
    assert line in str(caught.value)


def test_without_torchjd_its_rules_are_refused_before_any_work(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module", name="torchjd.aggregation")

    monkeypatch.setattr(torchjd.importlib, "import_module", absent)
    torchjd.find_weighting.cache_clear()
    with pytest.raises(PerdureError, match=r"needs TorchJD: pip install perdure\[torchjd\]"):
        BALANCING.get("torchjd(MGDA)")
    with pytest.raises(PerdureError, match=r"needs TorchJD: pip install perdure\[torchjd\]"):
        compare(STREAM, ["balance(rule=torchjd)"], seeds=1, quiet=True)
