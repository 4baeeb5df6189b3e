"""What a run is, as its results keep it, and what of an earlier run can be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

from perdure.analysis.results import Results
from perdure.engine.outcome import name_all
from perdure.models import redraw
from perdure.scenarios.contract.stream import Stream
from perdure.strategies.contract.composition import parts
from perdure.strategies.contract.strategy import Strategy
from perdure.training import Settings


def notes_on(settings: Settings, stream: Stream) -> list[str]:
    """Say what seeds share of a model that is a module, what of it is lost, and what was chosen on."""
    given = settings.model
    lines = redraw.notes(given) if isinstance(given, nn.Module) and not settings.pretrained else []
    if settings.tune_on is not None:
        names = ", ".join(stream.names[: settings.tune_on])
        lines.append(f"tune chose on the validation parts of the first tasks only ({names}), by tune_on")
    return lines


def kinds_of_parts(config: Mapping[str, Any]) -> set[str]:
    """Return the kinds of all parts of the strategies of a run."""
    return {kind for kinds in config["kinds"].values() for kind in kinds.split("+")}


def standings(
    strategies: Sequence[Strategy], config: Mapping[str, Any], done: Results | None
) -> dict[str, list[str]]:
    """Name the strategies of ``config`` that are no learners of a stream, the finished ones included.

    Under ``bounds`` those that bound the others, under ``together`` those that learn several tasks at once.
    """
    found = {
        "bounds": {str(s) for s in strategies if any(p.bound for p in parts(s))},
        "together": {str(s) for s in strategies if any(p.together for p in parts(s))},
    }
    before = {} if done is None else done.config
    for key, specs in found.items():
        specs |= {before["strategies"][name] for name in before.get(key, [])}
    named = config["strategies"].items()
    return {key: [name for name, spec in named if spec in specs] for key, specs in found.items()}


def left_to_do(
    strategies: Sequence[Strategy], config: Mapping[str, Any], done: Results | None
) -> dict[str, Strategy]:
    """Return the strategies that are not among the finished ones, under the names of ``config``."""
    names = {spec: name for name, spec in config["strategies"].items()}
    finished = [] if done is None else [done.config["strategies"][name] for name in done.strategies]
    return {names[str(s)]: s for s in strategies if str(s) not in finished}


def describe(stream: Stream, strategies: Mapping[str, Strategy], settings: Settings) -> dict[str, Any]:
    """Return the configuration as results keep it: enough to run the same again."""
    model, training, in_grid = settings.model, settings.training, settings.grid[0]
    higher = [task.objective.higher_is_better for task in stream]
    return {
        "stream": stream.name,
        "setting": stream.setting,
        "online": stream.online,
        "outputs": stream.outputs,
        "fingerprint": stream.fingerprint(),
        "tasks": stream.names,
        "train_sizes": [len(t.train) for t in stream],
        "test_sizes": [len(t.test) for t in stream],
        **({"info": stream.info} if stream.info else {}),
        "metric": stream.objective.metric,
        "higher_is_better": higher[0] if len(set(higher)) == 1 else higher,
        **name_all(strategies),
        "seeds": list(settings.seeds),
        "model": model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__),
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "optimizer": str(training.rule),
        "lr": None if "lr" in in_grid else training.lr,
        "weight_decay": None if "weight_decay" in in_grid else training.weight_decay,
        "schedule": training.schedule,
        "clip": training.clip,
        "eval_every": settings.eval_every,
        "tune": list(settings.grid) if in_grid else None,
        "tune_on": None if settings.tune_on is None else stream.names[: settings.tune_on],
        "device": training.place.type,
        # Torch adds in another order with other threads: the last bits differ, and so what a policy comes to.
        "threads": torch.get_num_threads(),
        "dtype": training.dtype,
        "precision": training.precision,
        "versions": {"perdure": version("perdure"), "torch": str(torch.__version__), "numpy": np.__version__},
    }
