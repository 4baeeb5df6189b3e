"""LoRA, and what all low-rank adapters share."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, check_strategy, compare
from perdure.core.net import Net
from perdure.models import cnn, mlp, resnet
from perdure.models.adapters import lowrank
from perdure.optim.adamw import AdamW
from perdure.optim.sgd import SGD
from perdure.scenarios import Classification, split, take
from perdure.strategies import LoRA, OLoRA, get
from perdure.strategies.adapters.lora import ADAPT, WARM
from perdure.testing import tiny_model, tiny_stream

FAMILY = ["lora", "lora(fresh=True)", "o-lora", "inflora", "sd-lora"]
QUICK = {"seeds": 2, "epochs": 1, "batch_size": 64, "quiet": True}


class Attention(nn.Module):
    """A tiny transformer of linear layers, as BERT's are: query, key, value, dense; one classifier."""

    def __init__(self, width=8, outputs=4):
        super().__init__()
        self.embed, self.place = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(64, width))
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dense = nn.Linear(width, width)
        self.classifier = nn.Linear(width, outputs)

    def forward(self, x):
        x = x.flatten(1)[:, :9].unsqueeze(-1)
        x = torch.tanh(x * self.embed + self.place[: x.shape[1]])
        q, k, v = self.query(x), self.key(x), self.value(x)
        x = x + self.dense(torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v)
        return self.classifier(self.norm(x).mean(1))


def same(first, other):
    return all(torch.equal(first[k], other[k]) for k in first)


def closed(stream, net, params, index=0):
    x = stream[index].test.inputs().double()
    return net.raw(params, x, torch.tensor(index))


# ---- the adapter --------------------------------------------------------------------------------------


def test_the_formula_by_hand():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 3))
    model[0].weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    adapted = lowrank.adapt(model, 3, rank=1, scale=0.5)
    tensors = {k: v.detach().clone() for k, v in adapted.named_parameters()}
    tensors[lowrank.key("0", "down")] = torch.tensor([[[1.0, -1.0]]])
    tensors[lowrank.key("0", "up")] = torch.tensor([[[2.0], [4.0]]])
    # 0.5 * [2, 4]^T [1, -1] = [[1, -1], [2, -2]]
    want = [[2.0, 1.0], [5.0, 2.0]]
    assert lowrank.merge(adapted, tensors)["0.weight"].tolist() == want
    x = torch.tensor([[1.0, 1.0]])
    out = torch.func.functional_call(adapted[0], {k[2:]: v for k, v in tensors.items() if k[0] == "0"}, (x,))
    assert out.tolist() == [[3.0, 7.0]]


def test_several_products_add_up_with_their_magnitudes():
    torch.manual_seed(0)
    part = lowrank.LowRank(torch.zeros(3, 4), 2, slots=3, scale=0.5, magnitude=0.8)
    part.up.data.normal_()
    part.magnitude.data = torch.tensor([1.0, -2.0, 3.0])
    want = 0.5 * sum(m * u @ d for m, u, d in zip(part.magnitude, part.up, part.down, strict=True))
    torch.testing.assert_close(part(torch.zeros(3, 4)), want)


@pytest.mark.parametrize("name", FAMILY)
def test_adapting_changes_no_output_and_not_the_model_given(name):
    torch.manual_seed(0)
    model = Attention(outputs=6)
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(3, 5)
    adapted = get(name).extend(model, tiny_stream("class"))
    assert torch.equal(adapted(x), model(x))
    assert same(before, model.state_dict())
    assert list(before) == list(model.state_dict())
    assert set(lowrank.adapters(adapted)) == {"query", "key", "value", "dense"}


def test_the_projection_is_drawn_as_torch_draws_a_linear_layer():
    torch.manual_seed(0)
    down = lowrank.LowRank(torch.zeros(64, 400), 50).down
    layer = nn.Linear(400, 50)
    nn.init.kaiming_uniform_(layer.weight, a=5**0.5)
    assert down.abs().max() <= 1 / 20
    assert down.std().item() == pytest.approx(layer.weight.std().item(), rel=0.02)
    assert not lowrank.LowRank(torch.zeros(64, 400), 50).up.any()


