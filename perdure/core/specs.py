"""The little language of specs, ``name(value, key=value)``; nothing is evaluated."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from perdure.core.errors import SHOWN, PerdureError, shown

# How deep brackets may nest.
DEEPEST = 20
WORDS: dict[str, Any] = {
    "true": True, "false": False, "none": None, "inf": float("inf"), "infinity": float("inf"),
    "nan": float("nan"),
}  # fmt: skip

_STRING = re.compile(r"""[rR]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")""")
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][\da-fA-F_]+|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?|(?i:inf(?:inity)?|nan)\b)(?![\w.])"
)
# A name, or a path.
_WORD = re.compile(r"(?:[^\W\d]|[~/]|\.{1,2}/)(?:[\w./~@-]*[\w/~])?")
_KEY = re.compile(r"([^\W\d]\w*)\s*=(?!=)")
# Between specs within a spec.
_JOINT = re.compile(r"[+|](?=\s*[^\W\d])")
_NAME = re.compile(r"[^()\[\]{}'\"+|=,;:]*")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


def split_outside(text: str, mark: str) -> list[str]:
    """Cut ``"a(1) + b(c='+')"`` at a mark, where that stands outside brackets and quotes.

    >>> split_outside("replay(200) + ewc(fisher='a+b')", "+")
    ['replay(200)', "ewc(fisher='a+b')"]
    """
    parts, depth, start, at = [], 0, 0, 0
    while at < len(text):
        quoted = _STRING.match(text, at)
        if quoted:
            at = quoted.end()
            continue
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if text[at] == mark and depth == 0:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    parts.append(text[start:])
    return [part.strip() for part in parts]


