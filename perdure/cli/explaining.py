"""What ``perdure show`` says of a name: its parameters, what they mean, its formula and its source."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from perdure.cli.catalogue import default, parameters, plain, registries, taken
from perdure.core.checks import described
from perdure.core.errors import unknown
from perdure.core.specs import parse

_SECTION = re.compile(r"^([A-Z]\w+)\n-{3,}\n", re.MULTILINE)
_NAMES = re.compile(r"[\w*][\w*, ]*:")


class Entry(NamedTuple):
    """What a name stands for: its kind in the singular, what builds it, and how it is typed."""

    kind: str
    maker: Callable[..., Any]
    typed: str
    given: int = 0


class Doc(NamedTuple):
    """A docstring: paragraphs before its parameters and after them, and the meaning of each parameter."""

    before: list[str]
    meaning: dict[str, str]
    after: list[str]


def find(name: str) -> list[Entry]:
    """Return what a name stands for; of ``split-digits`` both the generator and the source."""
    from perdure.scenarios.registry import halves

    tables = registries()
    if found := halves(name):
        generator, source = found
        return [
            Entry("stream", tables["streams"].maker(generator), name, given=1),
            Entry("source", tables["sources"].maker(source), name),
        ]
    return [
        Entry(table.kind, maker := table.maker(name), name + parameters(maker, given), given)
        for kind, table in tables.items()
        if name in table
        for given in [int(kind == "operators")]
    ]


def explain(spec: str) -> Iterator[str]:
    """Give the lines of ``perdure show``."""
    from perdure.analysis import METRICS

    name = parse(spec)[0]
    width = shutil.get_terminal_size().columns
    if name in METRICS:
        metric = METRICS[name]
        better = "higher" if metric.higher_is_better else "lower"
        yield f"{name}: metric, {metric.label}, {better} is better"
        yield from _wrapped(metric.formula, 2, width)
        return
    found = find(name)
    if not found:
        raise unknown("name", name, {*METRICS, *(one for table in registries().values() for one in table)})
    for entry in found:
        yield from _explained(entry, width)


def _explained(entry: Entry, width: int) -> Iterator[str]:
    doc = read_doc(entry.maker)
    yield from _wrapped(f"{entry.typed}: {entry.kind}", 0, width)
    for paragraph in doc.before:
        yield from ["", *_wrapped(paragraph, 2, width)]
    words = described(entry.maker)
    for parameter in taken(entry.maker, entry.given):
        kind = words.get(parameter.name, "anything")
        yield from ["", *_wrapped(f"{parameter.name}={default(parameter)}: {kind}", 2, width)]
        yield from _wrapped(doc.meaning.get(parameter.name, ""), 6, width)
    for paragraph in doc.after:
        yield from ["", *_wrapped(paragraph, 2, width)]
    yield ""


def _wrapped(text: str, indent: int, width: int) -> list[str]:
    mark = " " * indent
    return textwrap.wrap(
        text, width, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def read_doc(maker: Callable[..., Any]) -> Doc:
    """Read a docstring; meanings of inherited parameters are those of the class that has them."""
    classes = [one for one in maker.__mro__ if one is not object] if isinstance(maker, type) else [maker]
    docs = [_read(inspect.cleandoc(one.__doc__ or "")) for one in classes]
    meaning = {name: text for doc in reversed(docs) for name, text in doc.meaning.items()}
    return docs[0]._replace(meaning=meaning)


def _read(text: str) -> Doc:
    head, *sections = _SECTION.split(text)
    meaning: dict[str, str] = {}
    after: list[str] = []
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        blocks, rest = _blocks(body)
        if title == "Parameters":
            meaning = {name.strip(): text for names, text in blocks for name in names.split(",")}
        after += [text for text in rest if title == "Parameters" or text.startswith("Source")]
    return Doc(_paragraphs(head), meaning, after)


def _blocks(body: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Split a section into (names, meaning), and the paragraphs that follow."""
    blocks: list[tuple[str, list[str]]] = []
    lines = body.splitlines()
    for i, line in enumerate(lines):
        if _NAMES.fullmatch(line):
            blocks.append((line[:-1], []))
        elif line.startswith(" ") and blocks:
            blocks[-1][1].append(line.strip())
        elif line.strip():
            return [(n, plain(" ".join(t))) for n, t in blocks], _paragraphs("\n".join(lines[i:]))
    return [(names, plain(" ".join(text))) for names, text in blocks], []


def _paragraphs(text: str) -> list[str]:
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return [plain(block) for block in blocks if block and not block.startswith(">>>")]
