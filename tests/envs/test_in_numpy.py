"""Functions of tensors in NumPy give what they give in torch."""

import numpy as np
import pytest
import torch

from perdure.core.random import Rng
from perdure.envs import ENVS, get
from perdure.envs.copies import Copies
from perdure.envs.in_numpy import _Recorder, in_numpy
from perdure.envs.numpy_rules import RULES

FLOATS = torch.linspace(-2.3, 2.9, 12).view(4, 3)
MORE = FLOATS.flip(0) + 0.1
WHOLE = torch.arange(-4, 8).view(4, 3)
TRUE = FLOATS > 0.5
ARGUMENTS = [FLOATS, MORE, WHOLE, TRUE]

FUNCTIONS = {
    "arithmetic": lambda x, y, i, b: [x + y, x - y, x * y, x / y, 2 + x, 2 - x, 2 * x, 2 / x, -x, x.abs()],
    "types": lambda x, y, i, b: [i + 1.5, i * x, i / 2, i / 3 * b, b * 2.5, b + i, x.double() * y, x.long()],
    "comparisons": lambda x, y, i, b: [x > y, x >= 0.5, x < i, i <= 2.5, i == 3, x != y, b == (y > 0), i > 2],
    "logic": lambda x, y, i, b: [
        b & (y > 0), b | (y > 0), ~b, ~i, i & 3, i | 4, b ^ (y > 0), i.logical_not(), x.logical_and(b),
        b.logical_or(i),
    ],
    "functions": lambda x, y, i, b: [
        x.sin(), x.cos(), x.tan(), x.exp(), x.abs().log(), x.abs().sqrt(), x.tanh(), x.floor(), x.sign(),
        torch.atan2(x, y), i.sin(), x.round(), x.remainder(2.0), i % 3, b.float(), i.byte(),
    ],
    "powers": lambda x, y, i, b: [x.square(), x**2, i**2, x.abs() ** 0.5, x**3, x.abs() ** y, 2.0**x],
    "ranges": lambda x, y, i, b: [
        x.clamp(-1, 1), x.clamp(min=0), x.clamp(max=0.5), x.clamp_min(1), i.clamp(-1, 2),
        x.clamp(-y, y.abs()), torch.maximum(x, y), torch.minimum(x, i),
    ],
    "choices": lambda x, y, i, b: [
        torch.where(b, x, y), torch.where(b, 1.0, x), torch.where(b, i, 0), torch.where(b, x, i),
        x.gather(1, (i % 3)), x.index_select(0, torch.tensor([2, 0])), i.argmax(1), x[i[:, 1] % 4],
    ],
    "views": lambda x, y, i, b: [
        x[:, 1], x[-1], x[1:3], x[:, ::2], *x.unbind(1), *i.unbind(), x.unsqueeze(-1), x.unsqueeze(1), x.t(),
        x.view(3, 4), x.flatten(), x.reshape(2, 6), x.unsqueeze(0).squeeze(0), x.expand(2, 4, 3),
        x[:, None, 2:], x.permute(1, 0).reshape(-1),
    ],
    "orders": lambda x, y, i, b: [
        x.argsort(-1), i.argsort(1, descending=True), b.long().argsort(stable=True), *x.sort(0), *y.topk(2),
        torch.searchsorted(x.flatten(), y, sorter=x.flatten().argsort()), *x.max(1), i.argmin(0, True),
    ],
    "places": lambda x, y, i, b: [
        i.gather(1, (i % 3)), i.unsqueeze(-1).gather(1, (i % 3).unsqueeze(-1)), x.scatter(1, i % 3, y),
        x.take_along_dim(i % 3, 1), x[torch.arange(4), i[:, 1] % 3], x[:, i[0] % 3], x.masked_fill(b, 0.0),
        i.scatter_add(1, i % 3, i), torch.nn.functional.pad(i, (0, 2, 1, 0)), i.unsqueeze(1).expand(4, 2, 3),
    ],
    "joins": lambda x, y, i, b: [
        torch.stack([x, y]), torch.stack([x, y], -1), torch.stack([x, i], 1), torch.cat([x, y], 1),
        torch.cat([i, b.long()]), torch.cat([x, i], -1),
    ],
    "sums": lambda x, y, i, b: [x.sum(), x.mean(1), b.any(1), b.all(), i.sum(0), x.amax(1), x.norm(dim=1)],
    "filled": lambda x, y, i, b: [torch.ones_like(x), torch.zeros_like(i), x.new_ones(2)],
    "constants": lambda x, y, i, b: [x + torch.tensor([1.0, 2.0, 3.0]), torch.arange(3) == i],
    "passed": lambda x, y, i, b: [x, i, x.clone(), x.detach()],
    "draws": lambda x, y, i, b: [Rng(i[0, 0] + 9, i[1, 1]).normal("it", 5)],
}  # fmt: skip


