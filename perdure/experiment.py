"""``compare`` and ``run``: strategies on a stream, all seeds at once, in one visible loop."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from perdure.analysis.results import Results
from perdure.analysis.store import check_out
from perdure.arguments import checked
from perdure.checkpoint import Checkpoint, Checkpoints
from perdure.engine.engine import Engine
from perdure.engine.external import run_external
from perdure.engine.optim import Optimizer
from perdure.errors import PerdureError
from perdure.memory import bounded
from perdure.outcome import Outcome, array
from perdure.progress import Progress
from perdure.scenarios.check import check_stream
from perdure.scenarios.stream import Stream
from perdure.settings import Model, Settings, Strategies, make_settings, read_strategies, read_stream
from perdure.strategies.base import Phase, Strategy, parts
from perdure.strategies.external import External
from perdure.trained import Trained


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
    keep: bool = False,
) -> Results:
    """Train every strategy on the stream, all seeds at once, and score every task after every stage.

    Parameters
    ----------
    stream:
        A stream or its name (``"split-digits"``).
    strategies:
        Strategies or their names (``"ewc(strength=20)"``, ``"replay(200) + ewc"``); one alone will do.
    model:
        A name (``"mlp(hidden=[64, 64])"``), a function that builds a module (of nothing, or of the input
        shape and the number of outputs), or a module, which is re-drawn for each seed through
        ``reset_parameters``.
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
        Folder to save the results in.
    quiet:
        Show no progress bar.
    resume:
        Continue the run that was stopped in ``out``; the numbers are those of a run that was not.
    keep:
        Keep the trained replicas: ``results.trained[name]``, a :class:`perdure.trained.Trained`. They are not
        saved with the results.

    Returns
    -------
    Results
        ``results.scores[name]`` is ``[replica, stage, task]``.

    Raises
    ------
    PerdureError
        On bad input, before any training.
    """
    stream, plugins = read_stream(stream), read_strategies(strategies)
    if resume and out is None:
        raise PerdureError("resume continues the run in `out`, a folder; found none")
    settings = make_settings(
        stream, model=model, seeds=seeds, epochs=epochs, batch_size=batch_size, optimizer=optimizer, lr=lr,
        weight_decay=weight_decay, schedule=schedule, device=device, dtype=dtype, precision=precision,
        pretrained=pretrained, eval_every=eval_every, tune=tune,
    )  # fmt: skip
    names = get_names(plugins)
    if out is not None:
        check_out(out)
    check_stream(stream)
    named = dict(zip(names, plugins, strict=True))
    rehearse(stream, plugins, settings)
    config = describe(stream, named, settings)
    kept = None if out is None else Checkpoints(out, config, resume)
    outcomes = {}
    with Progress(quiet) as progress:
        for i, (name, strategy) in enumerate(named.items()):
            checkpoint = Checkpoint() if kept is None else kept.of(i)
            outcome = run(stream, strategy, settings, progress.of(name), checkpoint)
            outcomes[name] = outcome if keep else replace(outcome, trained=None)
    results = collect(outcomes, settings, config)
    if out is not None and kept is not None:
        results.save(out)
        kept.clear()
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
        with engine.during("eval"):
            outcome = Outcome(engine.evaluate(replica))
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
            engine.note_pass(phase, data)
            if phase.stage:
                with engine.during("eval"):
                    scores = engine.evaluate(replica)
                if settings.eval_every and engine.step_count % settings.eval_every:
                    outcome.curve.append((engine.step_count, len(outcome.scores), scores))
                outcome.scores.append(scores)
                engine.costs.end_stage()
            checkpoint.save(engine, replica, outcome, i + 1)
        if len(settings.grid) > 1:
            outcome.validation = engine.evaluate(replica, engine.load_scored([t.val for t in stream]))
    outcome.warnings = sorted({*outcome.warnings, *(str(w.message) for w in heard)})
    if lost := engine.diverged(replica):
        outcome.warnings.append(
            f"{lost} of {engine.replicas} replicas diverged (weights not finite): lower lr"
        )
    outcome.costs = engine.report_costs(replica)
    outcome.trained = Trained(engine.program, {k: replica[k] for k in ("params", "buffers", "state")})
    outcome.extras = {"mapped": engine.mapper.mapped, **engine.costs.per_stage()}
    return outcome


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
        if not isinstance(strategy, External):
            get_phases(strategy, stream)
            with bounded(str(strategy), len(settings.replicas), settings.device):
                make_engine(stream, strategy, one).start()


def get_phases(strategy: Strategy, stream: Stream) -> list[Phase]:
    """Return a strategy's phases; they must score once, or once per task."""
    phases = strategy.phases(stream)
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


def get_names(strategies: Sequence[Strategy]) -> list[str]:
    """Name each strategy by its kind, or by its parameters too where a kind comes twice."""
    if not strategies:
        raise PerdureError("expected at least one strategy; found none")
    kinds = ["+".join(p.kind for p in parts(s)) for s in strategies]
    names = [k if kinds.count(k) == 1 else str(s) for k, s in zip(kinds, strategies, strict=True)]
    for name in names:
        if names.count(name) > 1:
            raise PerdureError(f"expected different strategies; found {name!r} twice")
    return names


def collect(outcomes: Mapping[str, Outcome], settings: Settings, config: dict[str, Any]) -> Results:
    """Bring the outcomes of all strategies into one object; of a grid, only what was chosen."""
    kept = {name: outcome.choose(settings) for name, outcome in outcomes.items()}
    return Results(
        scores={n: array(torch.stack(o.scores, 1)) for n, o in kept.items()},
        untrained={n: array(o.untrained) for n, o in kept.items()},
        curves={n: o.get_curve() for n, o in kept.items() if o.curve},
        costs={n: o.costs for n, o in kept.items()},
        extras={n: o.extras for n, o in kept.items()},
        config=config,
        warnings=[f"{n}: {line}" for n, o in kept.items() for line in o.warnings],
        trained={n: o.trained for n, o in kept.items() if o.trained is not None},
    )


def describe(stream: Stream, strategies: Mapping[str, Strategy], settings: Settings) -> dict[str, Any]:
    """Return the configuration as results keep it: enough to run the same again."""
    model = settings.model
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
        "strategies": {n: str(s) for n, s in strategies.items()},
        "kinds": {n: "+".join(p.kind for p in parts(s)) for n, s in strategies.items()},
        "seeds": list(settings.seeds),
        "model": model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__),
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "optimizer": str(settings.optimizer),
        "lr": settings.lr,
        "weight_decay": settings.weight_decay,
        "schedule": settings.schedule,
        "eval_every": settings.eval_every,
        "tune": list(settings.grid) if len(settings.grid) > 1 else None,
        "device": settings.device.type,
        "dtype": str(settings.dtype).removeprefix("torch."),
        "precision": None if settings.precision is None else str(settings.precision).removeprefix("torch."),
        "versions": {"perdure": version("perdure"), "torch": torch.__version__, "numpy": np.__version__},
    }
