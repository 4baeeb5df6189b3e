"""Recorded functions compute what the functions compute, in the memory they were given."""

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad, vmap

from perdure.core.random import Rng, draw_bits, purpose_key
from perdure.engine.recording.trace import BLOCK, BLOCK_BYTES, Traced


def net():
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


def stacked(replicas=3):
    return {k: torch.randn(replicas, *v.shape) for k, v in net().named_parameters()}


MODULE = net()


def sgd(params, x):
    def loss(p, x):
        return functional_call(MODULE, p, (x,)).square().mean()

    grads = vmap(grad(loss))(params, x)
    return {k: torch.sub(p, grads[k], alpha=0.1) for k, p in params.items()}


def test_a_record_computes_the_same_and_writes_in_place():
    torch.manual_seed(0)
    params, x = stacked(), torch.randn(3, 4, 5)
    expected = sgd(sgd(params, x), x)
    traced = Traced(sgd, (params, x), donate=1)
    places = {k: v.data_ptr() for k, v in params.items()}
    for _ in range(2):
        params = traced(params, x)
    for k in expected:
        assert torch.allclose(params[k], expected[k], atol=1e-6)
        assert params[k].data_ptr() == places[k]


def test_recording_does_not_touch_its_arguments():
    params, x = stacked(), torch.randn(3, 4, 5)
    before = {k: v.clone() for k, v in params.items()}
    Traced(sgd, (params, x), donate=1)
    assert all(torch.equal(params[k], before[k]) for k in params)


def test_an_old_value_that_is_still_needed_is_not_overwritten():
    def follow(state):
        new = state["p"] + 1.0
        return {"p": new, "moved": state["moved"] + (new - state["p"]), "last": state["p"]}

    state = {"p": torch.zeros(3), "moved": torch.zeros(3), "last": torch.full((3,), -1.0)}
    traced = Traced(follow, (state,), donate=1)
    for i in range(4):
        state = traced(state)
        assert state["p"].tolist() == [i + 1.0] * 3
        assert state["last"].tolist() == [float(i)] * 3
        assert state["moved"].tolist() == [i + 1.0] * 3


def test_results_never_share_memory():
    def twice(state):
        new = state["a"] * 2.0
        return {"a": new, "b": new}

    traced = Traced(twice, ({"a": torch.ones(2), "b": torch.ones(2)},), donate=1)
    out = traced({"a": torch.ones(2), "b": torch.ones(2)})
    assert out["a"].data_ptr() != out["b"].data_ptr()


def test_swapped_arguments_stay_swapped():
    traced = Traced(
        lambda s: {"a": s["b"], "b": s["a"] + 1.0}, ({"a": torch.zeros(1), "b": torch.ones(1)},), 1
    )
    state = {"a": torch.tensor([0.0]), "b": torch.tensor([10.0])}
    state = traced(traced(state))
    assert (state["a"].item(), state["b"].item()) == (1.0, 11.0)


def test_scattered_updates_of_a_buffer_happen_in_place():
    def write(state, slot, value):
        return {"buffer": vmap(lambda b, i, v: b.index_put((i,), v))(state["buffer"], slot, value)}

    state = {"buffer": torch.zeros(2, 5)}
    slot, value = torch.tensor([[0, 3], [1, 2]]), torch.ones(2, 2)
    traced = Traced(write, (state, slot, value), donate=1)
    place = state["buffer"].data_ptr()
    state = traced(state, slot, value)
    assert state["buffer"].tolist() == [[1, 0, 0, 1, 0], [0, 1, 1, 0, 0]]
    assert state["buffer"].data_ptr() == place


@pytest.mark.parametrize("late", [False, True])
def test_what_is_written_on_twice_stays_in_place_if_the_first_result_is_read_before_the_second(late):
    def write(state, slot, value):
        first = state["buffer"].scatter(1, slot, value)
        second = first.scatter(1, slot + 1, value + first.gather(1, slot))
        seen = first[:, 1:3] * 2.0 if late else value
        return {"buffer": second}, seen

    def start():
        return {"buffer": torch.zeros(2, 5)}

    slot, value = torch.tensor([[0], [1]]), torch.ones(2, 1)
    expected, state = start(), start()
    traced = Traced(write, (start(), slot, value), donate=1)
    place = state["buffer"].data_ptr()
    for _ in range(2):
        (expected, shown), (state, seen) = write(expected, slot, value), traced(state, slot, value)
        assert torch.equal(expected["buffer"], state["buffer"])
        assert torch.equal(shown, seen)
    assert (state["buffer"].data_ptr() == place) != late


