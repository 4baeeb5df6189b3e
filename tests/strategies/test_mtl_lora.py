"""MTL-LoRA: the formula by hand, what moves, and what it refuses."""

import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.models.adapters.by_task import ByTask
from perdure.models.adapters.mtl_lora import MTLLinear
from perdure.strategies import MTLLoRA, get
from perdure.testing import check_strategy, tiny_model, tiny_stream

STREAM = tiny_stream("task", 2)


def drawn(layer):
    """Fill what is zero at first."""
    torch.manual_seed(1)
    for p in layer.parameters():
        nn.init.normal_(p)
    return layer.double()


def test_it_keeps_the_contract(level):
    check_strategy(MTLLoRA(rank=2, ups=2, alpha=3.0, temperature=0.5), level=level)


def test_the_formula_by_hand():
    layer = MTLLinear(
        nn.Linear(2, 1, bias=False), tasks=2, rank=1, ups=2, scale=0.5, temperature=2.0
    ).double()
    with torch.no_grad():
        layer.base.weight.copy_(torch.tensor([[1.0, -1.0]]))
        layer.down.copy_(torch.tensor([[1.0, 2.0]]))
        layer.inner.copy_(torch.tensor([[[1.0]], [[-3.0]]]))
        layer.up.copy_(torch.tensor([[[4.0]], [[8.0]]]))
        # Shares 1/2, 1/2 and, with exp(w / 2) = 3 and 1, 3/4, 1/4.
        layer.mix.copy_(torch.tensor([[0.0, 0.0], [2 * torch.tensor(3.0).log(), 0.0]]))
    layer.task = torch.tensor([1, 0])
    # x = (1, 1): W0 x = 0, A x = 3. Task 1: 0.5 * 5 * -3 * 3 = -22.5; task 0: 0.5 * 6 * 1 * 3 = 9.
    found = layer(torch.ones(2, 2).double())
    assert found.flatten().tolist() == pytest.approx([-22.5, 9.0])


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3), (4, 2, 5, 3)])
def test_any_axes_between_sample_and_features(shape):
    layer = drawn(MTLLinear(nn.Linear(3, 5), tasks=3, rank=2, ups=2, scale=0.7, temperature=0.9))
    x, layer.task = torch.randn(shape).double(), torch.tensor([2, 0, 1, 2])
    found, expected = layer(x), []
    for one, t in zip(x, layer.task, strict=True):
        up = ((layer.mix[t] / 0.9).softmax(0).view(-1, 1, 1) * layer.up).sum(0)
        expected.append(layer.base(one) + 0.7 * one @ (up @ layer.inner[t] @ layer.down).mT)
    torch.testing.assert_close(found, torch.stack(expected))


def test_at_first_it_answers_as_the_model():
    torch.manual_seed(0)
    model, x = tiny_model((5,), 4), torch.randn(6, 5)
    adapted = MTLLoRA().extend(model, STREAM)
    for t in (0, 1):
        assert torch.equal(adapted(x, torch.full((6,), t)), model(x))


def test_a_task_leaves_the_others_own_weights_alone():
    adapted = drawn(MTLLoRA().extend(tiny_model((5,), 4), STREAM))
    adapted(torch.randn(6, 5).double(), torch.zeros(6, dtype=torch.int64)).sum().backward()
    layer = adapted.get_submodule("body.1")
    for p in (layer.inner, layer.mix):
        assert p.grad[0].any()
        assert not p.grad[1].any()


def test_what_moves_in_each_phase(walk):
    moments = {(m, p.name): v for m, p, v, *_ in walk("mtl-lora(rank=2)", STREAM, tiny_model)}

    def moved(phase):
        before, after = moments["start", phase], moments["end", phase]
        return {k for k in before if not torch.equal(before[k], after[k])}

    head = {"body.3.weight", "body.3.bias"}
    assert moved("learn") == head | {"body.1.base.weight", "body.1.base.bias"}
    assert moved("adapt") == head | {f"body.1.{k}" for k in ("down", "inner", "up", "mix")}


def test_without_warm_the_model_stays(walk):
    phases, tensors = zip(
        *((p, v) for _, p, v, *_ in walk(MTLLoRA(2, warm=False), STREAM, tiny_model)), strict=True
    )
    assert {p.name for p in phases} == {"adapt"}
    assert torch.equal(tensors[0]["body.1.base.weight"], tensors[-1]["body.1.base.weight"])


def test_a_model_that_asks_for_the_task_is_told():
    class Told(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(5, 5), nn.Linear(5, 4)

        def forward(self, x, task):
            return self.head(self.layer(x)) + task.unsqueeze(1)

    model, x, task = Told(), torch.randn(3, 5), torch.tensor([0, 1, 1])
    assert torch.equal(MTLLoRA().extend(model, STREAM)(x, task), model(x, task))


def test_rows_that_are_no_samples_are_refused():
    class Merges(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(5, 5), nn.Linear(5, 4)

        def forward(self, x):
            return self.head(self.layer(torch.cat([x, x])))[: len(x)]

    with pytest.raises(
        PerdureError, match="rows that are samples, with a task each; found 3 tasks for 6 rows"
    ):
        MTLLoRA().extend(Merges(), STREAM)(torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64))


def convolutions():
    return nn.Sequential(nn.Unflatten(1, (1, 1, 5)), nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(10, 4))


@pytest.mark.parametrize(
    ("spec", "stream", "model", "line"),
    [
        ("mtl-lora", tiny_stream("domain"), tiny_model, "told the task when it scores: .* setting='domain'"),
        ("mtl-lora(rank=6)", STREAM, tiny_model, "at most 5, the smaller side of 1.weight; found 6"),
        ("mtl-lora", STREAM, convolutions, "needs linear layers to adapt; found convolutions alone"),
    ],
)
def test_what_it_refuses(spec, stream, model, line):
    with pytest.raises(PerdureError, match=line):
        compare(stream, [spec], model=model, seeds=1, quiet=True)


@pytest.mark.parametrize("spec", ["mtl-lora(rank=0)", "mtl-lora(temperature=0)", "mtl-lora(alpha=-1)"])
def test_arguments_are_checked(spec):
    with pytest.raises(PerdureError, match=r"rank|temperature|alpha"):
        get(spec)


def test_the_tasks_are_forgotten_after_the_call():
    adapted = MTLLoRA().extend(tiny_model((5,), 4), STREAM)
    assert isinstance(adapted, ByTask)
    adapted(torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64))
    assert adapted.get_submodule("body.1").task is None
