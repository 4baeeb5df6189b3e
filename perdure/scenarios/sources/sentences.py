"""Sentences as token ids, or as embeddings of a small pretrained transformer (the extra ``text``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.models.backbones.huggingface import MINILM, advice, load_transformer, package_folder

LONGEST = 256


def tokenize(texts: Sequence[str], length: int = 32, tokenizer: str = MINILM) -> Tensor:
    """Turn sentences into token ids, ``[n, length]`` int64, padded with 0.

    Parameters
    ----------
    texts:
        Sentences; what is beyond ``length`` tokens, start and end included, is left out.
    length:
        How many tokens a row holds.
    tokenizer:
        ``"minilm"`` (from the extra ``text``), or a ``tokenizer.json`` or the folder that holds one.

    Raises
    ------
    PerdureError
        When the extra is not installed, or the file is missing or unreadable.
    """
    read = _tokenizer(tokenizer)
    read.enable_truncation(check_whole("`length`", length))
    read.enable_padding(pad_id=0, length=length)
    return torch.tensor([one.ids for one in read.encode_batch(list(texts))], dtype=torch.int64)


def embed(texts: list[str], batch: int = 64) -> Tensor:
    """Embed sentences with all-MiniLM-L6-v2: the mean of the tokens' outputs, scaled to length 1.

    The weights come from the installed package, in safetensors form; nothing is downloaded or kept.

    Parameters
    ----------
    texts:
        Sentences; what is beyond 256 tokens is left out.
    batch:
        How many are embedded at a time.

    Returns
    -------
    Tensor
        ``[n, 384]`` float32.

    Raises
    ------
    PerdureError
        When the extra is not installed.
    """
    tokenizer, model = _tokenizer(MINILM), load_transformer()
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    encoded = tokenizer.encode_batch(texts)
    # Sentences of one length go together, so that little padding is computed.
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i].ids))
    rows: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            some = [encoded[i] for i in order[start : start + batch]]
            longest = max(len(one.ids) for one in some)
            ids = torch.tensor([one.ids + [0] * (longest - len(one.ids)) for one in some])
            mask = torch.tensor([[1] * len(one.ids) + [0] * (longest - len(one.ids)) for one in some])
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(-1).to(states.dtype)
            mean = (states * weight).sum(1) / weight.sum(1)
            rows.append(torch.nn.functional.normalize(mean, dim=1))
    out = torch.empty(len(texts), rows[0].shape[1])
    out[order] = torch.cat(rows)
    return out


def _tokenizer(source: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise PerdureError(advice("tokenizers")) from None
    place = package_folder() if source == MINILM else Path(source)
    file = place / "tokenizer.json" if place.is_dir() else place
    try:
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except OSError:
        raise PerdureError(f"expected a tokenizer.json or a folder that holds one; found {source}") from None
    except Exception as error:  # the library raises plain exceptions
        raise PerdureError(f"cannot read the tokenizer {file}: {error}") from None
