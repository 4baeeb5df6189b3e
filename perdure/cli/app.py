"""The ``perdure`` command."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from perdure.cli.reading import import_all, read_file, read_seeds, read_tune
from perdure.cli.showing import show
from perdure.cli.stopping import Stopped, complain, stoppable
from perdure.core.checks import check
from perdure.core.errors import PerdureError, shown

app = typer.Typer(
    help="Continual and multi-task learning: all seeds at once, honest intervals, forgetting curves.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Strategies = Annotated[
    list[str], typer.Argument(help='Such as naive "ewc(strength=20)" "replay(200) + ewc".')
]
Seeds = Annotated[str, typer.Option(help="How many, or which: 10 or 0,3,7 (one: 7,).")]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", help="A Python file of yours that registers strategies, streams or models."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for scores and report.html.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in --out, or add strategies to it.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


# What typer raises for a command line that it cannot read; it carries its own copy of click.
ClickException: Any = typer.BadParameter.__mro__[2]


def main() -> None:
    """Run the command.

    Bad input is one line and status 2, an interruption one line and status 130 (Ctrl-C) or 143 (SIGTERM), a
    strategy that failed beside others that did not status 1.
    """
    # Threads that spin while they wait make a busy machine crawl; read by OpenMP when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    status: int | None = None
    try:
        with stoppable(), warnings.catch_warnings():
            warnings.showwarning = remark
            status = app(args=sys.argv[1:] or ["--help"], prog_name="perdure", standalone_mode=False)
            sys.stdout.flush()
    except PerdureError as error:
        status = complain(str(error), 2)
    except ClickException as error:
        status = complain(worded(error), 2)
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


def worded(error: Any) -> str:
    """Return what typer says of a command line, and the value where it leaves that out."""
    rows: list[Any] = getattr(error.__cause__, "errors", list)()
    return str(error.format_message()) + "".join(f"; found {shown(row['input'])}" for row in rows)


def remark(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line, without the place in the code that it came from."""
    complain(f"note: {message}", 0)


def print_version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        print(f"perdure {version('perdure')}")
        raise typer.Exit


@app.callback()
def root(
    asked: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take what stands before the command."""


@app.command("list")
def list_command(
    kind: Annotated[str | None, typer.Argument(help="One kind only, such as strategies.")] = None,
    imports: Imports = None,
) -> None:
    """List every name that can be typed, with its parameters."""
    from perdure.cli import catalogue

    import_all(imports or [])
    for line in catalogue.listing(kind):
        print(line)


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="Such as ewc, split-digits, mlp or forgetting.")],
    imports: Imports = None,
) -> None:
    """Show what a name means: parameters, formula, source."""
    from perdure.cli import explaining

    import_all(imports or [])
    for line in explaining.explain(name):
        print(line)


@app.command("compare")
def compare_command(
    stream: Annotated[str, typer.Argument(help='Such as split-digits or "permuted-digits(tasks=10)".')],
    strategies: Strategies,
    model: Annotated[
        str | None,
        typer.Option(help='Such as "mlp(hidden=[64, 64])"; by default what suits the stream.'),
    ] = None,
    seeds: Seeds = "10",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over each task; by default at least 50 steps a task.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples per step (32).")] = None,
    optimizer: Annotated[
        str | None, typer.Option(help='Such as sgd (the default), "sgd(momentum=0.9)", adam, adamw.')
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate (0.1).")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay (0).")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant (the default), cosine, linear or steps.")
    ] = None,
    clip: Annotated[float | None, typer.Option(help="Largest norm of a gradient.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, gpu (or cuda) or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    precision: Annotated[str | None, typer.Option(help="bfloat16 for autocast.")] = None,
    eval_every: Annotated[int | None, typer.Option(help="Also score every so many steps.")] = None,
    tune: Annotated[
        list[str] | None,
        typer.Option(help="lr=0.01,0.1 or ewc.strength=1,10: chosen per strategy on validation data."),
    ] = None,
    tune_on: Annotated[int | None, typer.Option(help="Choose on the first so many tasks only.")] = None,
    imports: Imports = None,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Compare strategies on a stream."""
    import_all(imports or [])
    training = {
        "epochs": epochs, "batch_size": batch_size, "optimizer": optimizer, "lr": lr,
        "weight_decay": weight_decay, "schedule": schedule, "clip": clip,
    }  # fmt: skip
    carry_out(
        {
            "stream": stream, "strategies": strategies, "model": model, "seeds": read_seeds(seeds),
            # What is not given is left to the stream.
            **{name: value for name, value in training.items() if value is not None},
            "device": device, "dtype": dtype, "precision": precision, "eval_every": eval_every,
            "tune": read_tune(tune or []), "tune_on": tune_on,
        },
        out, quiet=quiet, resume=resume, overwrite=overwrite,
    )  # fmt: skip


@app.command("run")
def run_command(
    file: Annotated[Path, typer.Argument(help="A TOML file with the arguments of `compare`.")],
    imports: Imports = None,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Run an experiment from a file."""
    import_all(imports or [])
    arguments = read_file(file)
    folder = check("out", arguments.pop("out", None), str | None)
    place = out or (Path(folder) if folder else None)
    carry_out(arguments, place, quiet=quiet, resume=resume, overwrite=overwrite)


@app.command("report")
def report_command(
    folder: Annotated[Path, typer.Argument(help="A folder that compare or run wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The HTML file; report.html in the folder.")
    ] = None,
) -> None:
    """Write report.html: tables and figures of a run."""
    from perdure.analysis import load

    results = load(folder)
    target = out or folder / "report.html"
    results.report(target)
    show(results)
    print(f"report: {target}")


@app.command("device")
def device_command(
    name: Annotated[str | None, typer.Argument(help="A task, such as SettingsWifi; none: list them.")] = None,
    seed: Annotated[int, typer.Option(help="Of the task's parameters and of what is on the phone.")] = 0,
    index: Annotated[int, typer.Option(help="Which instance of the task with this seed.")] = 0,
    oracle: Annotated[bool, typer.Option("--oracle", help="Watch the oracle play.")] = False,
    android_world: Annotated[
        str | None,
        typer.Option(help="Path of a Python that has android_world: its task, on an emulator that runs."),
    ] = None,
) -> None:
    """Carry out a task on a simulated phone."""
    from perdure.cli import device

    if name is None and (seed or index or oracle):
        raise PerdureError("expected a task with --seed, --index and --oracle; found none")
    if android_world is not None:
        device.real(android_world, name, seed, index, oracle)
        return
    if name is not None:
        device.simulated(name, seed, index, oracle)
        return
    for line in device.listing():
        print(line)


def carry_out(arguments: dict[str, Any], out: Path | None, **options: Any) -> None:
    """Run ``compare``, print the table; status 1 where a strategy failed."""
    stream, strategies = arguments.pop("stream"), arguments.pop("strategies")
    try:
        from perdure.experiment import compare

        results = compare(stream, strategies, out=out, **options, **arguments)
    except (Stopped, KeyboardInterrupt) as stop:
        hint = "" if out is None else f"; the same command with --resume goes on with the run in {out}"
        raise Stopped(getattr(stop, "status", 130), hint) from None
    show(results)
    if out is not None:
        print(f"report: {out / 'report.html'}")
    if results.config.get("failed"):
        raise typer.Exit(1)