def test_the_number_of_parameters_is_rank_times_in_plus_out():
    stream = split("digits", setting="class")
    for build, slots in ((mlp((32, 16)), 1), (mlp((32, 16)), 5)):
        model = build((1, 8, 8), 10)
        strategy = LoRA(rank=3) if slots == 1 else OLoRA(rank=3)
        extra = sum(p.numel() for p in strategy.extend(model, stream).parameters())
        extra -= sum(p.numel() for p in model.parameters())
        assert extra == slots * 3 * ((64 + 32) + (32 + 16))
        assert extra == slots * lowrank.parameter_count(model, 10, 3)
    conv = resnet(4, 1)((3, 8, 8), 10)
    shapes = [m.weight.flatten(1).shape for m in conv.modules() if isinstance(m, nn.Conv2d)]
    assert lowrank.parameter_count(conv, 10, 2) == sum(2 * sum(s) for s in shapes)


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (None, {"query", "key", "value", "dense"}),
        (["query", "value"], {"query", "value"}),
        (".*e(y|d)", {"key"}),
        ("query|value", {"query", "value"}),
    ],
)
def test_targets_by_name_or_expression(targets, found):
    assert set(lowrank.find_targets(Attention(), 4, targets)) == found


def test_names_may_be_what_follows_a_dot():
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 2)), "b": nn.Linear(2, 2), "c": nn.Linear(2, 3)})
    assert set(lowrank.find_targets(model, 3, ["0"])) == {"a.0"}
    assert set(lowrank.find_targets(model, 3, ["a.0", "b"])) == {"a.0", "b"}


def test_the_head_is_the_last_linear_layer_as_wide_as_the_outputs():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 5))
    assert lowrank.head_of(model, 3) == "1"
    assert lowrank.head_of(model, 5) == "2"
    assert lowrank.head_of(model, 7) == "2"
    assert lowrank.head_of(nn.Linear(2, 3), 3) == ""


# ---- training -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FAMILY, "lora(warm=False)", "inflora(warm=False)", "sd-lora(warm=False)"])
def test_only_adapters_and_head_move_and_nothing_jumps_between_tasks(name, walk):
    stream, head = tiny_stream("class", (9, 12, 7)), {"classifier.weight", "classifier.bias"}
    end = start = None
    for moment, phase, tensors, _, net in walk(name, stream, lambda s, o: Attention(outputs=o)):
        own, bases = lowrank.names(net.module), {lowrank.key(p, "base") for p in ("query", "dense")}
        outputs = closed(stream, net, tensors)
        if moment == "start":
            start = tensors
        elif moment == "begin" and end is not None:
            torch.testing.assert_close(outputs, end, rtol=0, atol=1e-12)
        elif moment == "end":
            end = outputs
            moved = {k for k in tensors if not torch.equal(tensors[k], start[k])}
            if phase.name == WARM:
                assert "warm" not in name
                assert moved >= {"norm.weight", "embed", "dense.bias"} | bases | head
                assert not moved & own
            elif "fresh" in name:
                assert bases | head <= moved
                assert not moved & {"norm.weight", "embed", "dense.bias"}
            else:
                assert head | {lowrank.key("query", "up")} <= moved <= own | head


@pytest.mark.parametrize("warm", [True, False])
def test_phases(warm):
    phases = LoRA(warm=warm).phases(tiny_stream())
    assert [p.name for p in phases] == [WARM if warm else ADAPT, ADAPT, ADAPT]
    assert [p.reset for p in phases] == [False, True, True]
    assert [p.tasks for p in phases] == [(0,), (1,), (2,)]


def test_what_is_frozen_throughout_is_no_parameter_of_the_run():
    results = compare(
        "split-digits | take(2)", {"lora": "lora(warm=False, rank=2)"}, model="mlp(hidden=[16])", **QUICK
    )
    assert results.costs["lora"]["parameters"] == 2 * (64 + 16) + 16 * 10 + 10


def test_with_warm_the_first_task_is_learned_as_naive_learns_it():
    stream, names = split("digits", setting="task"), ["naive", "lora", "inflora", "sd-lora"]
    results = compare(take(stream, 2), names, model="mlp(hidden=[16])", **QUICK)
    for name in results.strategies[1:]:
        np.testing.assert_array_equal(results.scores[name][:, 0], results.scores["naive"][:, 0])
        assert (results.scores[name][:, 1] != results.scores["naive"][:, 1]).any()