def test_draws_are_hoisted_and_equal_those_made_inside():
    def draw(seed, step):
        return vmap(lambda s: Rng(s, step).uniform("u", 3) + Rng(s, step).normal("n", 3))(seed)

    seed = torch.tensor([1, 5, 9])
    traced = Traced(draw, (seed, torch.tensor(0)))
    assert len(traced.draws) == 2
    for step in (0, 1, BLOCK - 1, BLOCK, 5 * BLOCK + 3, 2):
        assert torch.equal(traced(seed, torch.tensor(step), step=step), draw(seed, torch.tensor(step)))


def test_flops_are_those_of_the_matrix_products():
    params, x = stacked(), torch.randn(3, 4, 5)
    # forward and weight gradients of both layers, and the input gradient of the second
    expected = 3 * 4 * 2 * (2 * 5 * 7 + 3 * 7 * 3)
    assert Traced(sgd, (params, x)).flops == expected


@pytest.mark.parametrize(("groups", "inputs"), [(1, 8), (4, 2), (8, 1)])
def test_flops_of_a_convolution_in_groups_by_hand(groups, inputs):
    weight, x = torch.randn(8, inputs, 3, 3), torch.randn(2, 8, 5, 5)

    def slopes(weight, x):
        def loss(weight, x):
            return torch.nn.functional.conv2d(x, weight, padding=1, groups=groups).square().sum()

        return grad(loss, (0, 1))(weight, x)

    # The output, and the gradients of weights and inputs: 9 products for each pair of channels and place.
    assert Traced(slopes, (weight, x)).flops == 3 * 2 * (2 * 25) * 8 * inputs * 9


def test_a_branch_on_a_value_is_refused():
    def branch(x):
        return x * 2 if bool(x.sum() > 0) else x

    with pytest.raises(RuntimeError):
        Traced(lambda x: vmap(branch)(x), (torch.ones(2, 2),))


def test_a_plain_step_adds_the_gradients_product_to_the_weights():
    def step(params, rate, x):
        grads = vmap(grad(lambda p, x: functional_call(MODULE, p, (x,)).square().mean()))(params, x)
        return vmap(
            lambda p, g, lr: {k: torch.addcmul(p[k], g[k], lr, value=-1.0) for k in p}
        )(params, grads, rate)  # fmt: skip

    params, x, rate = stacked(), torch.randn(3, 4, 5), torch.tensor([0.1, 0.2, 0.3])
    expected = step(params, rate, x)
    traced = Traced(step, (params, rate, x), donate=1)
    targets = [str(node.target) for node in traced.graph.nodes]
    assert targets.count("baddbmm_") == 2
    assert traced.flops == 3 * 4 * 2 * (2 * 5 * 7 + 3 * 7 * 3)
    after = traced(params, rate, x)
    assert all(torch.allclose(after[k], expected[k], atol=1e-6) for k in expected)


def test_a_product_that_reads_another_weight_stays_before_that_weights_update():
    def step(params, rate, x):
        def loss(p):
            return (x @ p["a"] @ p["b"]).square().mean()

        grads = vmap(grad(loss))(params)
        return vmap(
            lambda p, g, lr: {k: torch.addcmul(p[k], g[k], lr, value=-1.0) for k in p}
        )(params, grads, rate)  # fmt: skip

    params = {"a": torch.randn(2, 3, 4), "b": torch.randn(2, 4, 3)}
    rate, x = torch.tensor([0.5, 0.2]), torch.eye(3)
    expected = step(params, rate, x)
    after = Traced(step, (params, rate, x), donate=1)(params, rate, x)
    assert all(torch.allclose(after[k], expected[k], atol=1e-6) for k in expected)


