"""The loop for learners that cannot be mapped: one seed after another, the results look the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from perdure.core.batch import CLOSED, Batch, State, weigh
from perdure.core.errors import PerdureError
from perdure.core.foreign_draws import seeded
from perdure.core.random import Rng
from perdure.engine.outcome import Outcome
from perdure.engine.replicas import build
from perdure.optim.adam import Adam
from perdure.optim.adamw import AdamW
from perdure.optim.optimizer import Optimizer
from perdure.optim.sgd import SGD
from perdure.scenarios.contract.fetched import in_memory
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.several import score_task
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task, samples
from perdure.strategies.contract.composition import lay_out
from perdure.strategies.contract.external import External, Learner, Terms
from perdure.strategies.contract.phase import Phase
from perdure.training import Settings, Training


def run_external(
    stream: Stream, strategy: External, settings: Settings, tick: Callable[[int, int], None]
) -> Outcome:
    """Train a learner per seed and score all tasks before the first phase and after every stage."""
    training = settings.training.on(stream)
    seconds = {"train": 0.0, "eval": 0.0}
    untrained, stages, parameters = [], [], 0
    told: list[State] = []
    phases = lay_out(strategy, stream)
    learned = 0

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal learned
        if module.training and torch.is_grad_enabled():
            learned += len(inputs[0])

    for done, seed in enumerate(settings.seeds):
        with seeded() as seed_all:
            seed_all(seed)
            module = build(settings.builder(), stream.input_shape, stream.outputs).to(training.place)
            parameters = sum(p.numel() for p in module.parameters())
            module.register_forward_pre_hook(count)
            terms = Terms(
                module, seed, training.epochs or 1, training.batch_size,
                get_torch(settings.training), training.place,
            )  # fmt: skip
            learner = strategy.start(stream, terms)
            rows = [score_all(stream, learner, training.place)]
            for i, phase in enumerate(phases):
                began = time.perf_counter()
                learner.learn(together(stream, phase), phase.tasks[-1])
                middle = time.perf_counter()
                rows += [score_all(stream, learner, training.place)] if phase.stage else []
                seconds["train"] += middle - began
                seconds["eval"] += time.perf_counter() - middle
                tick(done * len(phases) + i + 1, len(settings.seeds) * len(phases))
        untrained.append(rows[0])
        told.append(getattr(learner, "report", dict)())
        if hasattr(learner, "count_parameters"):
            parameters = learner.count_parameters()
        stages.append(torch.stack(rows[1:]))
    outcome = Outcome(torch.stack(untrained), list(torch.stack(stages).unbind(1)))
    outcome.costs = {
        "seconds_train": seconds["train"], "seconds_eval": seconds["eval"], "seconds_warmup": 0.0,
        "parameters": parameters,
    }  # fmt: skip
    if learned:  # A learner with a model of its own does not say what it goes through.
        outcome.costs["samples_seen"] = learned / len(settings.seeds)
    outcome.extras = {"mapped": False}
    if told[0]:
        each = {k: [one[k].tolist() for one in told] for k in told[0]}
        outcome.extras["report"] = {strategy.name: each}
    if settings.eval_every:
        outcome.warnings.append("scored after stages only: eval_every does not reach a learner of its own")
    return outcome.told(settings.seeds)


def check_external(strategy: External, stream: Stream, settings: Settings) -> None:
    """Refuse settings that a learner of one's own cannot keep to, and streams that it cannot learn."""
    training = settings.training
    asked = {
        "tune": settings.choosing,
        "clip": training.clip,
        "schedule": training.schedule != "constant",
        "precision": training.precision,
        "dtype float64": training.dtype == "float64",
        "pretrained": settings.pretrained,
    }
    for setting, found in asked.items():
        if found:
            raise PerdureError(f"{setting} needs a strategy that is mapped over replicas; {strategy} is not")
    for task in stream:
        task.map_parts(lambda part: in_memory(part, str(strategy)))
    strategy.check(stream)
    get_torch(training)


def together(stream: Stream, phase: Phase) -> Task:
    """Return the task of a phase; of several tasks, one that holds the samples of all."""
    chosen = [(i, stream[i]) for i in phase.tasks]
    if len(chosen) == 1:
        return chosen[0][1]

    def join(which: str) -> Part:
        some = [(i, getattr(task, which)) for i, task in chosen]
        owner = [p.task if p.task is not None else torch.full((len(p),), i) for i, p in some]
        return Part(
            torch.cat([p.inputs() for _, p in some]), torch.cat([p.y for _, p in some]), torch.cat(owner)
        )

    name = " + ".join(task.name for _, task in chosen)
    classes = tuple(sorted({c for _, task in chosen for c in task.outputs}))
    return Task(name, join("train"), join("val"), join("test"), classes, chosen[-1][1].objective)


def score_all(stream: Stream, learner: Learner, device: torch.device) -> Tensor:
    """Score every task's test part, ``[tasks]``."""
    masks = stream.masks().to(device)
    scores = []
    for i, task in enumerate(stream):
        with torch.no_grad():
            output = learner.predict(samples(task.test).inputs().to(device), i)
        output = output.masked_fill(~masks[i], CLOSED)
        rows = {k: v.to(device) for k, v in stream.labels(samples(task.test)).items()}
        rows["task"] = torch.full((len(output),), i, device=device)
        zero = torch.zeros((), dtype=torch.int64, device=device)
        batch = Batch(weigh(rows, torch.ones_like(output[:, 0])), zero, Rng(zero, zero))
        scores.append(score_task(stream.objective, i, output, batch))
    return torch.stack(scores).cpu().float()


def get_torch(training: Training) -> Callable[[Any], torch.optim.Optimizer]:
    """Return what builds torch's optimiser with the same rule."""
    rule: Optimizer = training.rule
    rates: dict[str, Any] = {"lr": training.lr, "weight_decay": training.weight_decay}
    if isinstance(rule, AdamW):
        return lambda p: torch.optim.AdamW(p, betas=(rule.beta1, rule.beta2), eps=rule.eps, **rates)
    if isinstance(rule, Adam):
        return lambda p: torch.optim.Adam(p, betas=(rule.beta1, rule.beta2), eps=rule.eps, **rates)
    if isinstance(rule, SGD):
        return lambda p: torch.optim.SGD(p, momentum=rule.momentum, nesterov=rule.nesterov, **rates)
    raise PerdureError(f"expected sgd, adam or adamw for an external learner; found {rule}")
