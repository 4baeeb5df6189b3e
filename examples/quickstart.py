"""Compare four strategies on five tasks of two digits each: a table, a figure, a report.

python examples/quickstart.py runs/quickstart
"""

import sys
from pathlib import Path

from perdure import compare
from perdure.scenarios import split
from perdure.strategies import EWC, Joint, Naive, Replay


def main(out: Path, seeds: int = 10) -> None:
    stream = split("digits", classes_per_task=2, setting="class")
    results = compare(stream, [Naive(), EWC(20.0), Replay(200), Joint()], model="mlp", seeds=seeds, out=out)
    print(results.table(["average_accuracy", "forgetting", "gap_closed"]).to_string(index=False))
    print(results.compare("average_accuracy").to_string(index=False))  # with naive, paired by seed
    results.plot_forgetting(out / "forgetting.png")
    results.report(out / "report.html")
    print(f"wrote {out / 'forgetting.png'} and {out / 'report.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart"))
