"""``compare`` and ``run``: strategies on a stream, all seeds at once, in one visible loop."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

from perdure.analysis.files import FolderError
from perdure.analysis.results import Results
from perdure.core.checks import checked
from perdure.core.errors import PerdureError
from perdure.core.memory_limit import bounded
from perdure.core.progress import Progress
from perdure.engine import redraw
from perdure.engine.checkpoint import Checkpoint, open_run
from perdure.engine.engine import Engine
from perdure.engine.external import check_external, run_external
from perdure.engine.outcome import Outcome, collect, join, name_all, renamed
from perdure.engine.trained import Trained
from perdure.optim.optimizer import Optimizer
from perdure.scenarios.contract.check_stream import check_stream
from perdure.scenarios.contract.doubts import doubts
from perdure.scenarios.contract.stream import Stream
from perdure.strategies.contract.composition import lay_out, parts
from perdure.strategies.contract.external import External
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.strategy import Strategy
from perdure.training import Model, Settings, Strategies, make_settings, read_strategies, read_stream

# Share of the first loss by which the last may lie above it and still be taken for the same.
LOSS_NOISE = 1e-3


@checked
def compare(
    stream: Stream | str,
    strategies: Strategies,
    *,
    model: Model = "mlp",
    seeds: int | Sequence[int] = 10,
    epochs: int | None = None,
    batch_size: int = 32,
    optimizer: str | Optimizer = "sgd",
    lr: float = 0.1,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    device: str | torch.device = "auto",
    dtype: str = "float32",
    precision: str | None = None,
    pretrained: bool = False,
    eval_every: int | None = None,
    tune: Mapping[str, Sequence[float]] | None = None,
    out: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    keep: bool = False,
) -> Results:
    """Train every strategy on the stream, all seeds at once, and score every task after every stage.

    Parameters
    ----------
    stream:
        A stream or its name (``"split-digits"``).
    strategies:
        Strategies or their names (``"ewc(strength=20)"``, ``"replay(200) + ewc"``); one alone will do.
        Results call each by the text that was typed, a strategy object by ``str(strategy)``; a table gives
        labels: ``{"weak": "ewc(1)", "strong": EWC(20.0)}``.
    model:
        A name (``"mlp(hidden=[64, 64])"``), a function that builds a module (of nothing, or of the input
        shape and the number of outputs), or a module, which is re-drawn for each seed through
        ``reset_parameters``; a warning in the results names what that cannot draw, or replaces.
    seeds:
        How many seeds, or which. A seed fixes the weights at the start and every later draw.
    epochs, batch_size:
        Passes over each task's data, and samples per step. Without ``epochs``, as many as give a task of
        typical size at least 50 steps, and 10 per class; one if the stream is online.
    optimizer, lr, weight_decay, schedule:
        ``sgd``, ``adam`` or ``adamw`` with parameters (``"sgd(momentum=0.9)"``); the schedule runs once over
        each phase.
    device:
        ``"auto"`` takes CUDA where there is one.
    dtype:
        ``"float32"`` or ``"float64"``.
    precision:
        ``"bfloat16"`` runs the model under autocast.
    pretrained:
        Keep the weights of ``model``, a module, as the common start.
    eval_every:
        Also score all tasks every so many steps.
    tune:
        Values of ``lr`` and ``weight_decay`` to choose from. All are trained in one go; each strategy gets
        the values with the best final average score on the validation parts, meaned over seeds.
    out:
        Folder to save the results in. One that holds a run is refused without ``resume`` or ``overwrite``.
    quiet:
        Show no progress bar.
    resume:
        Continue the run that was stopped in ``out``; the numbers are those of a run that was not. What is
        finished there is not trained again, and strategies that are new are added to it.
    overwrite:
        Replace the run in ``out``. One that is finished stays until the new results are whole.
    keep:
        Keep the trained replicas: ``results.trained[name]``, a :class:`perdure.engine.trained.Trained`. They
        are not saved with the results, so with ``resume`` what is finished is trained again for them.

    Returns
    -------
    Results
        ``results.scores[name]`` is ``[replica, stage, task]``.

    Raises
    ------
    PerdureError
        On bad input, before any training. What a single strategy raises later does not stop the others: it
        is reported in ``results.warnings`` and ``results.config["failed"]``, unless none finishes.
    """
    stream, plugins = read_stream(stream), read_strategies(strategies)
    settings = make_settings(
        stream, model=model, seeds=seeds, epochs=epochs, batch_size=batch_size, optimizer=optimizer, lr=lr,
        weight_decay=weight_decay, schedule=schedule, device=device, dtype=dtype, precision=precision,
        pretrained=pretrained, eval_every=eval_every, tune=tune,
    )  # fmt: skip
    if not plugins:
        raise PerdureError("expected at least one strategy; found none")
    check_stream(stream)
    with open_run(out, resume, overwrite) as kept:
        config = describe(stream, plugins, settings)
        done = kept.finished(config)
        if done is not None:
            config |= name_all(plugins, done.config)
            done = renamed(done, config)
        config["bounds"] = bounds_in(plugins.values(), config, done)
        todo = left_to_do(plugins.values(), config, None if keep else done)
        if done is not None and not todo:
            kept.clear(done)
            return done
        rehearse(stream, list(todo.values()), settings)
        kept.begin(config)
        outcomes, failed = {}, {}
        with Progress(quiet) as progress:
            for name, strategy in todo.items():
                try:
                    outcome = run(stream, strategy, settings, progress.of(name), kept.of(str(strategy)))
                except FolderError:
                    raise
                except Exception as error:  # The others go on; the results say what became of this one.
                    failed[name] = error
                else:
                    outcomes[name] = outcome if keep else replace(outcome, trained=None)
        results = collect(outcomes, failed, settings, config)
        results.warnings[:0] = [*doubts(stream), *notes_on(settings)]
        if done is not None:
            results = join(done, results)
        results.warnings += kept.left_out(config)
        kept.finish(results)
    return results


def run(
    stream: Stream,
    strategy: Strategy,
    settings: Settings,
    tick: Callable[[int, int], None] = lambda done, total: None,
    checkpoint: Checkpoint = Checkpoint(),  # noqa: B008 (it keeps nothing)
) -> Outcome:
    """Train one strategy through its phases: the loop that everything else serves.

    ``tick`` is called with the steps done and the steps in all.
    """
    if isinstance(strategy, External):
        return run_external(stream, strategy, settings, tick)
    engine = make_engine(stream, strategy, settings)
    phases = get_phases(strategy, stream)
    total = sum(engine.steps_in(p, [len(stream[t].train) for t in p.tasks]) for p in phases)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with engine.during("train"):
            replica = engine.start()
        last = next(phase.tasks for phase in reversed(phases) if phase.stage)
        with engine.during("eval"):
            outcome = Outcome(engine.evaluate(replica))
            began = engine.training_loss(replica, last)
        replica, done = checkpoint.restore(engine, replica, outcome)
        for i, phase in list(enumerate(phases))[done:]:
            with engine.during("train"):
                data = engine.load(phase)
                replica = engine.boundary(replica, phase, data, "begin_task")
                for replica in engine.train(replica, phase, data):  # noqa: B020 (each is the next)
                    if settings.eval_every and engine.step_count % settings.eval_every == 0:
                        with engine.during("eval"):
                            scores = engine.evaluate(replica)
                        outcome.curve.append((engine.step_count, len(outcome.scores), scores))
                    tick(engine.step_count, total)
                replica = engine.boundary(replica, phase, data, "end_task")
            if phase.stage:
                with engine.during("eval"):
                    scores = engine.evaluate(replica)
                if settings.eval_every and engine.step_count % settings.eval_every:
                    outcome.curve.append((engine.step_count, len(outcome.scores), scores))
                outcome.scores.append(scores)
                engine.costs.end_stage()
            outcome.hear(heard)
            checkpoint.save(engine, replica, outcome, i + 1)
        if len(settings.grid) > 1:
            outcome.validation = engine.evaluate(replica, engine.load_scored([t.val for t in stream]))
        with engine.during("eval"):
            outcome.learned = engine.training_loss(replica, last) <= began + LOSS_NOISE * began.abs()
    outcome.hear(heard)
    outcome.diverged = engine.diverged(replica)
    outcome.costs = engine.report_costs(replica)
    outcome.trained = Trained(engine.program, {k: replica[k] for k in ("params", "buffers", "state")})
    outcome.extras = {"mapped": engine.mapper.mapped, **engine.costs.per_stage(engine.one_pass(phases))}
    return outcome if len(settings.grid) > 1 else outcome.told(settings.seeds)


def make_engine(stream: Stream, strategy: Strategy, settings: Settings) -> Engine:
    """Lay out one replica per seed and grid point."""
    replicas = settings.replicas
    return Engine(
        stream,
        strategy,
        settings.optimizer,
        settings.builder(),
        seeds=[seed for seed, _ in replicas],
        lr=[point.get("lr", settings.lr) for _, point in replicas],
        decay=[point.get("weight_decay", settings.weight_decay) for _, point in replicas],
        schedule=settings.factor(),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        device=settings.device,
        dtype=settings.dtype,
        precision=settings.precision,
        pretrained=settings.pretrained,
    )


def rehearse(stream: Stream, strategies: Sequence[Strategy], settings: Settings) -> None:
    """Lay out one replica of every strategy, so that what does not fit is found before any work."""
    one = replace(settings, seeds=settings.seeds[:1], grid=({},))
    for strategy in strategies:
        if isinstance(strategy, External):
            check_external(strategy, settings)
        else:
            get_phases(strategy, stream)
            with warnings.catch_warnings(), bounded(str(strategy), len(settings.replicas), settings.device):
                # The run says the same again, among its results.
                warnings.simplefilter("ignore", RuntimeWarning)
                make_engine(stream, strategy, one).start()


def get_phases(strategy: Strategy, stream: Stream) -> list[Phase]:
    """Return a strategy's phases; they must score once, or once per task."""
    phases = lay_out(strategy, stream)
    stages = sum(p.stage for p in phases)
    if stages not in (1, len(stream)):
        raise PerdureError(
            f"{strategy} must score once or after each of the {len(stream)} tasks; "
            f"its phases score {stages} times"
        )
    for phase in phases:
        if not phase.tasks or not all(0 <= t < len(stream) for t in phase.tasks):
            raise PerdureError(
                f"phase {phase.name!r} of {strategy} must name tasks in [0, {len(stream)}); "
                f"found {phase.tasks}"
            )
    return phases


