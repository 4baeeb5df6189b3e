"""MultiTab-Net: its tokens, masks, attention between samples, and heads."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from perdure import PerdureError
from perdure.core.net import couples_samples
from perdure.models.sharing import MultiTabNet
from perdure.models.sharing.multitab_net import Attention

FEATURES, OUTPUTS = 3, [(0,), (2, 1)]


def network(held=None, outputs=OUTPUTS, **settings):
    torch.manual_seed(0)
    settings = {"width": 8, "heads": 2, "hidden": 10, "head": 5, "context": 4, **settings}
    net = MultiTabNet(FEATURES, outputs, **settings).double().eval()
    if held is not None:
        net.context[: len(held)] = held
        net.filled[: len(held)] = True
    return net


def rows(n, seed=1):
    return torch.randn(n, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ---- by hand ------------------------------------------------------------------------------------------


def plain_attention(width):
    """Attention whose query is 0 and whose value and last layer change nothing: it takes means."""
    attention = Attention(width, 1).double()
    with torch.no_grad():
        for layer in (attention.query, attention.key, attention.value, attention.out):
            layer.weight.copy_(torch.eye(width))
            layer.bias.zero_()
        attention.query.weight.zero_()
    return attention


def test_attention_of_queries_that_do_not_care_is_the_mean():
    attention, tokens = plain_attention(1), torch.tensor([[[1.0], [3.0], [8.0]]]).double()
    found, weights = attention(tokens)
    torch.testing.assert_close(found.flatten(), torch.tensor([4.0, 4.0, 4.0]).double())
    assert weights.shape == (1, 1, 3, 3)
    allowed = torch.tensor([[1, 1, 0], [0, 1, 0], [1, 0, 1]]).bool()
    torch.testing.assert_close(
        attention(tokens, allowed)[0].flatten(), torch.tensor([2.0, 3.0, 4.5]).double()
    )


def test_beside_a_context_each_takes_the_mean_of_it_and_itself():
    attention, others = plain_attention(1), torch.tensor([[[1.0], [3.0], [100.0]]]).double()
    tokens = torch.tensor([[[2.0], [5.0]]]).double()
    found = attention.beside(tokens, others, torch.tensor([True, True, False]))
    torch.testing.assert_close(found.flatten(), torch.tensor([2.0, 3.0]).double())
    alone = attention.beside(tokens, others, torch.zeros(3, dtype=torch.bool))
    torch.testing.assert_close(alone, tokens)


def test_scores_are_products_over_the_root_of_a_heads_width():
    attention, tokens = plain_attention(4), torch.eye(4).double()[:2].unsqueeze(0)
    with torch.no_grad():
        attention.query.weight.copy_(2 * torch.eye(4))
    _, weights = attention(tokens)
    # Scores 2 / sqrt(4) with itself, 0 with the other.
    share = torch.tensor(1.0).exp() / (1 + torch.tensor(1.0).exp())
    assert weights[0, 0, 0, 0].item() == pytest.approx(share.item())


# ---- against torch's attention, one row at a time -----------------------------------------------------


def attend(part, query, keys, heads, allowed=None):
    """What queries ``[s, width]`` find among keys ``[c, width]``."""

    def split(layer, tokens):
        return linear(tokens, layer.weight, layer.bias).unflatten(-1, (heads, -1)).transpose(0, 1)

    attention = part["attention"]
    found = scaled_dot_product_attention(
        split(attention.query, query), split(attention.key, keys), split(attention.value, keys), allowed
    )
    return linear(found.transpose(0, 1).flatten(1), attention.out.weight, attention.out.bias)


def norm(layer, tokens):
    return layer_norm(tokens, tokens.shape[-1:], layer.weight, layer.bias)


def feed(part, tokens):
    first, up, _, down = part["feed"]
    hidden = gelu(linear(norm(first, tokens), up.weight, up.bias))
    return tokens + linear(hidden, down.weight, down.bias)


def between_features(net, x, heads):
    part, (tasks, count) = net.blocks[0].features, (len(net.tasks), len(net.tasks) + FEATURES)
    tokens = [
        *net.tasks,
        *(v * a + b for v, a, b in zip(x, net.feature_weight, net.feature_bias, strict=True)),
    ]
    tokens = torch.stack(tokens)
    allowed = torch.tensor(
        [[not (i < tasks and j < tasks and i != j) for j in range(count)] for i in range(count)]
    )
    normed = norm(part["norm"], tokens)
    return feed(part, tokens + attend(part, normed, normed, heads, allowed)).flatten()


def answers(net, row):
    found = torch.zeros(3, dtype=torch.float64)
    for task, outputs in enumerate(OUTPUTS):
        token = row.unflatten(0, (-1, 8))[task]
        hidden = (token @ net.hidden_weight[task] + net.hidden_bias[task]).relu()
        for o in outputs:
            found[o] = hidden @ net.answer_weight[o] + net.answer_bias[o]
    return found


def test_a_batch_in_training_is_what_torchs_attention_gives():
    net, x = network().train(), rows(5)
    part, flat = net.blocks[0].samples, torch.stack([between_features(net, one, 2) for one in x])
    normed = norm(part["norm"], flat)
    flat = feed(part, flat + attend(part, normed, normed, 2))
    torch.testing.assert_close(net(x), torch.stack([answers(net, row) for row in flat]), atol=1e-10, rtol=0)


def test_a_row_in_evaluation_is_what_torchs_attention_gives_with_the_context():
    context, x = rows(3, seed=2), rows(5)
    net = network(context)
    part = net.blocks[0].samples
    held = norm(part["norm"], torch.stack([between_features(net, one, 2) for one in context]))
    expected = []
    for one in x:
        row = between_features(net, one, 2).unsqueeze(0)
        normed = norm(part["norm"], row)
        row = feed(part, row + attend(part, normed, torch.cat([held, normed]), 2))
        expected.append(answers(net, row[0]))
    torch.testing.assert_close(net(x), torch.stack(expected), atol=1e-10, rtol=0)


def test_single_precision_is_as_near_as_it_can_be():
    context, x = rows(3, seed=2), rows(5)
    net = network(context)
    whole = net(x)
    torch.testing.assert_close(net.float()(x.float()).double(), whole, atol=1e-5, rtol=0)


# ---- masks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "closed"),
    [
        ("tasks", {"other tasks"}),
        ("features", {"tasks"}),
        ("both", {"other tasks", "tasks"}),
        ("none", set()),
    ],
)
def test_what_a_mask_closes_has_no_weight_and_all_else_has_some(mask, closed):
    net = network(mask=mask, blocks=2)
    each = net.attention(rows(6))
    assert [tuple(weights.shape) for weights in each] == [(6, 2, 5, 5)] * 2
    for weights in each:
        torch.testing.assert_close(weights.sum(-1), torch.ones(6, 2, 5).double())
        for i in range(5):
            for j in range(5):
                others = "other tasks" if i < 2 and j < 2 and i != j else "tasks" if i >= 2 and j < 2 else ""
                assert bool(
                    (weights[:, :, i, j] == 0).all() if others in closed else (weights[:, :, i, j] > 0).all()
                )


def slope(mask, blocks=2):
    """How the first task's answer depends on the second task's token."""
    net = network(mask=mask, blocks=blocks, inter_sample=False)
    return torch.autograd.grad(net(rows(4))[:, 0].sum(), net.tasks)[0][1].abs().max().item()


def test_with_both_masks_no_task_sees_another():
    assert slope("both") == 0
    # Through features, where these attend to tasks.
    assert slope("tasks") > 1e-8
    assert slope("tasks", blocks=1) == 0
    assert slope("features", blocks=1) > 1e-8


# ---- samples ------------------------------------------------------------------------------------------


def changes(net, x):
    """Which rows' outputs change with the first row."""
    other = torch.cat([x[:1] + 1, x[1:]])
    return ((net(x) - net(other)).abs().amax(1) > 1e-9).tolist()


