"""The table that the command line prints, as wide as the terminal and no wider."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

    from perdure.analysis import Results


class Layout(NamedTuple):
    """How a row is laid out: what stands between parts of a cell, and whether numbers stand for names."""

    between: str
    numbered: bool = False


# The first that fits the terminal is taken, the last whatever its width.
LAYOUTS = (Layout(" "), Layout("\n"), Layout(" ", numbered=True), Layout("\n", numbered=True))


def show(results: Results) -> None:
    """Print the main metrics of every strategy, with intervals over seeds, what tune chose, and the notes.

    Where the terminal is narrow, intervals go below their means, or rows are numbered and their names follow
    below: a name is never cut.
    """
    from rich.console import Console
    from rich.text import Text

    from perdure.analysis.notes import told

    console = Console()
    for layout in LAYOUTS:
        table = tabulate(results, layout)
        if console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width:
            break
    console.print(table)
    for number, name in enumerate(results.strategies, 1) if layout.numbered else ():
        console.print(Text(f"{number}: {name}"), overflow="fold")
    for line in told(results):
        console.print(f"note: {line}", highlight=False, markup=False)


def tabulate(results: Results, layout: Layout) -> Table:
    """Lay out the summary of results."""
    from rich.table import Table
    from rich.text import Text

    title = f"{results.config.get('stream', 'results')}, {len(results.seeds)} seeds: mean [95 % interval]"
    table = Table(title=Text(title, overflow="fold"), title_justify="left", box=None, pad_edge=False)
    summary = results.summary()
    table.add_column("" if layout.numbered else "strategy", overflow="fold")
    for head in summary.columns:
        table.add_column(head, justify="right", overflow="fold")
    for number, (name, *cells) in enumerate(summary.itertuples(name=None), 1):
        texts = (broken(str(cell), layout.between) for cell in cells)
        table.add_row(Text(str(number) if layout.numbered else name), *map(Text, texts))
    return table


def broken(cell: str, between: str) -> str:
    """Return ``mean [low, high]`` or ``lr=0.1, weight_decay=0`` with ``between`` its parts."""
    return cell.replace(" [", f"{between}[", 1) if "[" in cell else cell.replace(", ", f",{between}")
