"""Every balancing rule: what a step means, properties, values by hand, and TorchJD's."""

from importlib.util import find_spec

import pytest
import torch
from torch.func import vmap

from perdure import PerdureError
from perdure.strategies import BALANCING, Rule, balancing_rule
from perdure.strategies.balancing import CAGrad, NashMTL, PCGrad
from perdure.strategies.balancing.gramian import gramian, last_layer, unit_rows
from perdure.strategies.balancing.mgda import shortest_mean
from perdure.strategies.balancing.pcgrad import projected

KINDS = ("independent", "dependent", "opposed", "crowded", "lengths", "huge", "zero", "one zero")
# Of the gradients' products.
GRADIENT_RULES = [
    "pcgrad", "mgda", "cagrad", "cagrad(c=0.9)", "cagrad(c=1.5)", "imtl-g", "nash-mtl",
    "nash-mtl(max_norm=0.0)", "upgrad", "dualproj", "aligned-mtl", "aligned-mtl(scale=mean)",
]  # fmt: skip
NON_CONFLICTING = ["mgda", "upgrad", "dualproj"]
# What stands still when every loss is multiplied by 3 but for the length of the step, which triples.
HOMOGENEOUS = [spec for spec in GRADIENT_RULES if not spec.startswith("nash")]


def built():
    return [name for name in BALANCING if name != "torchjd" or find_spec("torchjd")]


def test_every_rule_of_gradients_is_tested_here():
    needing = {name for name in built() if BALANCING.get(name).needs == "gradients"}
    assert needing - {"torchjd"} == {spec.partition("(")[0] for spec in GRADIENT_RULES}


@pytest.mark.parametrize("name", built())
def test_a_rule_is_what_its_text_builds(name):
    rule = BALANCING.get(name)
    assert BALANCING.get(repr(rule)) == rule
    assert rule.name == name
    assert len(type(rule).__doc__.split()) > 20
    assert "Source:" in type(rule).__doc__ or name == "equal"


# ---- properties ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", built())
def test_one_task_keeps_its_direction(spec, gradients, weigh):
    if spec == "torchjd":
        pytest.skip("what its aggregators do is theirs")
    rows = gradients("independent", tasks=4)[:1]
    (weight,) = weigh(BALANCING.get(spec), rows)
    length = {"uncertainty": 0.5, "cagrad": 1.4, "nash-mtl": 1 / float(rows.norm())}.get(spec, 1.0)
    assert float(weight) == pytest.approx(length)


