"""Avalanche's strategies on the same streams."""

from __future__ import annotations

import importlib
import inspect
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from perdure.core.errors import PerdureError, unknown
from perdure.core.net import takes_task
from perdure.scenarios.contract.objective import Classification
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.contract.task import Task
from perdure.strategies.contract.external import External, Terms
from perdure.strategies.contract.phase import Phase
from perdure.strategies.contract.registry import strategy

# What the experiment decides for every strategy alike, and what is no hyperparameter.
GIVEN = {
    *("self", "model", "optimizer", "criterion", "train_mb_size", "train_epochs", "eval_mb_size", "device"),
    *("plugins", "evaluator", "eval_every", "base_kwargs", "kwargs", "args"),
}


@strategy("avalanche")
class AvalancheStrategy(External):
    """A strategy of Avalanche, by the name of its class: ``avalanche(EWC, ewc_lambda=100)``.

    Model, start, optimiser, batch size and epochs are those of every other strategy. In the task-incremental
    setting each sample carries its task's label, and the model closes the outputs of other tasks (at -1000,
    as Avalanche's heads do), so that its multi-task plugins see a head per task; elsewhere all labels are 0.
    Predictions come from the strategy's ``model`` in evaluation mode. Seeds run one after another.

    Parameters
    ----------
    strategy:
        A class of ``avalanche.training.supervised``. ``"JointTraining"`` learns all tasks at once.
    parameters:
        Its parameters by name.

    Source: Lomonaco et al., CLVision 2021; needs ``pip install perdure[avalanche]``.
    """

    strategy: str = "Naive"
    parameters: tuple[tuple[str, Any], ...] = ()

    def __init__(self, strategy: str = "Naive", **parameters: Any) -> None:
        object.__setattr__(self, "strategy", strategy)
        object.__setattr__(self, "parameters", tuple(sorted(parameters.items())))
        # The import takes seconds: the default is known to be right, so that listings need not wait.
        if strategy != "Naive" or parameters:
            self._find()

    def __str__(self) -> str:
        values = [repr(self.strategy)] if self.strategy != "Naive" or self.parameters else []
        values += [f"{k}={v!r}" for k, v in self.parameters]
        return f"{self.name}({', '.join(values)})" if values else self.name

    @property
    def bound(self) -> bool:  # type: ignore[override]
        """Whether it learns from the data of several tasks at once."""
        return self.strategy in ("JointTraining", "Cumulative")

    def phases(self, stream: Stream) -> list[Phase]:
        return (
            [Phase(tuple(range(len(stream))))] if self.strategy == "JointTraining" else super().phases(stream)
        )

    def check(self, stream: Stream) -> None:
        if not all(isinstance(task.objective, Classification) for task in stream):
            raise PerdureError(f"{self} learns classifications only; found other objectives")

    def start(self, stream: Stream, terms: Terms) -> AvalancheLearner:
        return AvalancheLearner(self._find(), dict(self.parameters), self.phases(stream), stream, terms)

    def _find(self) -> Any:
        """Return Avalanche's class, which must take the parameters."""
        with quiet():
            supervised = load("avalanche.training.supervised")
            base = load("avalanche.training.templates.base").BaseTemplate
        known = {k for k, v in vars(supervised).items() if isinstance(v, type) and issubclass(v, base)}
        if self.strategy not in known:
            raise unknown("Avalanche strategy", self.strategy, known)
        found = getattr(supervised, self.strategy)
        takes = {k: p for k, p in inspect.signature(found).parameters.items() if k not in GIVEN}
        required = [k for k, p in takes.items() if p.default is p.empty]
        given = dict(self.parameters)
        wrong = [k for k in given if k not in takes] or [k for k in required if k not in given]
        if wrong:
            raise PerdureError(
                f"Avalanche's {self.strategy} takes {', '.join(takes) or 'no parameters'} "
                f"(required: {', '.join(required) or 'none'}); found {', '.join(given) or 'none'}"
            )
        return found


