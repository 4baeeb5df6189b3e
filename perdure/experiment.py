"""``compare`` and ``run``: strategies on a stream, all seeds at once, in one visible loop."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from perdure.analysis.files import FolderError
from perdure.analysis.results import Results
from perdure.core.checks import checked
from perdure.core.errors import PerdureError
from perdure.core.memory_limit import bounded
from perdure.core.progress import Progress
from perdure.engine.checkpoint import Checkpoint
from perdure.engine.config import describe, kinds_of_parts, left_to_do, notes_on, standings
from perdure.engine.engine import Engine
from perdure.engine.external import check_external, run_external
from perdure.engine.outcome import Outcome, choose, collect, join, name_all, renamed
from perdure.engine.run_folder import open_run
from perdure.engine.trained import Trained
from perdure.engine.tuning import Trial, check_keys, chooses, trials, with_numbers
from perdure.scenarios.contract.check_stream import check_stream
from perdure.scenarios.contract.doubts import doubts
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.world import World
from perdure.scenarios.operators import take
from perdure.strategies.contract.composition import lay_out
from perdure.strategies.contract.external import External
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.strategy import Strategy
from perdure.training import (
    TUNABLE,
    Model,
    Settings,
    Strategies,
    Training,
    Tune,
    make_settings,
    read_strategies,
    read_stream,
    takes_training,
)

# Share of the first loss by which the last may lie above it and still be taken for the same.
LOSS_NOISE = 1e-3


@takes_training
@checked
def compare(
    stream: Stream | str,
    strategies: Strategies,
    *,
    model: Model | None = None,
    seeds: int | Sequence[int] = 10,
    training: Training | None = None,
    pretrained: bool = False,
    eval_every: int | None = None,
    tune: Tune | None = None,
    tune_on: int | None = None,
    out: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    keep: bool = False,
    **keywords: Any,
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
    training, keywords:
        How strategies are trained, a :class:`perdure.Training`. Its fields are keywords of ``compare`` too:
        ``lr=0.05`` is short for ``training=Training(lr=0.05)``.
    epochs, batch_size, optimizer, lr, weight_decay, schedule, clip, device, dtype, precision:
        As in :class:`perdure.Training`; what is set there, other than to its default, must not be given here
        again.
    pretrained:
        Keep the weights of ``model``, a module, as the common start.
    eval_every:
        Also score all tasks every so many steps.
    tune:
        Values to choose from of ``lr``, ``weight_decay``, and numbers of strategies by kind and name:
        ``{"ewc.strength": [1, 10, 100], "lr": [0.03, 0.1]}``. Each strategy tries all combinations of what
        it has, in one go where numbers only scale, and gets the values with the best final average score on
        the validation parts, meaned over seeds: ``results.extras[name]["chosen"]``. Its name stays.
    tune_on:
        Choose on the first so many tasks only (Chaudhry et al., ICLR 2019): the values are tried on a stream
        of those, and what is best goes through the whole stream. Without, on all tasks.
    out:
        Folder to save the results in, with their report, ``report.html``. One that holds a run is refused
        without ``resume`` or ``overwrite``.
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
        stream, model=model, seeds=seeds, training=training, pretrained=pretrained, eval_every=eval_every,
        tune=tune, tune_on=tune_on, **keywords,
    )  # fmt: skip
    if not plugins:
        raise PerdureError("expected at least one strategy; found none")
    check_stream(stream)
    with open_run(out, resume, overwrite) as kept:
        config = describe(stream, plugins, settings)
        done = kept.finished(config)
        config |= kept.earlier(config)
        if done is not None:
            config |= name_all(plugins, done.config)
            done = renamed(done, config)
        each = list(plugins.values())
        check_keys(settings.grid[0], each, [] if done is None else kinds_of_parts(done.config))
        config |= standings(each, config, done)
        todo = left_to_do(each, config, None if keep else done)
        if done is not None and not todo:
            kept.clear(done)
            kept.report(done)
            return done
        plans = {name: trials(strategy, settings.grid) for name, strategy in todo.items()}
        for plan in plans.values():
            rehearse(stream, plan, settings)
        kept.begin(config, {str(todo[name]): labels(plan, settings) for name, plan in plans.items()})
        outcomes, failed = {}, {}
        with Progress(quiet) as progress:
            for name, strategy in todo.items():
                try:
                    of = partial(kept.of, str(strategy))
                    outcome = tuned(stream, strategy, plans[name], settings, progress.of(name), of)
                except FolderError:
                    raise
                except Exception as error:  # The others go on; the results say what became of this one.
                    failed[name] = error
                else:
                    outcomes[name] = outcome if keep else replace(outcome, trained=None)
        results = collect(outcomes, failed, config)
        results.warnings[:0] = [*doubts(stream), *notes_on(settings, stream)]
        if done is not None:
            results = join(done, results)
        results.warnings += kept.left_out(config)
        kept.finish(results)
        kept.report(results)
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
    total = sum(engine.steps_in(p, [len(getattr(stream[t], p.part)) for t in p.tasks]) for p in phases)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with engine.during("train"):
            replica = engine.start()
        last = next(phase.tasks for phase in reversed(phases) if phase.stage)
        with engine.during("eval"):
            outcome = Outcome(engine.evaluate(replica))
            began = engine.training_loss(replica, last)
        alone = one_by_one(phases)
        replica, done = checkpoint.restore(engine, replica, outcome)
        for i, phase in list(enumerate(phases))[done:]:
            stage = phase.tasks[0] if alone else len(outcome.scores)
            with engine.during("train"):
                data = engine.load(phase)
                replica = engine.boundary(replica, phase, data, "begin_task")
                for replica in engine.train(replica, phase, data):  # noqa: B020 (each is the next)
                    if settings.eval_every and engine.step_count % settings.eval_every == 0:
                        with engine.during("eval"):
                            scores = engine.evaluate(replica)
                        outcome.curve.append((engine.step_count, stage, scores))
                    tick(engine.step_count, total)
                replica = engine.boundary(replica, phase, data, "end_task")
            if phase.stage:
                ends = len(outcome.scores) + 1 == sum(p.stage for p in phases)
                cameras = outcome.film.cameras(engine, phase, ends)
                with engine.during("eval"):
                    scores, counts = engine.examine(replica, cameras=cameras)
                    outcome.film.take(len(outcome.scores), cameras)
                if settings.eval_every and engine.step_count % settings.eval_every:
                    outcome.curve.append((engine.step_count, stage, scores))
                outcome.scores.append(scores)
                outcome.confusions += [] if counts is None else [counts]
                engine.costs.end_stage()
            elif alone and settings.eval_every and engine.step_count % settings.eval_every:
                with engine.during("eval"):  # so that the curve of each task has its end
                    outcome.curve.append((engine.step_count, stage, engine.evaluate(replica)))
            outcome.hear(heard)
            checkpoint.save(engine, replica, outcome, i + 1)
        if settings.choosing:
            outcome.validation = engine.evaluate(replica, engine.load_scored([t.val for t in stream]))
        with engine.during("eval"):
            outcome.learned = engine.training_loss(replica, last) <= began + LOSS_NOISE * began.abs()
    outcome.hear(heard)
    outcome.diverged = engine.diverged(replica)
    outcome.costs = engine.report_costs(replica)
    worlds = [(task.name, task.test if isinstance(task.test, World) else None) for task in stream]
    outcome.trained = Trained(engine.program, replica.view(), engine.seeds, tuple(worlds))
    outcome.extras = {"mapped": engine.mapper.mapped, **engine.costs.per_stage(engine.one_pass(phases))}
    return outcome if settings.choosing else outcome.told(settings.seeds)


def tuned(
    stream: Stream,
    strategy: Strategy,
    plan: Sequence[Trial],
    settings: Settings,
    tick: Callable[[int, int], None],
    checkpoint_of: Callable[[str], Checkpoint],
) -> Outcome:
    """Run what a strategy tries, and return what came out best; without a choice, its one run."""
    seeds, first = len(settings.seeds), chooses_first(plan, settings)
    tasks = stream if first is None else take(stream, first)
    outcomes = []
    for i, (trial, label) in enumerate(zip(plan, labels(plan, settings), strict=True)):

        def tick_on(done: int, total: int, before: int = i) -> None:
            tick(before * total + done, len(plan) * total)

        one = replace(settings, grid=trial.points, choosing=chooses(plan))
        outcomes.append(run(tasks, trial.strategy, one, tick_on, checkpoint_of(label)))
    if not chooses(plan):
        point = plan[0].shared
        extras = {"chosen": point, "tried": [point]} if point else {}
        return replace(outcomes[0], extras={**outcomes[0].extras, **extras})
    choice = choose(outcomes, plan, seeds, [task.objective.higher_is_better for task in tasks])
    if first is not None:
        rates: dict[str, Any] = {key: value for key, value in choice.chosen.items() if key in TUNABLE}
        one = replace(settings, training=replace(settings.training, **rates), grid=({},), choosing=False)
        outcome = run(stream, with_numbers(strategy, choice.chosen), one, tick, checkpoint_of(""))
    else:
        outcome = outcomes[choice.run].of_point(choice.place, seeds).told(settings.seeds)
    return outcome.after(outcomes, {"chosen": choice.chosen, "tried": choice.tried})


def chooses_first(plan: Sequence[Trial], settings: Settings) -> int | None:
    """Return on how many first tasks a strategy's numbers are chosen, where it is not on all."""
    return settings.tune_on if chooses(plan) else None


