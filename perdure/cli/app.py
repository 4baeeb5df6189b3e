"""The ``perdure`` command."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perdure.core.checks import check
from perdure.core.errors import PerdureError, shown, unknown

if TYPE_CHECKING:
    from rich.table import Table

    from perdure.analysis import Results

app = typer.Typer(
    help="Continual and multi-task learning: all seeds at once, honest intervals, forgetting curves.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Strategies = Annotated[
    list[str], typer.Argument(help='Such as naive "ewc(strength=20)" "replay(200) + ewc".')
]
Seeds = Annotated[str, typer.Option(help="How many, or which: 10 or 0,3,7 (one: 7,).")]
Out = Annotated[Path | None, typer.Option(help="Folder for scores and report.html.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in --out, or add strategies to it.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


# What typer raises for a command line that it cannot read; it carries its own copy of click.
ClickException: Any = typer.BadParameter.__mro__[2]


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; ``status`` is what the shell expects, ``hint`` how to go on.

    No KeyboardInterrupt: typer turns that into an exit of its own, without a word.
    """

    def __init__(self, status: int, hint: str = "") -> None:
        super().__init__(status)
        self.status, self.hint = status, hint


def main() -> None:
    """Run the command.

    Bad input is one line and status 2, an interruption one line and status 130 (Ctrl-C) or 143 (SIGTERM), a
    strategy that failed beside others that did not status 1.
    """
    # Threads that spin while they wait make a busy machine crawl; read by OpenMP when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    status: int | None = None
    try:
        with stoppable():
            status = app(args=sys.argv[1:] or ["--help"], prog_name="perdure", standalone_mode=False)
            sys.stdout.flush()
    except PerdureError as error:
        status = complain(str(error), 2)
    except ClickException as error:
        status = complain(error.format_message(), 2)
    except (Stopped, KeyboardInterrupt) as stop:
        status = complain(f"stopped{getattr(stop, 'hint', '')}", getattr(stop, "status", 130))
    except BrokenPipeError:
        # Who reads has enough; what is left in the buffer must not be written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        status = complain(f"expected to write the output; found: {error.strerror or error}", 2)
    if status:
        sys.exit(status)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise :class:`Stopped`; a signal that is ignored (``nohup``) stays so."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(128 + number)

    taken = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
    before = {s: signal.signal(s, stop) for s in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def complain(text: str, status: int) -> int:
    """Print what is wrong in one line; returns the status."""
    print("perdure: " + " ".join(text.split()), file=sys.stderr)
    return status


@app.command("list")
def list_all() -> None:
    """List streams, sources, strategies, models, optimisers and metrics, with their parameters."""
    from perdure.cli import catalogue

    for kind, rows in catalogue.everything().items():
        print(f"{kind}:")
        width = min(40, max((len(name) for name, _ in rows), default=0))
        for name, line in rows:
            # A long list of parameters gets a line of its own.
            print(f"  {name}" if len(name) > width or not line else f"  {name:<{width}}  {line}")
            if len(name) > width:
                print(f"  {'':<{width}}  {line}")


@app.command("compare")
def compare_command(
    stream: Annotated[str, typer.Argument(help='Such as split-digits or "permuted-digits(tasks=10)".')],
    strategies: Strategies,
    model: Annotated[str, typer.Option(help='Such as "mlp(hidden=[64, 64])".')] = "mlp",
    seeds: Seeds = "10",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over each task; by default at least 50 steps a task.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Samples per step.")] = 32,
    optimizer: Annotated[str, typer.Option(help='Such as sgd, "sgd(momentum=0.9)", adam, adamw.')] = "sgd",
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 0.1,
    weight_decay: Annotated[float, typer.Option(help="Weight decay.")] = 0.0,
    schedule: Annotated[str, typer.Option(help="constant, cosine, linear or steps.")] = "constant",
    clip: Annotated[float | None, typer.Option(help="Largest norm of a gradient.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    precision: Annotated[str | None, typer.Option(help="bfloat16 for autocast.")] = None,
    eval_every: Annotated[int | None, typer.Option(help="Also score every so many steps.")] = None,
    tune: Annotated[
        list[str] | None,
        typer.Option(help="lr=0.01,0.1 or ewc.strength=1,10: chosen per strategy on validation data."),
    ] = None,
    tune_on: Annotated[int | None, typer.Option(help="Choose on the first so many tasks only.")] = None,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Compare strategies on a stream."""
    carry_out(
        {
            "stream": stream, "strategies": strategies, "model": model, "seeds": read_seeds(seeds),
            "epochs": epochs, "batch_size": batch_size, "optimizer": optimizer, "lr": lr,
            "weight_decay": weight_decay, "schedule": schedule, "clip": clip, "device": device,
            "dtype": dtype, "precision": precision, "eval_every": eval_every,
            "tune": read_tune(tune or []), "tune_on": tune_on,
        },
        out, quiet=quiet, resume=resume, overwrite=overwrite,
    )  # fmt: skip


@app.command("run")
def run_command(
    file: Annotated[Path, typer.Argument(help="A TOML file with the arguments of `compare`.")],
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Run an experiment from a file."""
    arguments = read_file(file)
    folder = check("out", arguments.pop("out", None), str | None)
    place = out or (Path(folder) if folder else None)
    carry_out(arguments, place, quiet=quiet, resume=resume, overwrite=overwrite)


@app.command("report")
def report_command(
    folder: Annotated[Path, typer.Argument(help="A folder that compare or run wrote.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file; report.html in the folder.")] = None,
) -> None:
    """Write report.html, one file with the tables and figures of a run."""
    from perdure.analysis import load

    results = load(folder)
    target = out or folder / "report.html"
    results.report(target)
    show(results)
    print(f"report: {target}")


def carry_out(arguments: dict[str, Any], out: Path | None, **options: Any) -> None:
    """Run ``compare``, write the report, print the table; status 1 where a strategy failed."""
    stream, strategies = arguments.pop("stream"), arguments.pop("strategies")
    try:
        from perdure.experiment import compare

        results = compare(stream, strategies, out=out, **options, **arguments)
    except (Stopped, KeyboardInterrupt) as stop:
        hint = "" if out is None else f"; the same command with --resume goes on with the run in {out}"
        raise Stopped(getattr(stop, "status", 130), hint) from None
    if out is not None:
        results.report(out / "report.html")
    show(results)
    if out is not None:
        print(f"report: {out / 'report.html'}")
    if results.config.get("failed"):
        raise typer.Exit(1)


def show(results: Results) -> None:
    """Print the main metrics of every strategy, with intervals over seeds, and the notes.

    Intervals go below their means where the table is too wide for the terminal.
    """
    from rich.console import Console

    from perdure.analysis.notes import told

    console = Console()
    table = tabulate(results, " ")
    if console.measure(table, options=console.options.update(width=10_000)).maximum > console.width:
        table = tabulate(results, "\n")
    console.print(table)
    for line in told(results):
        console.print(f"note: {line}", highlight=False, markup=False)


def tabulate(results: Results, between: str) -> Table:
    """Lay out the main metrics, with ``between`` a mean and its interval."""
    from rich.table import Table
    from rich.text import Text

    wanted = ["average_accuracy", "forgetting", "learning_accuracy"]
    frame = results.table()
    frame = frame[frame["metric"].isin(wanted)]
    title = f"{results.config.get('stream', 'results')}, {len(results.seeds)} seeds: mean [95 % interval]"
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("strategy", overflow="fold", min_width=8)
    for metric in wanted:
        table.add_column(metric.replace("_", " "), justify="right", overflow="fold")
    for name in results.strategies:
        rows = frame[frame["strategy"] == name].set_index("metric")
        cells = (cell(rows, metric).replace(" ", between, 1) for metric in wanted)
        table.add_row(Text(name), *(Text(text) for text in cells))
    return table


def cell(rows: Any, metric: str) -> str:
    """Return mean and interval of one metric, or a dash where it is not defined."""
    if metric not in rows.index:
        return "-"
    from perdure.analysis import tables

    row = rows.loc[metric]
    return tables.cell(row["mean"], row["low"], row["high"], row.get("diverged", 0))


def read_seeds(text: str) -> int | list[int]:
    """Read ``10`` as a count; ``0,3,7``, and ``7,`` or ``[7]`` for a single one, as a list."""
    try:
        plain = text.strip()
        inside = plain[1:-1] if plain.startswith("[") and plain.endswith("]") else plain
        numbers = [int(part) for part in inside.strip().removesuffix(",").split(",")]
    except ValueError:
        raise PerdureError(
            f"seeds must be a count or a list like 0,3,7 (one seed: 7,); found {shown(text)}"
        ) from None
    return numbers if "," in plain or inside != plain else numbers[0]


def read_tune(texts: list[str]) -> dict[str, list[float]] | None:
    """Read ``["lr=0.01,0.1", "replay.capacity=50,200"]`` as a table; whole numbers stay whole."""
    grid: dict[str, list[float]] = {}
    for text in texts:
        key, _, values = text.partition("=")
        if key.strip() in grid:
            raise PerdureError(f"tune must give {key.strip()} once, such as lr=0.01,0.1; found {texts}")
        try:
            grid[key.strip()] = [number(value) for value in values.split(",")]
        except ValueError:
            raise PerdureError(f"tune must look like lr=0.01,0.1; found {text!r}") from None
    return grid or None


def number(text: str) -> float:
    """Read a number, a whole one as such."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def read_file(file: Path) -> dict[str, Any]:
    """Read the arguments of ``compare`` from a TOML file; unknown keys are an error."""
    import inspect

    from perdure.experiment import compare

    try:
        arguments = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise PerdureError(f"expected a TOML file; cannot read {file}") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, too many digits, nested too deeply
        raise PerdureError(f"expected a TOML file; {file} is none: {error}") from None
    known = set(inspect.signature(compare).parameters) - {"training", "quiet", "resume", "overwrite"}
    for key in arguments:
        if key not in known:
            raise unknown(f"key in {file}", key, known)
    for key in ("stream", "strategies"):
        if key not in arguments:
            raise PerdureError(
                f"expected the key {key!r} in {file}; found {', '.join(arguments) or 'nothing'}"
            )
    if isinstance(tune := arguments.get("tune"), dict):
        # TOML reads `ewc.strength = [1, 10]` as a table within the table.
        tables = {k: v for k, v in tune.items() if isinstance(v, dict)}
        flat = {f"{kind}.{name}": v for kind, table in tables.items() for name, v in table.items()}
        arguments["tune"] = {k: v for k, v in tune.items() if k not in tables} | flat
    return arguments