class AvalancheLearner:
    """One seed's strategy of Avalanche and its benchmark."""

    def __init__(
        self, kind: Any, parameters: dict[str, Any], phases: list[Phase], stream: Stream, terms: Terms
    ) -> None:
        self.labelled = stream.setting == "task" or takes_task(terms.model)
        self.joint = kind.__name__ == "JointTraining"
        self.random = random.Random(terms.seed).getstate()
        self.device = terms.device
        with quiet():
            benchmarks, plugins = load("avalanche.benchmarks"), load("avalanche.training.plugins")
            self.call = load("avalanche.models.utils").avalanche_forward
            model = with_heads(terms.model, stream.masks()) if self.labelled else terms.model
            groups = [(t,) for t in range(len(stream))] if self.joint else [p.tasks for p in phases]
            self.places = {group[-1]: i for i, group in enumerate(groups)}
            pairs = [[get_pair(stream, group, which) for group in groups] for which in ("train", "test")]
            labels = [group[-1] if self.labelled else 0 for group in groups]
            self.benchmark = benchmarks.tensors_benchmark(
                train_tensors=pairs[0], test_tensors=pairs[1], task_labels=labels
            )
            self.strategy = kind(
                model=model, optimizer=terms.optimizer(model.parameters()), criterion=nn.CrossEntropyLoss(),
                train_mb_size=terms.batch_size, train_epochs=terms.epochs, eval_mb_size=terms.batch_size,
                device=terms.device, evaluator=plugins.EvaluationPlugin(loggers=[]), **parameters,
            )  # fmt: skip

    def learn(self, task: Task, index: int) -> None:
        """Learn the next task."""
        stream, outside = self.benchmark.train_stream, random.getstate()
        random.setstate(self.random)
        try:
            with quiet():
                self.strategy.train(stream if self.joint else stream[self.places[index]], num_workers=0)
        finally:
            self.random = random.getstate()
            random.setstate(outside)

    def predict(self, x: Tensor, index: int) -> Tensor:
        """Outputs ``[n, outputs]`` for inputs of a task."""
        model = self.strategy.model.eval()
        label = torch.full((len(x),), index if self.labelled else 0, device=self.device)
        output: Tensor = self.call(model, x.to(self.device), label)
        return output


def get_pair(stream: Stream, tasks: tuple[int, ...], which: str) -> tuple[Tensor, Tensor]:
    """Return inputs and labels of some tasks' training or test parts, end to end."""
    some = [getattr(stream[t], which) for t in tasks]
    if stream.setting == "task" and any(p.task is not None for p in some):
        raise PerdureError("Avalanche labels whole tasks; found samples of several tasks in one")
    return torch.cat([p.inputs() for p in some]), torch.cat([p.y for p in some])


def with_heads(model: nn.Module, masks: Tensor) -> Any:
    """Wrap a model so that Avalanche sees one with a head per task label: its outputs, others closed."""
    base: Any = load("avalanche.models").MultiTaskModule

    class Heads(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("masks", masks)

        def forward(self, x: Tensor, task_labels: Any) -> Any:
            if task_labels is None:
                return self.forward_all_tasks(x)
            task = torch.as_tensor(task_labels, device=x.device).expand(len(x))
            output = self.model(x, task) if takes_task(self.model) else self.model(x)
            return output.masked_fill(~self.masks[task], -1000.0)

        def forward_single_task(self, x: Tensor, task_label: int) -> Any:
            return self.forward(x, task_label)

    return Heads()


def load(module: str) -> Any:
    """Import a module of Avalanche."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "avalanche":
            raise
        raise PerdureError("strategy 'avalanche' needs Avalanche: pip install perdure[avalanche]") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Avalanche's warnings to itself."""
    # Recorded, not only ignored: Avalanche's own deprecation notices reset the filters.
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        yield