def notes_on(settings: Settings) -> list[str]:
    """Say what seeds share of a model that is a module, and what of it is lost."""
    given = settings.model
    return redraw.notes(given) if isinstance(given, nn.Module) and not settings.pretrained else []


def bounds_in(strategies: Iterable[Strategy], config: Mapping[str, Any], done: Results | None) -> list[str]:
    """Name the strategies of ``config`` that bound the others, those that are finished already included."""
    specs = {str(s) for s in strategies if any(p.bound for p in parts(s))}
    if done is not None:
        specs |= {done.config["strategies"][name] for name in done.config.get("bounds", [])}
    return [name for name, spec in config["strategies"].items() if spec in specs]


def left_to_do(
    strategies: Iterable[Strategy], config: Mapping[str, Any], done: Results | None
) -> dict[str, Strategy]:
    """Return the strategies that are not among the finished ones, under the names of ``config``."""
    names = {spec: name for name, spec in config["strategies"].items()}
    finished = [] if done is None else [done.config["strategies"][name] for name in done.strategies]
    return {names[str(s)]: s for s in strategies if str(s) not in finished}


def describe(stream: Stream, strategies: Mapping[str, Strategy], settings: Settings) -> dict[str, Any]:
    """Return the configuration as results keep it: enough to run the same again."""
    model, tuned = settings.model, settings.grid[0]
    return {
        "stream": stream.name,
        "setting": stream.setting,
        "online": stream.online,
        "outputs": stream.outputs,
        "fingerprint": stream.fingerprint(),
        "tasks": stream.names,
        "train_sizes": [len(t.train) for t in stream],
        "test_sizes": [len(t.test) for t in stream],
        "metric": stream[0].objective.metric,
        "higher_is_better": stream[0].objective.higher_is_better,
        **name_all(strategies),
        "seeds": list(settings.seeds),
        "model": model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__),
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "optimizer": str(settings.optimizer),
        "lr": None if "lr" in tuned else settings.lr,
        "weight_decay": None if "weight_decay" in tuned else settings.weight_decay,
        "schedule": settings.schedule,
        "eval_every": settings.eval_every,
        "tune": list(settings.grid) if len(settings.grid) > 1 else None,
        "device": settings.device.type,
        "dtype": str(settings.dtype).removeprefix("torch."),
        "precision": None if settings.precision is None else str(settings.precision).removeprefix("torch."),
        "versions": {"perdure": version("perdure"), "torch": torch.__version__, "numpy": np.__version__},
    }