def parse(spec: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Read ``"name(value, key=value)"`` into the name, the positional and the named values.

    Names may hold dashes. Values are numbers, strings in quotes, lists, tuples and tables of such, ``true``,
    ``false``, ``none``, ``inf`` and ``nan`` in any case. Any other word stands for itself, and so does a spec
    within the spec.

    Raises
    ------
    PerdureError
        For anything else; the line shows what may have been meant.

    >>> parse("split-digits(classes_per_task=2, setting=task)")
    ('split-digits', [], {'classes_per_task': 2, 'setting': 'task'})
    >>> parse("scaled(sgd(momentum=0.9), {head: 100})")
    ('scaled', ['sgd(momentum=0.9)', {'head': 100}], {})
    """
    try:
        return _read(spec)
    except _Wrong as wrong:
        guess = repair(spec)
        raise PerdureError(
            "expected name(value, key=value) with plain numbers, words or lists; "
            f"found {shown(spec)}: {wrong}" + (f"; did you mean {guess}?" if guess else "")
        ) from None


def write(name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> str:
    """Return the spec that :func:`parse` reads as this.

    >>> write("scaled", ["adamw"], {"factors": {"the head": 10}})
    "scaled(adamw, factors={'the head': 10})"
    """
    values = [write_value(value) for value in args]
    values += [f"{key}={write_value(value)}" for key, value in (kwargs or {}).items()]
    return f"{name}({', '.join(values)})" if values else name


def write_value(value: Any) -> str:
    """Return a value as it stands in a spec: words without quotes, everything else as Python writes it."""
    word = isinstance(value, str) and _WORD.fullmatch(value) and value.casefold() not in WORDS
    return str(value) if word else repr(value)


class _Wrong(Exception):
    """Why a text is no spec."""


def _read(spec: str) -> tuple[str, list[Any], dict[str, Any]]:
    name, bracket, _ = spec.partition("(")
    if not _NAME.fullmatch(name):
        raise _Wrong(f"{shown(name.strip())} is no name")
    if not bracket:
        return name.strip(), [], {}
    reader = _Reader(spec, len(name))
    args, kwargs = reader.call()
    reader.end()
    return name.strip(), args, kwargs


class _Reader:
    """Reads values from a place in a text on."""

    def __init__(self, text: str, at: int = 0) -> None:
        self.text, self.at, self.depth = text, at, 0

    def call(self) -> tuple[list[Any], dict[str, Any]]:
        """Read ``(value, key=value)``."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}

        def argument() -> None:
            key = self.find(_KEY)
            if not key:
                if kwargs:
                    raise _Wrong("a value without a name must come before those with one")
                args.append(self.value())
                return
            if key[1] in kwargs:
                raise _Wrong(f"{key[1]!r} is given twice")
            kwargs[key[1]] = self.value()

        self.inside("(", argument)
        return args, kwargs

    def value(self) -> Any:
        """Read a value of any kind."""
        self.skip()
        opener = self.text[self.at : self.at + 1]
        if opener == "[":
            return self.items("[")[0]
        if opener == "(":
            items, comma = self.items("(")
            return items[0] if len(items) == 1 and not comma else tuple(items)
        if opener == "{":
            return self.table()
        for pattern, convert in ((_STRING, _unquote), (_NUMBER, _to_number)):
            if found := self.find(pattern):
                return convert(found[0])
        return self.word()

    def word(self) -> Any:
        """Read a word, a spec, or several joined by ``+`` or ``|``, which stand for themselves."""
        start = self.at
        while True:
            found = self.find(_WORD)
            if not found:
                raise _Wrong(f"expected a value before {self.rest()}")
            end = self.at
            self.skip()
            if self.text.startswith("(", self.at):
                self.call()
                end = self.at
            if not self.find(_JOINT):
                break
        text = self.text[start:end].strip()
        return WORDS.get(text.casefold(), text)

    def items(self, opener: str) -> tuple[list[Any], bool]:
        """Read ``[value, value]``; also tell whether there was a comma."""
        found: list[Any] = []
        comma = self.inside(opener, lambda: found.append(self.value()))
        return found, comma

    def table(self) -> dict[Any, Any]:
        """Read ``{key: value}``."""
        found: dict[Any, Any] = {}

        def pair() -> None:
            key = self.value()
            if not self.take(":"):
                raise _Wrong(f"expected ':' before {self.rest()}")
            if not isinstance(key, str | int | float) or key in found:
                raise _Wrong(f"the keys of a table must be different words or numbers; found {shown(key)}")
            found[key] = self.value()

        self.inside("{", pair)
        return found

    def inside(self, opener: str, item: Callable[[], None]) -> bool:
        """Read items, with commas between them, up to the bracket that closes; tell if there were commas."""
        self.take(opener)
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Wrong(f"brackets nest deeper than {DEEPEST}")
        closer, comma = _PAIRS[opener], False
        while not self.take(closer):
            item()
            if self.take(","):
                comma = True
            elif not self.text.startswith(closer, self.at):
                raise _Wrong(f"expected ',' or {closer!r} before {self.rest()}")
        self.depth -= 1
        return comma

    def end(self) -> None:
        """Refuse what is left over."""
        self.skip()
        if self.at < len(self.text):
            raise _Wrong(f"nothing may follow the bracket; found {self.rest()}")

    def find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Go past what fits a pattern here, and return it."""
        self.skip()
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def take(self, mark: str) -> bool:
        """Go past a mark, if it stands here."""
        self.skip()
        there = self.text.startswith(mark, self.at)
        self.at += len(mark) if there else 0
        return there

    def skip(self) -> None:
        """Go past spaces."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def rest(self) -> str:
        """Say what stands here."""
        return shown(self.text[self.at :]) if self.at < len(self.text) else "the end"


def _unquote(text: str) -> str:
    try:
        with warnings.catch_warnings():  # "\d" is a mistake in Python, and what people mean in a pattern
            warnings.simplefilter("ignore")
            return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        raise _Wrong(f"{shown(text)} is no string") from None


def _to_number(text: str) -> int | float:
    plain = text.lstrip("+-").casefold()
    try:
        if plain in WORDS:
            return -WORDS[plain] if text.startswith("-") else WORDS[plain]  # type: ignore[no-any-return]
        return int(text, 0) if plain.startswith("0x") or not re.search("[.e]", plain) else float(text)
    except ValueError:  # 007, or more digits than Python reads
        raise _Wrong(f"{shown(text)} is no number") from None


# ---- guesses ------------------------------------------------------------------------------------------

# What people type instead, and what it has to be; each on top of those before.
_MENDED: list[tuple[str, str]] = [
    ("[\u2018\u2019\u201c\u201d]", "'"),
    (r"^\s*([\w-]+)\s*[\[{](.*)[\]}]\s*$", r"\1(\2)"),
    (r"^\s*([\w-]+)[\s:,(]+(\w+\s*=[^()]*)$", r"\1(\2)"),
    (r"([(,]\s*[^\W\d]\w*)\s*(?:==|:=|=>|:)", r"\1="),
    (";", ","),
    (r"(?<=[\w\])'\"}])\s+(?=\w+\s*=)", ", "),
]


def repair(spec: str) -> str | None:
    """Return the spec that a text with a common slip was meant to be, or ``None``.

    >>> repair("ewc(strength: 20"), repair("ewc[strength=20]")
    ('ewc(strength=20)', 'ewc(strength=20)')
    """
    if len(spec) > 2 * SHOWN:  # nobody reads it, and the patterns take their time
        return None
    text = spec
    for pattern, instead in _MENDED:
        text = re.sub(pattern, instead, text)
        try:
            guess = write(*_read(_balanced(text)))
        except _Wrong:
            continue
        return guess if len(guess) <= SHOWN else None
    return None


def _balanced(text: str) -> str:
    """Close the brackets that are open at the end, and drop those that close nothing there."""
    open_ones: list[str] = []
    for c in _STRING.sub("", text):
        if c in _PAIRS:
            open_ones.append(_PAIRS[c])
        elif open_ones and c == open_ones[-1]:
            open_ones.pop()
        elif c in ")]}":
            return text.rstrip().removesuffix(c)
    return text.rstrip().rstrip(",") + "".join(reversed(open_ones))
