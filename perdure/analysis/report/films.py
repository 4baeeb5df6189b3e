"""The strips of the report: pictures of episodes with a line above each, in the colours of the page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from perdure.analysis.film import MOMENTS, Strip, filmed
from perdure.analysis.plots.film import in_order, title_of
from perdure.analysis.plots.labels import cut, shorten

if TYPE_CHECKING:
    from perdure.analysis.record import Record

# In pixels of the page: width of a drawing, of the line between two pictures, height of a row of text, and
# what is between two rows.
WIDTH, BETWEEN, TEXT, GAP = 560, 3, 16, 6
LONGEST = 60  # characters of a strategy's name


def drawings(results: Record) -> tuple[list[str], list[str]]:
    """Return an SVG element for each strategy, and the key to the names of tasks that were cut."""
    names = shorten(results.tasks, 36)
    return [_drawing(results, name, names.shown) for name in filmed(results)], names.key


def _drawing(results: Record, strategy: str, names: list[str]) -> str:
    parts, y = [_text(cut(strategy, LONGEST), TEXT - 3, bold=True)], TEXT + GAP
    for strip in in_order(results, strategy):
        parts.append(_text(title_of(results, strategy, strip, names), y + TEXT - 5))
        image, height = _image(strip, y + TEXT)
        parts.append(image)
        y += TEXT + height + GAP
    return f'<svg viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">{"".join(parts)}</svg>'


def _text(text: str, y: int, bold: bool = False) -> str:
    font = f'font-size="{13 if bold else 12}"' + (' font-weight="600"' if bold else "")
    return f'<text x="0" y="{y}" {font} fill="var(--ink)">{escape(text)}</text>\n'


def _image(strip: Strip, y: int) -> tuple[str, int]:
    wide, high = strip.size
    count = len(strip.steps)
    width = round(WIDTH * count / max(MOMENTS, count))
    height = round(width * high / wide)
    link = f"data:image/png;base64,{strip.png}"
    image = f'<image x="0" y="{y}" width="{width}" height="{height}" href="{link}"/>\n'
    cuts = " ".join(f"M{width * i / count:g} {y}v{height}" for i in range(1, count))
    line = f'<path d="{cuts}" stroke="var(--page)" stroke-width="{BETWEEN}"/>\n' if cuts else ""
    return image + line, height
