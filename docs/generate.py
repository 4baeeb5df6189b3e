"""Write docs/api.md and the tables of README.md from the docstrings: run `make docs`.

`tests/test_docs.py` compares the committed files with what this writes, so that they cannot go stale.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]

# What a user may rely on, in the order in which a reader needs it.
MODULES = (
    "perdure.experiment",
    "perdure.scenarios",
    "perdure.scenarios.sources",
    "perdure.scenarios.rl",
    "perdure.strategies",
    "perdure.envs",
    "perdure.envs.gym",
    "perdure.models",
    "perdure.analysis",
    "perdure.sensitivity",
    "perdure.core.net",
    "perdure.core.random",
    "perdure.strategies.parts.importance",
    "perdure.optim",
    "perdure.core.registry",
    "perdure.core.errors",
)
# Where only some names of a module are for users.
ONLY = {"perdure.experiment": ("compare", "run"), "perdure.core.net": ("Batch", "Net", "weighted_mean")}
HEAD = """\
# API reference

Written by `make docs` from the docstrings; do not edit. [concepts.md](concepts.md) explains how the parts
work together. `perdure` itself exports {names}.
"""
LISTS = ("Parameters", "Returns", "Raises", "Attributes", "Yields")


def api() -> str:
    """Return the text of docs/api.md."""
    import perdure

    modules = [m for m in map(import_module, MODULES) if names(m)]
    contents = [f"- [`{m.__name__}`](#{m.__name__.replace('.', '')}): {summary(m)}" for m in modules]
    head = HEAD.format(names=", ".join(f"`{name}`" for name in perdure.__all__))
    return "\n".join([head, *contents, "", *(line for m in modules for line in module(m))]).rstrip() + "\n"


def names(m: ModuleType) -> list[str]:
    """Return the public names of a module: what `__all__` says, or what is defined in it."""
    if m.__name__ in ONLY:
        return list(ONLY[m.__name__])
    if hasattr(m, "__all__"):
        return [n for n in m.__all__ if not inspect.ismodule(getattr(m, n))]
    return [n for n, v in vars(m).items() if n[0] != "_" and getattr(v, "__module__", "") == m.__name__]


def module(m: ModuleType) -> Iterator[str]:
    """Write the section of a module."""
    yield from (f"## {m.__name__}", "", *text(m), "")
    for name in names(m):
        value = getattr(m, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            yield from entry(f"### {name}", name, value)
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    yield from entry(f"#### {name}.{method}", method, function)


def entry(title: str, name: str, value: Any) -> Iterator[str]:
    """Write signature and docstring of a class, function, method or property, if it is a public one."""
    function = getattr(value, "__func__", getattr(value, "fget", None) or value)
    if name[0] == "_" or not callable(function) or not own_doc(function):
        return
    plain = isinstance(value, property) or (inspect.isclass(value) and issubclass(value, BaseException))
    shown = name if plain else name + signature(value, function)
    yield from (title, "", "```python", shown, "```", "", *text(function), "")


def own_doc(value: Any) -> str:
    """Return the object's own docstring; what a dataclass gets when it has none is its signature."""
    doc = inspect.cleandoc(value.__doc__ or "")
    return "" if doc.startswith(f"{getattr(value, '__name__', '')}(") else doc


def signature(value: Any, function: Any) -> str:
    """Return the parameters and the result, on several lines when they are long."""
    sig = inspect.signature(function)
    parameters = [p for p in sig.parameters.values() if p.name not in ("self", "cls")]
    parts: list[str] = []
    for before, p in zip([None, *parameters], parameters, strict=False):
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        named = p.kind is p.KEYWORD_ONLY
        if named and (before is None or before.kind not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)):
            parts.append("*")
        kind = "" if p.annotation is p.empty else f": {annotation(p.annotation)}"
        default = "" if p.default is p.empty else f"{' = ' if kind else '='}{literal(p.default)}"
        parts.append(f"{stars}{p.name}{kind}{default}")
    result = "" if inspect.isclass(value) or sig.return_annotation is sig.empty else sig.return_annotation
    arrow = f" -> {annotation(result)}" if result != "" else ""
    line = f"({', '.join(parts)}){arrow}"
    if len(line) <= 88:
        return line
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){arrow}"