@pytest.mark.parametrize("training", [True, False])
def test_without_attention_between_samples_no_row_changes_another(training):
    net = network(inter_sample=False).train(training)
    assert changes(net, rows(4)) == [True, False, False, False]
    torch.testing.assert_close(net(rows(4))[2:3], net(rows(4)[2:3]))
    assert not couples_samples(net)
    assert not dict(net.named_buffers())


def test_with_it_rows_change_each_other_in_training_alone():
    net = network(rows(3, seed=2), blocks=2)
    assert changes(net.train(), rows(4)) == [True] * 4
    assert changes(net.eval(), rows(4)) == [True, False, False, False]
    torch.testing.assert_close(net(rows(4))[2:3], net(rows(4)[2:3]))
    assert couples_samples(nn.Sequential(net))


def test_what_the_context_holds_counts_and_what_is_not_filled_does_not():
    x, context = rows(4), rows(3, seed=2)
    nets = [network(context[:n], blocks=2) for n in range(4)]
    outputs = [net(x) for net in nets]
    assert all((a - b).abs().max() > 1e-6 for a, b in pairwise(outputs))
    nets[2].context[2:] = 7.0
    assert torch.equal(nets[2](x), outputs[2])


def test_without_a_context_evaluation_is_a_batch_of_one():
    net, x = network(blocks=2), rows(4)
    alone = torch.cat([net.train()(one.unsqueeze(0)) for one in x])
    torch.testing.assert_close(net.eval()(x), alone)


# ---- outputs ------------------------------------------------------------------------------------------


def test_outputs_are_their_tasks():
    net = network(outputs=[(4, 1), (0,)], inter_sample=False, total=6)
    found = net(rows(2))
    assert found.shape == (2, 6)
    with torch.no_grad():
        net.hidden_bias[1] += 5
    assert ((net(rows(2)) != found).all(0)).tolist() == [True, False, False, False, False, False]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"width": 10, "heads": 4}, "width must be a multiple of 4, the number of heads; found 10"),
        ({"mask": "all"}, "mask must be one of tasks, features, both, none; found 'all'"),
        ({"blocks": 0}, "blocks must be a whole number of at least 1; found 0"),
        ({"context": 0}, "context must be a whole number of at least 1; found 0"),
        ({"outputs": [(0, 1), (1,)]}, r"each task must have outputs of its own; found \[\[0, 1\], \[1\]\]"),
        ({"outputs": []}, r"each task must have outputs of its own; found \[\]"),
    ],
)
def test_what_cannot_be_built(settings, line):
    with pytest.raises(PerdureError, match=line):
        network(**settings)