@pytest.mark.parametrize("name", ["lora(fresh=True)", "sd-lora", "o-lora"])
def test_merging_gives_a_plain_model_of_the_same_outputs(name):
    results = compare(
        "split-digits | take(2)", [name], model="cnn(channels=[4], hidden=8)", keep=True, **QUICK
    )
    trained = results.trained[results.strategies[0]]
    plain = cnn([4], 8)((1, 8, 8), 10)
    x = split("digits")[0].test.inputs()
    for k in range(2):
        tensors = lowrank.merge(trained.program.module, {**trained.buffers(k), **trained.params(k)})
        plain.load_state_dict(tensors)
        torch.testing.assert_close(plain(x), trained.net(k).raw(trained.params(k), x, torch.tensor(0)))


def test_a_fresh_adapter_is_an_orthogonal_one_without_penalty(walk):
    # What is merged with the weights and what is kept beside them, frozen, computes the same.
    stream = tiny_stream("task", (9, 12, 7))
    downs = {}
    for moment, phase, tensors, *_ in walk("lora(fresh=True, rank=2)", stream, tiny_model):
        if moment == "begin" and phase.name == ADAPT:
            downs[phase.tasks[0]] = tensors[lowrank.key("1", "down")][0]
    fresh = tensors[lowrank.key("1", "base")]

    class Given(OLoRA):
        def begin_task(self, net, params, state, task):
            name = lowrank.key("1", "down")
            drawn = torch.stack([downs.get(t, downs[1]) for t in range(3)])
            return {**params, name: drawn if task.index == 1 else params[name]}, state

    given = Given(rank=2, strength=0.0)
    *_, (_, _, tensors, _, net) = walk(given, stream, tiny_model)
    torch.testing.assert_close(lowrank.merge(net.module, tensors)["1.weight"], fresh, rtol=0, atol=1e-12)
    assert (downs[1] - downs[2]).abs().min() > 0


def test_replicas_draw_fresh_projections_of_their_own():
    results = compare(
        "split-digits | take(2)", {"lora": "lora(fresh=True)"}, model="mlp(hidden=[16])", keep=True, **QUICK
    )
    first, second = (results.trained["lora"].params(k)[lowrank.key("1", "down")] for k in range(2))
    assert (first != second).all()
    assert first.abs().max() <= 1 / 8