def arrays(tensors):
    return [v.numpy().copy() for v in tensors]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_gives_the_same(name, dtype):
    # Noted with other numbers than it is run with.
    given = [v.to(dtype) if v.is_floating_point() else v for v in ARGUMENTS]
    example = [v.roll(1, 0) * 1 for v in given[:3]] + [~given[3]]
    form = in_numpy(FUNCTIONS[name], example)
    assert form.__name__ == "run"
    for found, expected in zip(form(*arrays(given)), FUNCTIONS[name](*given), strict=True):
        assert found.dtype == expected.numpy().dtype
        assert found.shape == expected.shape
        single = expected.dtype == torch.float32
        np.testing.assert_allclose(
            found, expected.numpy(), rtol=1e-5 if single else 1e-12, atol=1e-7 * single
        )


def test_every_rule_is_tried():
    with _Recorder() as recorder:
        for function in FUNCTIONS.values():
            function(*ARGUMENTS)
    tried = {call[0].overloadpacket for call in recorder.calls}
    missing = {rule.overloadpacket.__name__ for rule in RULES if rule.overloadpacket not in tried}
    assert missing <= {"_unsafe_view", "reshape", "alias", "clamp_max"}  # what others come as


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x.clone().add_(1.0)],
        lambda x: [x * float(x.sum())],
        lambda x: [x.byte() + 300],
        lambda x: [torch.nn.functional.one_hot(x.long() % 3, 3)],
    ],
    ids=["in place", "read on the host", "beyond a type", "in place inside"],
)
def test_what_cannot_be_written_down_is_called_as_it_is(function):
    form = in_numpy(function, [torch.ones(3)])
    x = torch.tensor([1.0, 2.0, 30.0])
    [found] = form(x.numpy())
    assert np.array_equal(found, function(x)[0].numpy())


def test_nan_and_what_divides_by_zero_are_those_of_torch():
    x = torch.tensor([0.0, torch.nan, torch.inf, -1.0])
    form = in_numpy(lambda x: [1 / x, x.clamp(-1, 1), torch.maximum(x, -x), x.sqrt(), x > 0], [torch.ones(4)])
    with np.errstate(all="ignore"):
        found = form(x.numpy())
    for one, other in zip(found, [1 / x, x.clamp(-1, 1), torch.maximum(x, -x), x.sqrt(), x > 0], strict=True):
        np.testing.assert_array_equal(one, other.numpy())


@pytest.mark.parametrize("name", list(ENVS))
def test_every_environment_steps_in_numpy_as_in_torch(name):
    copies = Copies(get(name), 5)
    assert copies._step.__name__ == copies._look.__name__ == "run"
    rows = np.arange(5)
    copies.seed(rows, rows)
    copies.start(rows)
    rng = np.random.default_rng(0)
    actions = copies.env.actions
    for _ in range(30):
        if hasattr(actions, "n"):
            action = rng.integers(actions.n, size=(5, *actions.parts))
        else:
            action = rng.uniform(actions.low, actions.high, size=(5, actions.d)).astype(np.float32)
        at = ((copies._first + copies._taken) << 32) + copies.age
        keys, at = torch.from_numpy(copies.key), torch.from_numpy(at)
        expected = copies._move(keys, at, torch.from_numpy(action), *copies.tensors().values())
        found = copies.step(action)
        for one, other in zip([*copies.state, *found], expected, strict=True):
            np.testing.assert_allclose(one, other.numpy(), rtol=1e-4, atol=1e-5)
        if found[1].any():
            copies.start(rows)