def annotation(value: Any) -> str:
    """Return an annotation as the source has it."""
    return value if isinstance(value, str) else inspect.formatannotation(value)


def literal(value: Any) -> str:
    """Return a default value, without the address of what has no notation."""
    return getattr(value, "__name__", None) or re.sub(r" object at 0x[0-9a-f]+", "", repr(value))


def summary(value: Any) -> str:
    """Return the first line of the docstring."""
    return inline(((inspect.getdoc(value) or "").strip().splitlines() or [""])[0])


def text(value: Any) -> list[str]:
    """Turn a docstring into Markdown."""
    lines = own_doc(value).splitlines()
    out: list[str] = []
    section = ""
    code = False
    for i, line in enumerate(lines):
        below = lines[i + 1] if i + 1 < len(lines) else ""
        if set(line) == {"-"} and out and section:
            continue
        if not code and line.startswith(">>>"):
            code = True
            out.append("```python")
        elif code and not line:
            code = False
            out.append("```")
        if code:
            out.append(line)
        elif below and set(below) == {"-"} and len(below) == len(line):
            section = line
            out += [f"**{line}**", ""]
        elif section in LISTS and line.startswith(" "):
            out.append("  " + inline(line.strip()))
        elif section in LISTS and below.startswith(" "):
            out.append(item(line))
        else:
            section = section if not line else ""
            out.append(inline(line))
    return [*out, "```"] if code else out


def item(line: str) -> str:
    """Turn ``a, b:`` into an item of a list."""
    head = ", ".join(f"`{name.strip()}`" for name in line.rstrip(":").split(","))
    return f"- {head}:"


def inline(line: str) -> str:
    """Turn the docstrings' markup inside a line into Markdown."""
    line = re.sub(r":[a-z:]+:`~?(?:perdure\.)?([^`]+)`", r"`\1`", line)
    return re.sub(r"``(.+?)``", r"`\1`", line)


def tables() -> dict[str, str]:
    """Return the tables of README.md by name."""
    from perdure import scenarios
    from perdure.analysis import METRICS
    from perdure.models import MODELS
    from perdure.optim.optimizer import OPTIMIZERS
    from perdure.scenarios.operators import OPERATORS
    from perdure.scenarios.registry import GENERATORS
    from perdure.scenarios.source import SOURCES
    from perdure.strategies import STRATEGIES

    def made(registry: Any) -> list[tuple[str, str]]:
        return [(name, summary(registry.maker(name))) for name in registry]

    return {
        "generators": table("generator", [(name, summary(f)) for name, f in GENERATORS.items()]),
        "sources": table("source", made(SOURCES)),
        "operators": table("operator", [(name, summary(getattr(scenarios, name))) for name in OPERATORS]),
        "strategies": table("strategy", made(STRATEGIES)),
        "models": table("model", made(MODELS)),
        "optimizers": table("optimizer", made(OPTIMIZERS)),
        "metrics": table("metric", [(name, f"`{m.formula}`") for name, m in METRICS.items()]),
    }


def table(kind: str, rows: list[tuple[str, str]]) -> str:
    """Return a table of names and what they are."""
    body = [f"| `{name}` | {what.replace('|', chr(92) + '|')} |" for name, what in rows]
    return "\n".join([f"| {kind} | |", "| --- | --- |", *body])


def readme(old: str) -> str:
    """Return README.md with its tables as they are now."""
    new = tables()

    def fill(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n{new[found[1]]}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", fill, old, flags=re.DOTALL)


def main() -> None:
    """Write both files."""
    page = ROOT / "README.md"
    page.write_text(readme(page.read_text(encoding="utf-8")), encoding="utf-8")
    (ROOT / "docs" / "api.md").write_text(api(), encoding="utf-8")


if __name__ == "__main__":
    main()
