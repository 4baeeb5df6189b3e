"""CLINC150: what people say to an assistant, 150 intents in ten domains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.scenarios.source import SOURCES, Source
from perdure.scenarios.sources.files import find, read_bytes, readable


@SOURCES.register("clinc150")
def clinc150(
    features: Literal["tfidf", "embedding", "tokens"] = "tfidf", words: int = 1000, length: int = 24
) -> Source:
    """Return CLINC150's sentences as vectors or token ids: 18,000 for training, 4,500 for testing.

    Read from the data set's own ``clinc150_full.json`` (also ``.gz``; ``data_full.json`` of clinc/oos-eval)
    and ``clinc150_domains.json`` (``domains.json``) in ``PERDURE_DATA``. The file's 15,000 training and
    3,000 validation sentences are joined, since generators choose validation samples themselves
    (``val=1/6`` gives the original sizes); sentences out of scope are left out. Domains are groups:
    ``split`` makes a task of each.

    Parameters
    ----------
    features:
        ``"tfidf"``: counts of words weighted by rarity, learned from the training sentences;
        ``"embedding"``: sentence embeddings of a small pretrained transformer, 384 values, which needs the
        extra ``text``. The last bits of an embedding depend on the machine, and so does the fingerprint.
        Either way a row's features have root mean square 1. ``"tokens"``: token ids of that transformer,
        for a model that reads them (``encoder``, ``matcher``), again with the extra ``text``.
    words:
        How many words TF-IDF keeps: the most frequent ones.
    length:
        How many tokens a row of ids holds; 24 is more than 99.5 % of the sentences have.

    Raises
    ------
    PerdureError
        When a file is missing or unreadable, or the extra is not installed.
    """
    if features not in ("tfidf", "embedding", "tokens"):
        raise PerdureError(f"`features` must be tfidf, embedding or tokens; found {features!r}")
    check_whole("`words`", words)
    full = find("clinc150", "clinc150_full.json.gz", "clinc150_full.json")
    listing = find("clinc150", "clinc150_domains.json", "clinc150_domains.json.gz")
    domains = _domains(listing)
    intents = [intent for group in domains.values() for intent in group]
    number = {intent: i for i, intent in enumerate(intents)}
    texts, y = _sentences(full, ("train", "val"), number)
    texts_test, y_test = _sentences(full, ("test",), number)
    if features == "tokens":
        from perdure.scenarios.sources.sentences import tokenize

        x, x_test = tokenize(texts, length), tokenize(texts_test, length)
    elif features == "embedding":
        from perdure.scenarios.sources.sentences import embed

        both = embed(texts + texts_test)
        x, x_test = both[: len(texts)], both[len(texts) :]
    else:
        x, x_test = _tfidf(texts, texts_test, words)
    if features != "tokens":
        # Rows of length 1 have features near 0, at which networks with usual starts and rates hardly learn.
        scale = x.shape[1] ** 0.5
        x, x_test = x * scale, x_test * scale
    return Source.build(
        "clinc150",
        x,
        y,
        x_test,
        y_test,
        class_names=intents,
        groups=[[number[intent] for intent in group] for group in domains.values()],
        group_names=list(domains),
        tokens=features == "tokens",
    )


def _json(path: Path) -> Any:
    content = read_bytes(path)
    with readable(path):
        return json.loads(content)


def _domains(path: Path) -> dict[str, list[str]]:
    domains = _json(path)
    if not isinstance(domains, dict) or not all(
        isinstance(group, list) and group for group in domains.values()
    ):
        raise PerdureError(f"{path}: expected lists of intents by domain; found something else")
    intents = [intent for group in domains.values() for intent in group]
    if len(set(intents)) < len(intents):
        raise PerdureError(f"{path}: every intent must be in one domain; found one that is in two")
    return domains


def _sentences(path: Path, parts: tuple[str, ...], number: dict[str, int]) -> tuple[list[str], list[int]]:
    """Return the sentences of some parts of the file, and the numbers of their intents."""
    data = _json(path)
    rows: list[Any] = []
    for part in parts:
        if not isinstance(data, dict) or not isinstance(data.get(part), list):
            raise PerdureError(f"{path}: expected lists of [sentence, intent] under train, val and test")
        rows += data[part]
    for row in rows:
        if not isinstance(row, list) or len(row) != 2 or not all(isinstance(value, str) for value in row):
            raise PerdureError(f"{path}: expected [sentence, intent]; found {str(row)[:80]}")
        if row[1] not in number:
            raise PerdureError(f"{path}: the intent {row[1]!r} is in no domain")
    return [text for text, _ in rows], [number[intent] for _, intent in rows]


def _tfidf(texts: list[str], texts_test: list[str], words: int) -> tuple[Any, Any]:
    """Return TF-IDF vectors, ``[n, words]``, with weights from the first list alone."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigh = TfidfVectorizer(max_features=words, sublinear_tf=True)
    try:
        train = weigh.fit_transform(texts)
    except ValueError as error:
        raise PerdureError(f"TF-IDF needs sentences with words: {error}") from error
    return tuple(part.toarray().astype("float32") for part in (train, weigh.transform(texts_test)))