VIEWS = {
    "unfold": lambda p: p.unfold(0, 2, 1),
    "view_as_complex": lambda p: torch.view_as_complex(p.view(-1, 2)).real,
    "view_as_real": lambda p: torch.view_as_real(torch.complex(p, p)),
    "squeeze": lambda p: p[:, None].squeeze(),
    "diagonal": lambda p: p.view(2, 4).diagonal(),
    "t": lambda p: p.view(2, 4).t(),
    "split": lambda p: p.split(3)[1],
    "tensor_split": lambda p: p.tensor_split(3)[2],
    "unbind": lambda p: p.unbind(0)[3],
    "chunk": lambda p: p.chunk(2)[1],
    "narrow": lambda p: p.narrow(0, 2, 3),
    "select": lambda p: p.select(0, 5),
    "slice": lambda p: p[1:7:2],
    "expand": lambda p: p.expand(3, 8),
    "as_strided": lambda p: p.as_strided((3,), (2,)),
    "movedim": lambda p: p.view(2, 2, 2).movedim(0, 2),
    "permute": lambda p: p.view(2, 4).permute(1, 0),
    "view(dtype)": lambda p: p.view(torch.int32),
    "flatten": lambda p: p.view(2, 4).flatten(),
    "mT": lambda p: p.view(2, 4).mT,
    "unflatten": lambda p: p.unflatten(0, (4, 2)),
    "swapaxes": lambda p: p.view(2, 4).swapaxes(0, 1),
    "unsqueeze": lambda p: p.unsqueeze(0),
    "broadcast_to": lambda p: torch.broadcast_to(p, (2, 8)),
    "view_as": lambda p: p.view_as(torch.empty(4, 2)),
    "detach": lambda p: p.detach(),
    "real": lambda p: p.real,
    "hsplit": lambda p: p.hsplit(2)[1],
    "unsafe_split": lambda p: p.unsafe_split(3)[0],
    "unsafe_chunk": lambda p: p.unsafe_chunk(2)[1],
    "_unsafe_view": lambda p: torch.ops.aten._unsafe_view(p, (2, 4)),
    "alias": torch.ops.aten.alias,
    "contiguous": lambda p: p.contiguous(),
    "to": lambda p: p.to(p.dtype),
    "atleast_2d": lambda p: torch.atleast_2d(p),
    "meshgrid": lambda p: torch.meshgrid(p, p, indexing="ij")[0],
}
OTHER_KINDS = {"view(dtype)", "view_as_real", "view_as_complex"}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_read_before_what_it_shows_is_overwritten(name):
    def follow(state):
        seen = VIEWS[name](state["p"])
        new = state["p"] + 1.0
        # The view is read after the new value is there, as a hook behind the optimiser does.
        return {"p": new, "seen": state["seen"] + seen.double().sum() + 0.0 * new.sum()}

    def start():
        return {"p": torch.arange(8.0), "seen": torch.zeros((), dtype=torch.float64)}

    expected, state = start(), start()
    traced = Traced(follow, (state,), donate=1)
    for _ in range(3):
        expected, state = follow(expected), traced(state)
        assert torch.equal(expected["seen"], state["seen"])
        assert torch.equal(expected["p"], state["p"])


@pytest.mark.parametrize(
    "name", [n for n in VIEWS if n not in ("view(dtype)", "view_as_real", "view_as_complex")]
)
def test_what_is_returned_as_a_view_of_an_argument_is_a_tensor_of_its_own(name):
    def show(state):
        return {"p": state["p"] + 1.0, "shown": VIEWS[name](state["p"]) * 1}

    def start():
        return {"p": torch.arange(8.0), "shown": VIEWS[name](torch.arange(8.0)).clone()}

    expected, state = start(), start()
    traced = Traced(show, (state,), donate=1)
    for _ in range(3):
        expected, state = show(expected), traced(state)
        assert torch.equal(expected["shown"], state["shown"])


@pytest.mark.parametrize("name", VIEWS)
def test_an_intermediate_value_is_not_overwritten_while_a_view_of_it_is_read(name):
    def both(x):
        value = x.sin()
        seen = VIEWS[name](value)
        return value * 2.0, seen.double() * 3.0

    x = torch.arange(8.0)
    traced = Traced(both, (x,))
    for _ in range(2):
        assert all(map(torch.equal, traced(x), both(x)))


def test_an_intermediate_value_that_nothing_reads_any_more_is_overwritten():
    def penalty(fisher, param, pull, grad):
        return grad.exp() + 3.0 * (fisher * param - pull)

    passed = [torch.randn(2, 3) for _ in range(4)]
    traced = Traced(penalty, tuple(passed))
    expected, before = penalty(*passed), [value.clone() for value in passed]
    assert torch.equal(traced(*passed), expected)
    assert all(map(torch.equal, passed, before))
    written = [n.target for n in traced.graph.nodes if n.op == "call_method"]
    assert written == ["sub_", "mul_", "add_"]


UNARY = (torch.neg, torch.abs, torch.relu, lambda a: a**2, lambda a: a.abs().sqrt(), lambda a: a * 0.5)
BINARY = (torch.add, torch.sub, torch.mul, lambda a, b: a / (b.abs() + 1.0), lambda a, b: a.lerp(b, 0.25))
TERNARY = (torch.addcmul, lambda a, b, c: a.addcdiv(b, c.abs() + 1.0, value=0.5))
SHAPES = (
    lambda a: a.mT.contiguous().mT, lambda a: a[:1].expand(3, 3), lambda a: a.mT,
    lambda a: a.reshape(9).view(3, 3), lambda a: a.sum(0, keepdim=True).expand(3, 3), torch.clone,
)  # fmt: skip
OPERATIONS = [(1, f) for f in (*UNARY, *SHAPES)] + [(2, f) for f in BINARY] + [(3, f) for f in TERNARY]


