"""TorchJD's rules for tasks that are balanced by their gradients."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from typing import Any

import torch
from torch import Tensor

from perdure.core.batch import State
from perdure.core.errors import PerdureError, unknown
from perdure.core.random import Rng
from perdure.core.specs import write
from perdure.strategies.parts.balancing import Rule, balancing_rule
from perdure.strategies.parts.node import one_node


@balancing_rule("torchjd")
class TorchJD(Rule):
    """A rule of TorchJD, by the name of its aggregator: ``balance(rule=torchjd(CAGrad, c=0.4))``.

    Aggregators that weigh by the products of the gradients, and remember nothing. In a step they weigh for
    one replica after another. What they draw, they draw from numbers of the replica and the step.

    Parameters
    ----------
    aggregator:
        A class of ``torchjd.aggregation``.
    parameters:
        Its parameters by name.

    Source: Quinton & Rey, arXiv 2406.16232; needs ``pip install perdure[torchjd]``.
    """

    aggregator: str = "UPGrad"
    parameters: tuple[tuple[str, Any], ...] = ()

    def __init__(self, aggregator: str = "UPGrad", **parameters: Any) -> None:
        object.__setattr__(self, "aggregator", aggregator)
        object.__setattr__(self, "parameters", tuple(sorted(parameters.items())))
        # The import takes a while: the default is known to be right, so that listings need not wait.
        if aggregator != "UPGrad" or parameters:
            find_weighting(aggregator, self._written)

    def __repr__(self) -> str:
        told = [] if self.aggregator == "UPGrad" and not self.parameters else [self.aggregator]
        return write(self.name, told, dict(self.parameters))

    @property
    def _written(self) -> str:
        return json.dumps(dict(self.parameters), default=repr)

    def init(self, tasks: int, like: Tensor) -> State:
        find_weighting(self.aggregator, self._written)
        return {}

    def weights(self, gram: Tensor, losses: Tensor, state: State, rng: Rng) -> Tensor:
        return weigh_with(gram, gram[0], rng.bits("torchjd", 1), self.aggregator, self._written)


@one_node("torchjd")
def weigh_with(gram: Tensor, like: Tensor, seed: Tensor, aggregator: str, parameters: str) -> Tensor:
    """Return TorchJD's weights ``[..., T]`` for products of gradients ``[..., T, T]``."""
    weighting = find_weighting(aggregator, parameters)
    size = like.shape[-1]
    found = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for one, bits in zip(gram.reshape(-1, size, size), seed.flatten().tolist(), strict=True):
            torch.manual_seed(bits)
            found.append(weighting(one))
    return torch.stack(found).view_as(like).contiguous()


@functools.cache
def find_weighting(aggregator: str, parameters: str) -> Any:
    """Return TorchJD's weighting by products of gradients; refuse what it does not have."""
    try:
        module = importlib.import_module("torchjd.aggregation")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torchjd":
            raise
        raise PerdureError("the rule 'torchjd' needs TorchJD: pip install perdure[torchjd]") from None
    base, stateful = module.GramianWeightedAggregator, importlib.import_module("torchjd").Stateful
    known = {
        k
        for k, v in vars(module).items()
        if isinstance(v, type) and issubclass(v, base) and v is not base and not issubclass(v, stateful)
    }
    if aggregator not in known:
        raise unknown("TorchJD aggregator that weighs by products of gradients", aggregator, known)
    kind, given = getattr(module, aggregator), json.loads(parameters)
    try:
        inspect.signature(kind).bind(**given)
        made = kind(**given)
    except (TypeError, ValueError, ImportError, AttributeError) as error:
        takes = ", ".join(inspect.signature(kind).parameters) or "no parameters"
        raise PerdureError(f"TorchJD's {aggregator} takes {takes}; found {given}: {error}") from None
    return made.gramian_weighting
