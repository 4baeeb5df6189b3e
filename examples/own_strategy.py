"""A strategy of one's own: score with a running mean of the weights instead of the latest ones.

python examples/own_strategy.py runs/own_strategy
"""

import sys
from pathlib import Path

from torch import Tensor

from perdure import check_strategy, compare
from perdure.core.batch import Params, State
from perdure.core.net import Net
from perdure.scenarios import Stream
from perdure.strategies import Naive, Replay, Step, Strategy, strategy


@strategy("slow")
class Slow(Strategy):
    """Score with weights that follow the trained ones slowly: ``s <- s + rate (theta - s)``.

    Written for one model; the state is the slow weights, one tensor per parameter.
    """

    rate: float = 0.01

    def init(self, net: Net, params: Params, stream: Stream) -> State:
        return dict(params)

    def after_step(self, net: Net, params: Params, state: State, step: Step) -> tuple[Params, State]:
        return params, {k: s + self.rate * (params[k] - s) for k, s in state.items()}

    def forward(self, net: Net, params: Params, state: State, x: Tensor, task: Tensor) -> Tensor:
        return net(state, x, task)


def main(out: Path, seeds: int = 10) -> None:
    check_strategy(Slow())  # raises at the first thing that a strategy must not do
    strategies = [Naive(), Slow(), Replay(200), Replay(200) + Slow()]  # strategies compose
    results = compare("split-digits", strategies, seeds=seeds, out=out)
    print(results.table(["average_accuracy", "learning_accuracy"]).to_string(index=False))
    results.plot_average(out / "average.png")
    print(f"wrote {out / 'average.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own_strategy"))