@pytest.mark.parametrize("spec", GRADIENT_RULES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_tasks_does_not_matter(spec, kind, gradients, weigh):
    rows, order = gradients(kind), torch.tensor([3, 0, 4, 1, 2])
    rule = BALANCING.get(spec)
    if spec == "pcgrad":  # the order in which each goes through the others moves along
        turns = torch.randperm(5, generator=torch.Generator().manual_seed(0)).expand(5, 5)
        place = order.argsort()
        one = projected(rows @ rows.mT, turns).sum(0) @ rows
        other = projected(rows[order] @ rows[order].mT, place[turns]).sum(0) @ rows[order]
    else:
        one, other = weigh(rule, rows) @ rows, weigh(rule, rows[order]) @ rows[order]
    torch.testing.assert_close(one, other, rtol=1e-6, atol=2e-6 * float(rows.norm()))


@pytest.mark.parametrize("spec", HOMOGENEOUS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_scales_with_the_losses(spec, kind, gradients, weigh):
    rows, rule = gradients(kind), BALANCING.get(spec)
    torch.testing.assert_close(
        weigh(rule, 3e-9 * rows) @ rows, weigh(rule, rows) @ rows, rtol=1e-6, atol=1e-6 * float(rows.norm())
    )


@pytest.mark.parametrize("spec", NON_CONFLICTING)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_conflicts_with_no_task(spec, kind, gradients, weigh):
    for seed in range(4):
        rows = gradients(kind, seed)
        step = weigh(BALANCING.get(spec), rows) @ rows
        scale = rows.norm(dim=1) * rows.norm()
        assert (rows @ step >= -1e-9 * scale).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["independent", "dependent", "lengths", "huge"])
def test_scales_of_single_losses_do_not_matter_to_the_bargain(kind, seed, gradients, weigh):
    rows = gradients(kind, seed)
    scaled = rows * torch.tensor([[1e-3], [1.0], [20.0], [1.0], [300.0]], dtype=torch.float64)
    one, other = (weigh(NashMTL(), some) @ some for some in (rows, scaled))
    torch.testing.assert_close(one, other)
    free = weigh(NashMTL(max_norm=0), rows)
    gains = rows @ (free @ rows)
    product = free * gains  # of `G w = 1 / w`, up to the square of the step's scale
    torch.testing.assert_close(product, product[:1].expand(5), rtol=1e-6, atol=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["independent", "dependent", "lengths", "crowded", "opposed"])
def test_the_shortest_mean_meets_the_conditions_of_optimality(kind, seed, gradients):
    rows = gradients(kind, seed)
    gram = rows @ rows.mT / rows.square().sum()
    share = shortest_mean(gram)
    slope = gram @ share
    assert (share >= 0).all()
    assert float(share.sum()) == pytest.approx(1)
    assert float(slope.min() - share @ slope) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("c", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("kind", ["independent", "dependent", "lengths"])
def test_cagrads_step_is_the_best_for_the_worst_task_in_the_ball(kind, c, gradients, weigh):
    rows = gradients(kind)
    mean = rows.mean(0)
    step = weigh(CAGrad(c=c), rows) @ rows
    assert float((step - mean).norm()) == pytest.approx(c * float(mean.norm()))
    worst = float((rows @ step).min())
    source = torch.Generator().manual_seed(0)
    for nearness in (1e-4, 1e-2, 1.0):
        away = torch.randn(200, rows.shape[1], generator=source, dtype=torch.float64) * nearness + (
            step - mean
        )
        others = mean + c * mean.norm() * away / away.norm(dim=1, keepdim=True)
        assert float((others @ rows.mT).amin(1).max()) <= worst + 1e-9 * abs(worst)


def test_imtl_goes_equally_far_along_every_task(gradients, weigh):
    rows = gradients("lengths")
    weights = weigh(BALANCING.get("imtl-g"), rows)
    along = rows @ (weights @ rows) / rows.norm(dim=1)
    torch.testing.assert_close(along, along[:1].expand(5))
    assert float(weights.sum()) == pytest.approx(1)


def test_aligned_gradients_are_orthogonal_and_of_the_least_length(gradients):
    rows = gradients("independent")
    values, vectors = torch.linalg.eigh(rows @ rows.mT)
    aligned = values[0].sqrt() * vectors @ torch.diag(values.rsqrt()) @ vectors.mT @ rows
    torch.testing.assert_close(aligned @ aligned.mT, float(values[0]) * torch.eye(5, dtype=torch.float64))


def test_pcgrad_draws_another_order_at_each_step(gradients, weigh):
    rows = gradients("opposed")
    steps = [weigh(PCGrad(), rows, step=s) for s in (0, 0, 1)]
    assert torch.equal(steps[0], steps[1])
    assert not torch.equal(steps[0], steps[2])


@pytest.mark.parametrize("spec", GRADIENT_RULES)
def test_each_problem_of_a_batch_is_solved_as_alone(spec, gradients, weigh):
    rule = BALANCING.get(spec)
    if spec == "pcgrad":
        pytest.skip("its orders are drawn: replicas are compared in the strategy's own tests")
    kinds = [kind for kind in KINDS if kind != "crowded"]
    rows = torch.stack([gradients(kind, seed) for kind in kinds for seed in range(3)])
    found = vmap(lambda one: rule.weights(one @ one.mT, one[:, 0], {}, None))(rows)
    for one, expected in zip(rows, found, strict=True):
        alone = weigh(rule, one) @ one
        torch.testing.assert_close(expected @ one, alone, rtol=1e-7, atol=1e-7 * float(one.norm() + 1e-300))


# ---- by hand ------------------------------------------------------------------------------------------

# Of (1, 0) and (-1, 1): they conflict. G = [[1, -1], [-1, 2]].
CONFLICT = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
# Of lengths 1 and 2, at a right angle.
RIGHT = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
ROOT2 = 2**0.5


@pytest.mark.parametrize(
    ("spec", "rows", "step"),
    [
        # (1, 0) + (-1, 1) / 2 = (1/2, 1/2), and (-1, 1) + (1, 0) = (0, 1).
        ("pcgrad", CONFLICT, [0.5, 1.5]),
        ("pcgrad", RIGHT, [1, 2]),
        # The nearest point to 0 on the line through both is 3/5 of the first.
        ("mgda", CONFLICT, [0.2, 0.4]),
        ("mgda", RIGHT, [0.8, 0.4]),
        # The mean of pcgrad's two.
        ("upgrad", CONFLICT, [0.25, 0.75]),
        ("upgrad", RIGHT, [0.5, 1]),
        # The mean, (0, 1/2), is at right angles to the first: left alone.
        ("dualproj", CONFLICT, [0, 0.5]),
        ("cagrad(c=0.0)", CONFLICT, [0, 0.5]),
        # (x, y) at distance 2/5 from (0, 1/2) with x = y - x: 5 x^2 - 2 x + 0.09 = 0, the larger root.
        ("cagrad(c=0.8)", CONFLICT, [(2 + 2.2**0.5) / 10, (2 + 2.2**0.5) / 5]),
        # x = (y - x) / sqrt 2, and w sums to 1.
        ("imtl-g", CONFLICT, [(1 + ROOT2) / (3 + 2 * ROOT2), 1]),
        ("imtl-g", RIGHT, [2 / 3, 2 / 3]),
        # x (y - x) is largest on the circle x^2 + y^2 = 1 at the angle 3/8 pi.
        ("nash-mtl", CONFLICT, [0.5 * (2 - ROOT2) ** 0.5, 0.5 * (2 + ROOT2) ** 0.5]),
        ("nash-mtl", RIGHT, [1 / ROOT2, 1 / ROOT2]),
        # Length 1 each: half of both.
        ("aligned-mtl", RIGHT, [0.5, 0.5]),
        ("aligned-mtl(scale=mean)", RIGHT, [0.5 * 2.5**0.5, 0.5 * 2.5**0.5]),
    ],
)
def test_a_step_of_two_tasks_by_hand(spec, rows, step, weigh):
    found = weigh(BALANCING.get(spec), rows) @ rows
    if spec == "imtl-g" and rows is CONFLICT:
        # Only its direction is as easy: the second number is the first times 1 + sqrt 2.
        assert float(found[1] / found[0]) == pytest.approx(1 + ROOT2)
        return
    assert found.tolist() == pytest.approx(step, abs=1e-7)


def test_where_no_direction_is_better_for_all_there_is_no_step(weigh):
    opposite = torch.tensor([[1.0, 0.0], [-2.0, 0.0]], dtype=torch.float64)
    for spec in ("mgda", "upgrad", "dualproj", "cagrad(c=1.0)", "nash-mtl"):
        step = weigh(BALANCING.get(spec), opposite) @ opposite
        assert float(step.norm()) == pytest.approx(0, abs=2e-4 if spec == "nash-mtl" else 1e-6), spec


# ---- TorchJD ------------------------------------------------------------------------------------------


def oracle(spec, monkeypatch):
    """TorchJD's aggregator, and how far its solver may be off."""
    jd = pytest.importorskip("torchjd.aggregation", reason="TorchJD is not installed")
    linalg = pytest.importorskip("torchjd._linalg", reason="TorchJD is not installed")

    def exact():
        pytest.importorskip("quadprog", reason="TorchJD's solver of quadratic problems is not installed")
        return linalg.QuadprogProjector(norm_eps=1e-30, reg_eps=1e-13)

    def conic(make):
        pytest.importorskip("cvxpy", reason="TorchJD's solver of conic problems is not installed")
        return make()

    made = {
        "pcgrad": lambda: (jd.PCGrad(), 1e-9),
        "upgrad": lambda: (jd.UPGrad(projector=exact()), 1e-6),
        "dualproj": lambda: (jd.DualProj(projector=exact()), 1e-6),
        # Steps of Frank-Wolfe close in slowly.
        "mgda": lambda: (jd.MGDA(1e-9, 300), 0.05),
        "cagrad": lambda: (conic(lambda: jd.CAGrad(0.4)), 5e-4),
        "cagrad(c=0.9)": lambda: (conic(lambda: jd.CAGrad(0.9)), 5e-4),
        "cagrad(c=1.5)": lambda: (conic(lambda: jd.CAGrad(1.5)), 5e-4),
        "imtl-g": lambda: (jd.IMTLG(), 1e-7),
        "aligned-mtl": lambda: (jd.AlignedMTL(), 1e-7),
        "aligned-mtl(scale=mean)": lambda: (jd.AlignedMTL(scale_mode="rmse"), 1e-7),
    }
    return made[spec]()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", [s for s in GRADIENT_RULES if not s.startswith("nash")])
def test_a_step_is_torchjds(spec, kind, gradients, weigh, monkeypatch):
    aggregator, tolerance = oracle(spec, monkeypatch)
    rule = BALANCING.get(spec)
    for seed in range(3):
        rows = gradients(kind, seed)
        if spec == "pcgrad":
            turns = torch.rand(5, 5, generator=torch.Generator().manual_seed(seed)).argsort(-1)
            coming = iter(turns)
            monkeypatch.setattr(torch, "randperm", lambda n, coming=coming: next(coming))
            found = projected(rows @ rows.mT, turns).sum(0) @ rows
        else:
            found = weigh(rule, rows) @ rows
        expected = aggregator(rows)
        scale = max(float(expected.norm()), 1e-2 * float(rows.norm()))
        if spec == "mgda":  # what is looked for is the shortest
            assert float(found.norm()) <= float(expected.norm()) * (1 + 1e-9)
            scale = float(rows.norm())
        assert float((found - expected).norm()) <= tolerance * scale, seed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["independent", "dependent", "crowded", "lengths", "huge"])
def test_the_bargain_meets_its_condition_of_optimality(kind, seed, gradients, weigh):
    # TorchJD's is no oracle for the last two: its solver, given the size of the products as it is, ends at
    # weights whose w_t (G w)_t differs between the tasks by a factor of 2 or more, where 1 is asked for.
    rows = gradients(kind, seed)
    gram = rows @ rows.mT
    cosines, unit = unit_rows(gram)
    w = weigh(NashMTL(max_norm=0), rows) / (unit * torch.linalg.matrix_norm(gram).sqrt())
    assert (w > 0).all()
    torch.testing.assert_close(cosines @ w, 1 / w, rtol=1e-7, atol=0)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # of its solver
@pytest.mark.parametrize("kind", ["independent", "dependent"])
def test_the_bargain_is_torchjds_where_its_solver_finds_it(kind, gradients, weigh):
    jd = pytest.importorskip("torchjd.aggregation", reason="TorchJD is not installed")
    pytest.importorskip("ecos", reason="TorchJD's solver of conic problems is not installed")
    rows = gradients(kind)
    expected = jd.NashMTL(n_tasks=5)(rows)
    torch.testing.assert_close(weigh(NashMTL(), rows) @ rows, expected, rtol=0, atol=2e-2)


# ---- the table ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("pcgrat", "unknown balancing rule 'pcgrat': did you mean pcgrad"),
        ("cagrad(c=-1)", "c must be at least 0; found -1"),
        ("cagrad(c='x')", "cagrad: c must be a number; found 'x'"),
        ("nash-mtl(max_norm=-1)", "max_norm must be at least 0; found -1"),
        ("aligned-mtl(scale=max)", "scale must be 'min' or 'mean'; found 'max'"),
        ("dwa(every=0)", "every must be a whole number of at least 1; found 0"),
        ("dwa(temperature=0)", "temperature must be positive; found 0"),
        ("uncertainty(lr=0)", "lr must be positive; found 0"),
        ("famo(decay=-1)", "decay must be at least 0; found -1"),
        ("gradnorm(alpha=-1)", "alpha must be at least 0; found -1"),
    ],
)
def test_refusals(spec, line):
    with pytest.raises(PerdureError) as caught:
        BALANCING.get(spec)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rule_of_ones_own(monkeypatch):
    monkeypatch.setattr(BALANCING, "_makers", dict(BALANCING._makers))

    @balancing_rule("first")
    class First(Rule):
        share: float = 0.9

    assert repr(First(0.5)) == "first(share=0.5)"
    assert BALANCING.get("first(share=0.5)") == First(0.5)
    with pytest.raises(PerdureError, match="First does not say how to weigh: override `weights`"):
        First().weights(torch.zeros(0), torch.zeros(2), {}, None)
    with pytest.raises(PerdureError, match="expected a class of balancing rules to call 'x'; found"):
        balancing_rule("x")(dict)
    with pytest.raises(PerdureError, match="Other is called 'x' by @balancing_rule; found name = 'y'"):
        balancing_rule("x")(type("Other", (Rule,), {"name": "y"}))


def test_products_are_those_of_the_chosen_parameters_of_the_tasks():
    source = torch.Generator().manual_seed(0)
    grads = {
        k: torch.randn(3, *shape, generator=source) for k, shape in {"a": (2, 4), "b": (5,), "c": ()}.items()
    }
    rows = torch.cat([grads["a"].flatten(1), grads["b"]], 1)[:2].double()
    torch.testing.assert_close(gramian(grads, ["a", "b"], 2), rows @ rows.mT, rtol=1e-6, atol=1e-6)
    assert last_layer(["body.0.weight", "body.0.bias", "gate.weight"]) == ("gate.weight",)


def test_a_gradient_of_zero_has_no_length_to_divide_by():
    cosines, unit = unit_rows(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
    assert cosines.tolist() == [[1, 0], [0, 0]]
    assert unit.tolist() == [0.5, 0]
