"""ATM: alternate the tuning of every task and merging."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.core.batch import Params, State
from perdure.core.checks import check_whole
from perdure.core.errors import PerdureError
from perdure.core.net import Net
from perdure.strategies.contract.phase import Phase, TaskData
from perdure.strategies.contract.registry import strategy
from perdure.strategies.contract.strategy import Strategy
from perdure.strategies.merging.average import Average
from perdure.strategies.merging.fitted import Fitted
from perdure.strategies.merging.merge import Merge
from perdure.strategies.merging.rule import MERGING, Rule

if TYPE_CHECKING:
    from perdure.scenarios.contract.stream import Stream


@strategy("atm")
class ATM(Strategy):
    """Tune each task for a short while from where all stand, merge, and go on from the merged model.

    Round by round, ``theta <- merge(theta, theta_1, ..., theta_T)``, where theta_t is what training on task t
    alone makes of theta. With the average as the rule and one step of gradient descent on all samples of a
    task, a round is a step on the mean of the tasks' losses: multi-task learning in which no step sees the
    samples of two tasks. One stage, as it needs all tasks at once.

    Parameters
    ----------
    rule:
        How weights are merged: a merging rule or its name; none that looks at samples, and none with masks
        of its own for each task.
    rounds:
        How often all tasks are tuned and merged.
    epochs:
        Passes over its data for which a task is tuned in a round, each time with fresh optimiser memory. With
        ``rounds * epochs`` equal to the run's epochs, a sample is seen as often as by other strategies.

    Heads, parameters of a task's own and norm statistics are treated as in :class:`Merge`; the head of a task
    goes on in the next round from where it was.

    Source: Zhou et al., "ATM: improving model merging by alternating tuning and merging", arXiv 2411.03055
    (there with task arithmetic, whose factor 1/T is the average).

    >>> from perdure.strategies import get
    >>> get("atm(rounds=3, rule=ties)")
    ATM(rule=ties, rounds=3, epochs=1)
    """

    rule: Rule | str = Average()
    rounds: int = 5
    epochs: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.rule, str):
            object.__setattr__(self, "rule", MERGING.get(self.rule))
        if isinstance(self.rule, Fitted) or self.merging.inner.per_task:
            raise PerdureError(
                f"atm takes a merging rule of weights alone that gives one model; found {self.rule}"
            )
        check_whole("rounds", self.rounds)
        check_whole("epochs", self.epochs)

    @property
    def merging(self) -> Merge:
        """What a round is: every task from the common start, and the merged model."""
        return Merge(self.rule)

    def phases(self, stream: Stream) -> list[Phase]:
        tasks = [t for _ in range(self.rounds) for t in range(len(stream))]
        tuning = [Phase((t,), stage=False, epochs=self.epochs, reset=True) for t in tasks[:-1]]
        return [*tuning, Phase((tasks[-1],), epochs=self.epochs, reset=True)]

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return self.merging.init(net, params, stream)

    def begin_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        return self.merging.begin_task(net, params, state, task)

    def end_task(self, net: Net, params: Params, state: State, task: TaskData) -> tuple[Params, State]:
        params, state = self.merging.end_task(net, params, state, task)
        if task.index < len(state["seen"]) - 1:
            return params, state
        return params, {**state, "start": {**state["start"], **params}}
