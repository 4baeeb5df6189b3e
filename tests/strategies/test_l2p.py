"""L2P: a pool of prompts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from perdure import PerdureError, compare
from perdure.core.batch import Batch
from perdure.core.net import Net
from perdure.core.random import Rng
from perdure.models import encoder, matcher
from perdure.models.adapters.prompted import Prompted, Voted, cosines, smallest
from perdure.scenarios import Source, split
from perdure.scenarios.contract.objective import Classification
from perdure.strategies import L2P
from perdure.testing import check_strategy

T = pytest.importorskip("transformers", reason="the extra `text` is not installed")
SMALL = {"vocab_size": 50}
CONFIGS: dict[str, Callable[..., Any]] = {
    "bert": lambda **more: T.BertConfig(
        **SMALL, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        pad_token_id=0, **{"max_position_embeddings": 32, **more},
    ),
    "t5": lambda: T.T5Config(**SMALL, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2),
    "llama": lambda: T.LlamaConfig(
        **SMALL, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=32,
    ),
    "gpt2": lambda: T.GPT2Config(
        **SMALL, n_embd=8, n_layer=1, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2
    ),
}  # fmt: skip
BERT = encoder(CONFIGS["bert"]())
IDS = torch.tensor([[5, 6, 7, 0, 0, 0], [8, 9, 10, 11, 0, 0], [12, 13, 14, 15, 16, 17]])


def stream(setting="class", tasks=2, each=24):
    """Two classes a task, told apart by the first token."""
    generator = torch.Generator().manual_seed(0)
    xs, ys = [], []
    for t in range(tasks):
        y = torch.arange(each) % 2
        x = torch.randint(3, 20, (each, 5), generator=generator)
        x[:, 0] = 20 + 10 * y + t
        x[:, 3:] *= torch.randint(0, 2, (each, 1), generator=generator)
        xs.append(x)
        ys.append(y + 2 * t)
    source = Source.build("toy", torch.cat(xs), torch.cat(ys), tokens=True)
    return split(source, classes_per_task=2, setting=setting)


def pool(name="bert", pool=4, length=2, top=2, outputs=4):
    torch.manual_seed(1)
    return Prompted(encoder(CONFIGS[name]())((6,), outputs), pool, length, top).double().eval()


def as_net(model):
    params = {k: p.detach() for k, p in model.named_parameters() if p.requires_grad}
    frozen = {k: p.detach() for k, p in model.named_parameters() if not p.requires_grad}
    buffers = {**frozen, **dict(model.named_buffers())}
    return Net(model, buffers, None, Classification(), training=True), params


def batch_of(y, weight=(1.0, 1.0, 1.0), task=(0, 0, 0), joined=()):
    nothing = torch.zeros((), dtype=torch.int64)
    return Batch(
        {
            "x": IDS, "y": torch.tensor(y), "task": torch.tensor(task),
            "weight": torch.tensor(weight, dtype=torch.float64),
        }, nothing,
        Rng(nothing, nothing), joined=joined,
    )  # fmt: skip


# ---- by hand ------------------------------------------------------------------------------------------


def test_the_nearest_keys_are_chosen():
    model = pool()
    # Cosines 1, 1/sqrt 2, 0, -1 and 0, 1/sqrt 2, 1, 0.
    near = cosines(torch.eye(2), torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 3.0], [-1.0, 0.0]]))
    torch.testing.assert_close(near[0], torch.tensor([1.0, 0.5**0.5, 0.0, -1.0]))
    ids, penalty = IDS[:2], torch.tensor([1.0, 10.0, 1.0, 1.0])
    assert model.choose(near, ids, None, None).int().tolist() == [[1, 1, 0, 0], [0, 1, 1, 0]]
    # Distances 0, 2.9, 1, 2 and 1, 2.9, 0, 1: the second key is used often; of equals the first.
    assert model.choose(near, ids, None, penalty).int().tolist() == [[1, 0, 1, 0], [1, 0, 1, 0]]
    assert smallest(torch.zeros(1, 3), 2).tolist() == [[True, True, False]]


def test_chosen_prompts_stand_before_the_tokens():
    model = pool()
    inner, word = model.body.inner, model.body.inner.embeddings.word_embeddings
    chosen = torch.tensor([[False, True, False, True]])
    rows = torch.cat([model.prompts[1], model.prompts[3], word(IDS[2])])
    states = inner(inputs_embeds=rows.unsqueeze(0)).last_hidden_state[0]
    torch.testing.assert_close(model.answer(IDS[2:], chosen)[0], model.head(states[:4].mean(0)))


def test_with_all_prompts_chosen_it_is_prompt_tuning():
    model = pool(pool=3, top=3)
    word = model.body.inner.embeddings.word_embeddings
    rows = torch.cat([model.prompts.flatten(0, 1), word(IDS[2])])
    states = model.body.inner(inputs_embeds=rows.unsqueeze(0)).last_hidden_state[0]
    torch.testing.assert_close(model(IDS[2:])[0], model.head(states[:6].mean(0)))
    with torch.no_grad():
        before = model(IDS)
        model.keys.neg_()
        assert torch.equal(model(IDS), before)


def test_the_query_is_the_plain_model_and_does_not_see_the_pool():
    model = pool()
    near = model.near(IDS)
    torch.testing.assert_close(near, cosines(model.body(IDS), model.keys))
    with torch.no_grad():
        model.prompts.normal_()
    assert torch.equal(model.near(IDS), near)
    assert {k for k, p in model.named_parameters() if p.requires_grad} == {
        "prompts", "keys", "head.weight", "head.bias"
    }  # fmt: skip


def test_the_start():
    model = pool(pool=40, length=10)
    table = model.body.inner.embeddings.word_embeddings.weight
    assert model.prompts.std().item() == pytest.approx(table.std().item(), rel=0.05)
    assert 0.9 < model.keys.abs().max() < 1.0
    assert (model.penalty == 1).all()


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_nothing(name):
    model = pool(name)
    whole = model(IDS)
    for i, length in enumerate((3, 4, 6)):
        torch.testing.assert_close(model(IDS[i : i + 1, :length])[0], whole[i])
    other = IDS.clone()
    other[0, 2] = 9
    assert (model.answer(other, smallest(model.near(IDS), 2)) - model(IDS))[0].abs().max() > 1e-6
    # A decoder's answer is read at the last token, where all that came before is seen.
    assert model.body.causal == (name in ("llama", "gpt2"))


@pytest.mark.parametrize(("second", "distance"), [(2.0, 0.0), (-1.0, 2.0)])
def test_distances_to_chosen_keys_are_added(second, distance):
    model = pool(pool=2, top=2)
    with torch.no_grad():
        # Keys along the query of the only sample that counts: 1 - cos is 0, and 0 or 2.
        one = model.body(IDS[:1])[0]
        model.keys.copy_(torch.stack([3 * one, second * one]))
    net, params = as_net(model)
    strategy = L2P(pool=2, top=2, strength=0.25, mask=False)
    batch = batch_of([0, 1, 2], weight=(1.0, 0.0, 0.0))
    base = net.losses(params, batch)
    state = {"classes": torch.ones(4, dtype=torch.bool), "counts": torch.zeros(2, dtype=torch.int64)}
    torch.testing.assert_close(strategy.losses(net, params, state, batch, base), base + 0.25 * distance)


def test_only_the_classes_at_hand_compete_but_for_samples_of_a_memory():
    net, params = as_net(pool())
    # Two samples came in, one with a class of another task; the third is of a memory.
    batch = batch_of([0, 2, 1], joined=(("replay/", 1),))
    state = {"classes": torch.tensor([1, 1, 0, 0]).bool(), "counts": torch.zeros(4, dtype=torch.int64)}
    loss = L2P(strength=0.0).losses(net, params, state, batch, net.losses(params, batch))
    outputs = net(params, batch.x, batch.task)
    few, all_ = outputs[0, :2].log_softmax(0), outputs.log_softmax(1)
    torch.testing.assert_close(loss[0], -(few[0] + all_[1, 2] + all_[2, 1]) / 3)


def test_votes_are_by_task():
    model = Voted(encoder(CONFIGS["bert"]())((6,), 4), 3, 1, 1, tasks=2)
    near = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.0, 0.9, 0.8], [0.0, 0.1, 0.9], [0.9, 0.0, 0.0]])
    ids = torch.tensor([[5], [5], [5], [5], [0]])
    task = torch.tensor([0, 0, 0, 1, 1])
    # Task 0: one for the first, two for the second. Task 1: the sample that is all padding has no vote.
    chosen = model.choose(near, ids, task, None)
    assert chosen.int().argmax(1).tolist() == [1, 1, 1, 2, 2]
    assert chosen.sum(1).tolist() == [1] * 5


def test_samples_that_do_not_count_have_no_vote():
    net, params = as_net(pool())
    batch = batch_of([0, 1, 2], weight=(1.0, 0.0, 1.0))
    voting = L2P(batchwise=True).batch(net, params, {}, batch)
    assert torch.equal(voting.x, IDS * torch.tensor([[1], [0], [1]]))
    assert L2P().batch(net, params, {}, batch) is batch


# ---- in training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [L2P(4, 1, 2), L2P(4, 1, 2, diversify=True, batchwise=True)], ids=str)
def test_it_keeps_the_contract(strategy, level):
    check_strategy(strategy, stream(each=14), model=BERT, level=level)


def test_what_is_not_chosen_stays_to_the_bit(walk):
    moments = list(walk(L2P(12, 2, 2, diversify=True), stream(), BERT, lr=0.05, decay=0.1, epochs=2))
    for (_, phase, before, at_first, _), (_, _, after, at_last, _) in zip(
        moments[1::3], moments[2::3], strict=True
    ):
        used = at_last["l2p"]["counts"] > at_first["l2p"]["counts"]
        assert used.any()
        assert not used.all()
        for name in ("prompts", "keys"):
            same = (before[name] == after[name]).view(12, -1)
            assert same[~used].all()
            assert not same[used].all(1).any()
        # The head: the rows of the task's classes, although AdamW has a momentum and decays.
        moved = (before["head.weight"] != after["head.weight"]).any(1)
        assert moved.nonzero().flatten().tolist() == [2 * phase.tasks[0], 2 * phase.tasks[0] + 1]
        assert all(torch.equal(before[k], v) for k, v in after.items() if k.startswith("body."))
        assert at_last["l2p"]["classes"].tolist() == moved.tolist()
    # Each of the samples chose two in each of its two epochs.
    seen = sum(2 * 2 * len(t.train) for t in stream())
    assert moments[-1][3]["l2p"]["counts"].sum() == seen


def test_diverse_choices_avoid_what_was_used(walk):
    moments = list(walk(L2P(8, 1, 2, diversify=True), stream(), BERT, lr=0.1, decay=0.0, epochs=6))
    counts = [m[3]["l2p"]["counts"] for m in moments if m[0] == "end"]
    assert (moments[1][2]["penalty"] == 1 / 8).all()
    torch.testing.assert_close(moments[4][2]["penalty"], (1 + counts[0]) / (1.0 + counts[0]).sum().double())
    often = counts[0] > counts[0].sum() / 8
    later = counts[1] - counts[0]
    assert later[often].sum() < 0.2 * later.sum()
    # When scoring, nobody is avoided.
    net, tensors = moments[4][4], moments[4][2]
    module = net.module.eval()
    near = module.near(IDS)
    expected = module.answer(IDS, smallest(-near, 2))
    with torch.no_grad():
        module.penalty.copy_(tensors["penalty"].float())
        torch.testing.assert_close(module(IDS), expected)


def test_it_learns_beside_a_memory_and_replicas_equal_those_alone():
    # Weights large enough for prompts to see something of the tokens.
    model = encoder(CONFIGS["bert"](initializer_range=0.5))
    options = {"model": model, "epochs": 8, "optimizer": "adam", "lr": 0.05, "dtype": "float64"}
    options |= {"batch_size": 8, "quiet": True}
    spec = "l2p(pool=4, length=2, top=2) + replay(16)"
    together = compare(stream("task"), [spec], seeds=2, **options)
    alone = compare(stream("task"), [spec], seeds=[1], **options)
    (name,) = together.strategies
    assert together.extras[name]["mapped"]
    assert alone.extras[name]["mapped"]
    np.testing.assert_allclose(together.scores[name][1:], alone.scores[name], atol=1e-9)
    assert together.metric("learning_accuracy", name).mean() > 0.7


# ---- refusals -----------------------------------------------------------------------------------------


NAMES = torch.tensor([[20, 3], [30, 3], [21, 3], [31, 3]])


@pytest.mark.parametrize(
    ("strategy", "model", "words"),
    [
        (lambda: L2P(), nn.Linear(5, 4), "give model='encoder'; found Linear"),
        (lambda: L2P(), matcher(NAMES, CONFIGS["bert"]()), "give model='encoder'; found Matcher"),
        (lambda: L2P(top=11), None, "top must be at most 10, the number of prompts; found 11"),
        (lambda: L2P(length=0), None, "length must be a whole number"),
        (lambda: L2P(strength=-1.0), None, "strength must be at least 0"),
        (
            lambda: L2P(4, 2, 2),
            encoder(CONFIGS["bert"](max_position_embeddings=8)),
            "room for 4 vectors of prompts before 5 tokens; found max_position_embeddings=8",
        ),
    ],
)  # fmt: skip
def test_refusals(strategy, model, words):
    with pytest.raises(PerdureError, match=words) as caught:
        compare(stream(), [strategy()], model=model, seeds=1, quiet=True)
    assert "\n" not in str(caught.value)