def convolutional(shape, outputs):
    """Batch norm, a strided and a grouped convolution, as resnets and their kin have."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 4, 3, 2, 1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding="same", groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, outputs),
    )


@pytest.mark.parametrize("name", ["lora", "o-lora", "inflora", "sd-lora"])
def test_on_convolutions_with_batch_norm(name):
    results = compare("split-digits | take(2)", [name], model=convolutional, **{**QUICK, "seeds": 1})
    assert results.extras[name]["mapped"]
    assert np.isfinite(results.scores[name]).all()


def test_on_a_net_of_torchvision():
    from torchvision.models import resnet18, squeezenet1_1

    assert len(lowrank.find_targets(resnet18(num_classes=10), 10)) == 20
    # Its head is a convolution.
    assert "classifier.1" not in lowrank.find_targets(squeezenet1_1(num_classes=10), 10)


@pytest.mark.parametrize("name", ["o-lora", "inflora"])
def test_on_a_transformer_and_in_replicas(name):
    build = lambda shape, outputs: Attention(outputs=outputs)  # noqa: E731
    terms = {"model": build, "quiet": True, "epochs": 1, "dtype": "float64", "batch_size": 64}
    both = compare("split-digits | take(2)", [name], seeds=[0, 1], **terms)
    alone = compare("split-digits | take(2)", [name], seeds=[1], **terms)
    key = both.strategies[0]
    assert both.extras[key]["mapped"]
    np.testing.assert_array_equal(both.scores[key][1:], alone.scores[key])


@pytest.mark.parametrize("spec", ["lora(fresh=True)", "lora(warm=False, rank=2)"])
def test_it_keeps_the_contract(spec, level):
    check_strategy(get(spec), level=level)


# ---- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lora", "o-lora", "inflora", "sd-lora"])
def test_bad_settings_are_one_line(kind):
    for terms, line in [
        ("rank=0", "rank must be a whole number of at least 1; found 0"),
        ("rank=1.5", "rank must be a whole number; found 1.5"),
        ("alpha=-1", "alpha must be above 0; found -1"),
        ("alpha=0", "alpha must be above 0; found 0"),
        ("targets='(a'", r"targets, if no list of names, must be a regular expression; found '\(a', missing"),
        ("targets=[1]", r"targets must be a string, a list of strings or None; found \[1\]"),
    ]:
        if kind == "sd-lora" and "alpha" in terms:
            line = "alpha"
        with pytest.raises(PerdureError, match=line) as caught:
            get(f"{kind}({terms})")
        assert "\n" not in str(caught.value)
    with pytest.raises(PerdureError, match=r"rank must be at most 5, the smaller side of 1.weight; found 6"):
        get(f"{kind}(rank=6)").extend(tiny_model((5,), 2), tiny_stream())


def test_models_that_it_cannot_take():
    stream = tiny_stream()
    with pytest.raises(
        PerdureError, match="need a linear layer or convolution besides the head ''; found none"
    ):
        LoRA().extend(nn.Linear(5, 2), stream)
    with pytest.raises(PerdureError, match="need a layer that 'query' names besides the head '3'; found '1'"):
        LoRA(targets="query").extend(tiny_model((5,), 2), stream)
    with pytest.raises(PerdureError, match="a linear or convolutional head; found ReLU without one"):
        LoRA().extend(nn.ReLU(), stream)
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    tied[1].weight = tied[0].weight
    with pytest.raises(PerdureError, match=r"plain weights; 0\.weight is shared or computed"):
        LoRA().extend(tied, stream)
    twice = LoRA(rank=2).extend(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), stream)
    with pytest.raises(PerdureError, match=r"plain weights; 0\.weight is shared or computed"):
        LoRA(rank=2).extend(twice, stream)


# ---- PEFT ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mine", "theirs"), [(SGD(momentum=0.9), "SGD"), (AdamW(), "AdamW")])
def test_the_trajectory_is_that_of_peft(mine, theirs):
    peft = pytest.importorskip("peft", reason="PEFT, the oracle, is not installed")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, y = torch.randn(20, 6).double(), torch.randn(20, 3).double()
    strategy = LoRA(rank=2, alpha=6.0, warm=False)
    adapted = strategy.extend(model, tiny_stream("task", (4,), 3))
    net = Net(adapted, dict(adapted.named_buffers()), None, Classification())
    params = {k: v.detach().clone() for k, v in adapted.named_parameters()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["0", "2"], modules_to_save=["4"])
        other = peft.get_peft_model(copy.deepcopy(model), config).double()
    own = dict(other.named_parameters())
    for path in ("0", "2"):
        name = f"base_model.model.{path}.lora_A.default.weight"
        own[name].data = params[lowrank.key(path, "down")][0].clone()
    kind = getattr(torch.optim, theirs)
    more = {"momentum": 0.9} if theirs == "SGD" else {"weight_decay": 0.1}
    optimizer = kind([p for p in other.parameters() if p.requires_grad], lr=0.05, **more)
    names = strategy.trainable(net, params, ADAPT)
    memory, lr = mine.init(params), torch.tensor(0.05, dtype=torch.float64)
    decay = torch.tensor(0.1, dtype=torch.float64) if theirs == "AdamW" else None
    start = net.raw(params, x, torch.tensor(0))
    for _ in range(60):
        optimizer.zero_grad()
        (other(x) - y).square().mean().backward()
        optimizer.step()

        def loss(learned, params=params):
            return (net.raw({**params, **learned}, x, torch.tensor(0)) - y).square().mean()

        slopes = torch.func.grad(loss)({k: params[k] for k in names})
        moved, memory = mine.update({k: params[k] for k in names}, slopes, memory, lr, decay)
        params = {**params, **moved}
        torch.testing.assert_close(net.raw(params, x, torch.tensor(0)), other(x), rtol=0, atol=1e-10)
    assert (net.raw(params, x, torch.tensor(0)) - start).abs().max() > 0.3