def labels(plan: Sequence[Trial], settings: Settings) -> list[str]:
    """Name the checkpoints of what a strategy tries; a run that is its only one has none."""
    alone = len(plan) == 1 and chooses_first(plan, settings) is None
    return [""] if alone else [f"tune{i}" for i in range(len(plan))]


def one_by_one(phases: Sequence[Phase]) -> bool:
    """Whether tasks are learned one after the other in one stage: the curve then tells them apart."""
    return sum(p.stage for p in phases) == 1 and all(len(p.tasks) == 1 for p in phases)


def make_engine(stream: Stream, strategy: Strategy, settings: Settings) -> Engine:
    """Lay out one replica per seed and grid point."""
    seeds, points = zip(*settings.replicas, strict=True)
    return Engine(stream, strategy, settings.training, settings.builder(), seeds, points, settings.pretrained)


def rehearse(stream: Stream, plan: Sequence[Trial], settings: Settings) -> None:
    """Lay out one replica of all that a strategy tries, so that a misfit is found before any work."""
    first = chooses_first(plan, settings)
    for trial in plan:
        strategy, replicas = trial.strategy, len(settings.seeds) * len(trial.points)
        one = replace(settings, seeds=settings.seeds[:1], grid=trial.points[:1])
        if isinstance(strategy, External):
            check_external(strategy, stream, replace(settings, choosing=chooses(plan)))
        else:
            for tasks in [stream] if first is None else [take(stream, first), stream]:
                get_phases(strategy, tasks)
            with warnings.catch_warnings(), bounded(str(strategy), replicas, settings.training.place):
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
