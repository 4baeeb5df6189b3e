"""Hyperformer++: the adapters by hand, what tasks share, what moves, and what it refuses."""

import math

import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.models.adapters.hyperformer import Generator, HyperLinear, HyperNetwork, Made
from perdure.strategies import Hyperformer, get
from perdure.testing import tiny_model, tiny_stream

STREAM = tiny_stream("task", 2)


def deep():
    """Two layers of one width below the head, and one of another."""
    return nn.Sequential(
        nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3), nn.Linear(3, 4)
    )


def drawn(model):
    """Fill what is zero at first."""
    torch.manual_seed(1)
    for p in model.parameters():
        nn.init.normal_(p)
    return model.double()


def test_an_adapter_by_hand():
    layer = HyperLinear(nn.Linear(2, 2)).double()
    with torch.no_grad():
        layer.base.weight.copy_(torch.eye(2))
        layer.base.bias.copy_(torch.tensor([1.0, 0.0]))
    layer.made = Made(
        down=torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]]).double(),
        up=torch.tensor([[[1.0], [-1.0]], [[1.0], [-1.0]]]).double(),
        gain=torch.tensor([[2.0, 3.0], [9.0, 9.0]]).double(),
        shift=torch.tensor([[0.5, 0.0], [0.0, 7.0]]).double(),
    )
    layer.task = torch.tensor([0, 1])
    # x = (2, 3): y = (3, 3). Task 0: D y = 6, gelu 6, U = (6, -6), norm (1, -1), so y + (2, -3) + (0.5, 0).
    # Task 1: D y = 0, so that nothing but the shift (0, 7) is left.
    found = layer(torch.tensor([[2.0, 3.0], [2.0, 3.0]]).double())
    torch.testing.assert_close(found, torch.tensor([[5.5, 0.0], [3.0, 10.0]]).double(), atol=1e-5, rtol=0)


def test_the_network_by_hand():
    network = drawn(HyperNetwork(2, [6, 3, 6], bottleneck=4, embedding=5, hidden=7))
    first, _, last, norm = network.project
    z = torch.cat([network.task[1], network.place[2]])
    e = last.weight @ (first.weight @ z + first.bias).clamp_min(0) + last.bias
    e = norm.weight * (e - e.mean()) / (e.var(correction=0) + norm.eps).sqrt() + norm.bias
    generator, made = network.generators["6"], network(2)
    for k in ("down", "up", "gain", "shift"):
        torch.testing.assert_close(getattr(made, k)[1], getattr(generator, k) @ e)
    assert made.down.shape == (2, 4, 6)
    assert made.up.shape == (2, 6, 4)
    assert set(network.generators) == {"6", "3"}


def test_what_is_made_is_drawn_as_torch_draws_a_linear_layer():
    torch.manual_seed(0)
    embedded = nn.functional.layer_norm(torch.randn(50, 16), (16,))
    made = Generator(width=40, bottleneck=10, embedding=16)(embedded)
    assert made.down.std().item() == pytest.approx(1 / math.sqrt(3 * 40), rel=0.1)
    assert made.up.std().item() == pytest.approx(1 / math.sqrt(3 * 10), rel=0.1)


def test_at_first_it_answers_as_the_model():
    torch.manual_seed(0)
    model, x = deep(), torch.randn(6, 5)
    adapted = Hyperformer().extend(model, STREAM)
    for t in (0, 1):
        assert torch.equal(adapted(x, torch.full((6,), t)), model(x))


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3), (4, 2, 5, 3)])
def test_any_axes_between_sample_and_features(shape):
    torch.manual_seed(0)
    layer = HyperLinear(nn.Linear(3, 5)).double()
    layer.made = Made(*(torch.randn(s).double() for s in [(3, 2, 5), (3, 5, 2), (3, 5), (3, 5)]))
    x, layer.task = torch.randn(shape).double(), torch.tensor([2, 0, 1, 2])
    found, task = layer(x), layer.task
    for one, t, rows in zip(x, task, found, strict=True):
        layer.task = t.expand(one[..., 0].numel())
        torch.testing.assert_close(layer(one.reshape(-1, 3)), rows.reshape(-1, 5))


def test_other_tasks_samples_and_embeddings_leave_a_tasks_outputs_alone():
    adapted, x = drawn(Hyperformer().extend(deep(), STREAM)), torch.randn(6, 5).double()
    task = torch.tensor([0, 1, 0, 1, 0, 1])
    before = adapted(x, task)
    with torch.no_grad():
        x[1::2] += 1
        adapted.network.task[1] += 1
    after = adapted(x, task)
    torch.testing.assert_close(after[::2], before[::2])
    assert not torch.isclose(after[1::2], before[1::2]).any()


def test_a_task_moves_what_all_tasks_share_and_no_others_embedding():
    adapted = drawn(Hyperformer().extend(deep(), STREAM))
    adapted(torch.randn(6, 5).double(), torch.zeros(6, dtype=torch.int64)).sum().backward()
    assert adapted.network.task.grad[0].any()
    assert not adapted.network.task.grad[1].any()
    others = {k: p for k, p in adapted.network.named_parameters() if k != "task"}
    assert all(p.grad.any() for p in others.values())


def test_what_moves_in_each_phase(walk):
    moments = {(m, p.name): v for m, p, v, *_ in walk("hyperformer(bottleneck=2)", STREAM, tiny_model)}

    def moved(phase):
        before, after = moments["start", phase], moments["end", phase]
        return {k for k in before if not torch.equal(before[k], after[k])}

    head = {"body.3.weight", "body.3.bias"}
    made = {k for k in moments["start", "learn"] if k.startswith("network.")}
    assert moved("learn") == head | {"body.1.base.weight", "body.1.base.bias"}
    assert moved("adapt") == head | made
    assert len(made) == 12


def test_without_warm_the_model_stays(walk):
    phases, tensors = zip(
        *((p, v) for _, p, v, *_ in walk(Hyperformer(2, warm=False), STREAM, tiny_model)), strict=True
    )
    assert {p.name for p in phases} == {"adapt"}
    assert torch.equal(tensors[0]["body.1.base.weight"], tensors[-1]["body.1.base.weight"])


def convolutions():
    return nn.Sequential(nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(10, 4))


@pytest.mark.parametrize(
    ("stream", "model", "line"),
    [
        (tiny_stream("domain"), tiny_model, "told the task when it scores: .* setting='domain'"),
        (STREAM, convolutions, "hyperformer needs linear layers to adapt; found convolutions alone"),
    ],
)
def test_what_it_refuses(stream, model, line):
    with pytest.raises(PerdureError, match=line):
        compare(stream, ["hyperformer"], model=model, seeds=1, quiet=True)


@pytest.mark.parametrize("argument", ["bottleneck=0", "embedding=1", "hidden=0", "targets='('"])
def test_arguments_are_checked(argument):
    with pytest.raises(PerdureError, match=argument.partition("=")[0]):
        get(f"hyperformer({argument})")


def test_what_was_made_is_forgotten_after_the_call():
    adapted = Hyperformer().extend(tiny_model((5,), 4), STREAM)
    adapted(torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64))
    assert all(layer.made is None and layer.task is None for layer in adapted.layers())