@given(
    programs=st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.lists(st.integers(0, 40), min_size=3, max_size=3)),
        min_size=1,
        max_size=25,
    ),
    wanted=st.lists(st.integers(0, 40), min_size=2, max_size=2),
    donate=st.integers(0, 2),
)
@settings(deadline=None, max_examples=60)
def test_any_program_of_elementwise_operations_and_views_computes_the_same(programs, wanted, donate):
    def run(first, second):
        values = [first, second, torch.full((3, 3), 2.0)]
        for (arity, operation), places in programs:
            values.append(operation(*(values[place % len(values)] for place in places[:arity])))
        return [values[place % len(values)] for place in wanted]

    def start():
        return [torch.linspace(-1, 2, 9).view(3, 3), torch.linspace(3, -2, 9).view(3, 3)]

    expected, found = start(), start()
    traced = Traced(run, tuple(start()), donate=donate)
    for _ in range(2):
        expected, found = run(*expected), traced(*found)
        for a, b in zip(expected, found, strict=True):
            assert torch.equal(a.nan_to_num(), b.nan_to_num())
        found = [value.clone(memory_format=torch.contiguous_format) for value in found]


def test_constants_are_computed_once_and_never_written_on():
    def add(state):
        ones = torch.ones(3) * 2.0 + torch.arange(3.0)
        return {"p": state["p"] + ones, "last": ones}

    state = {"p": torch.zeros(3), "last": torch.zeros(3)}
    traced = Traced(add, (state,), donate=1)
    assert sum(node.op in ("call_function", "call_method") for node in traced.graph.nodes) == 2
    for i in range(3):
        state = traced(state)
        assert state["p"].tolist() == [2.0 * (i + 1), 3.0 * (i + 1), 4.0 * (i + 1)]
        assert state["last"].tolist() == [2.0, 3.0, 4.0]
        state["last"] = state["last"].fill_(9.0)  # the caller's own: the record's constant must not be it


def test_a_product_with_ones_is_no_work():
    traced = Traced(lambda x: torch.ones_like(x) * x.exp(), (torch.rand(3),))
    assert not any("mul" in str(node.target) for node in traced.graph.nodes)
    x = torch.rand(3)
    assert torch.equal(traced(x), x.exp())


@pytest.mark.parametrize(("zero", "operations"), [(0.0, 2), (-0.0, 1)])
def test_a_sum_with_negative_zeros_is_no_work_and_with_positive_ones_clears_a_sign(zero, operations):
    def add(x):
        return x.neg() + x.new_full((2,), zero)

    x = torch.tensor([0.0, 1.0])
    traced = Traced(add, (x,))
    nodes = traced.graph.nodes
    assert sum(node.op in ("call_function", "call_method") for node in nodes) == operations
    assert torch.equal(traced(x).signbit(), add(x).signbit())


def test_equal_numbers_of_other_kinds_are_not_shared():
    def both(x):
        return torch.stack([x * 0.0, x * -0.0]), x + 1, x.to(torch.int64) + True

    x = torch.tensor([1.0, 2.0])
    signs = Traced(both, (x,))(x)[0].signbit()
    assert signs.tolist() == [[False, False], [True, True]]


def test_draws_are_blocked_by_their_bytes():
    seed = torch.arange(4)
    for n, length in ((1, BLOCK), (1 << 16, BLOCK_BYTES // (8 * 4 << 16)), (1 << 20, 1)):

        def draw(seed, step, n=n):
            return vmap(lambda one: Rng(one, step).bits("u", n))(seed)

        traced = Traced(draw, (seed, torch.tensor(0)))
        found = [traced(seed, torch.tensor(step), step=step)[:, :3] for step in (0, 1, 7)]
        assert len(traced._block[0]) == length
        assert length == 1 or traced._block[0].nbytes <= BLOCK_BYTES
        for step, bits in zip((0, 1, 7), found, strict=True):
            assert torch.equal(bits, draw_bits(seed, torch.tensor(step), purpose_key("u"), n)[:, :3])


def test_a_record_lets_go_of_what_it_has_seen():
    state, data = {"p": torch.zeros(3)}, {"x": torch.ones(3)}
    traced = Traced(lambda s, d: {"p": s["p"] + d["x"]}, (state, data), donate=1)
    traced(state, data)
    gone = weakref.ref(data["x"])
    traced.forget()
    del data
    gc.collect()
    assert gone() is None
