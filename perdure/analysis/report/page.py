"""The report: one HTML page with tables, figures, configuration, costs and warnings, all in one file."""

from __future__ import annotations

import json
import os
from importlib import resources
from typing import TYPE_CHECKING, Any

from perdure.analysis import tables
from perdure.analysis.files import write_beside
from perdure.analysis.metrics.labels import label
from perdure.analysis.metrics.registry import METRICS
from perdure.analysis.notes import notes
from perdure.analysis.report import pairs as report_pairs
from perdure.analysis.report import tables as report_tables
from perdure.analysis.report.figures import pictures
from perdure.analysis.wellformed import CORRELATIONS

if TYPE_CHECKING:
    from perdure.analysis.record import Record

TEMPLATE = "report.html.j2"


# A setting longer than this is folded away.
LONG = 400


def render(results: Record) -> str:
    """Return the page as text; equal results give equal text."""
    import jinja2

    source = resources.files("perdure.analysis.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    table = tables.means(results)
    drawn, compared = list(pictures(results)), report_pairs.compared(results)
    costs = report_tables.costs(results)
    more = [report_tables.between(results), report_tables.thresholds(results)]
    return environment.from_string(source).render(
        contents=[
            ("figures", "Figures"),
            *((f"figure-{place}", picture.title) for place, picture in enumerate(drawn, start=1)),
            ("results", "Results"),
            *([("pairs", "Paired comparisons")] if compared.tables else []),
            *([("costs", "Costs")] if costs else []),
            ("configuration", "Configuration"),
            ("definitions", "Definitions"),
        ],
        title=str(results.config.get("stream", "results")),
        facts=_facts(results),
        notes=notes(results),
        summaries=[*report_tables.summaries(results, table), *(one for one in more if one is not None)],
        bounds="censored" in table,
        pairs=compared,
        pictures=drawn,
        costs=costs,
        settings=_settings(results),
        long=LONG,
        formulas=[
            (label(results, name), METRICS[name].formula) for name in METRICS if name in set(table["metric"])
        ],
    )


def write(results: Record, path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``."""
    write_beside(path, render(results).encode(errors="replace"))


def _facts(results: Record) -> list[str]:
    config = results.config
    facts = [
        f"{len(results.tasks)} tasks",
        f"{len(results.strategies)} strategies",
        f"{len(results.seeds)} seeds",
    ]
    facts = [fact if not fact.startswith("1 ") else _singular(fact) for fact in facts]
    if "setting" in config:
        facts.insert(0, f"{config['setting']}-incremental" if config["setting"] != "joint" else "joint")
    if "model" in config:
        facts.append(f"model {config['model']}")
    if "fingerprint" in config:
        facts.append(f"stream {config['fingerprint']}")
    return facts


def _singular(fact: str) -> str:
    return fact.replace("strategies", "strategy").removesuffix("s")


def _settings(results: Record) -> list[tuple[str, str]]:
    settings = [(key, _plain(_small(value))) for key, value in results.config.items()]
    return settings + [
        (f"{name}: {key}", _plain(v))
        for name, e in results.extras.items()
        for key, v in e.items()
        if key not in ("report", "film")  # long, and drawn
    ]


def _small(value: Any) -> Any:
    """Leave out the correlations of tasks, which are drawn: of many tasks they are long."""
    return {k: v for k, v in value.items() if k not in CORRELATIONS} if isinstance(value, dict) else value


def _plain(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ", ".join(str(item) for item in value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
