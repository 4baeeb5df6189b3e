"""What one strategy's run measured, and how the outcomes of several become results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from warnings import WarningMessage

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from perdure.analysis import combine
from perdure.analysis.results import Curve, Results
from perdure.core.errors import PerdureError, said
from perdure.engine.film import Film
from perdure.engine.trained import Trained
from perdure.engine.tuning import Trial
from perdure.strategies.contract.composition import parts
from perdure.strategies.contract.strategy import Strategy

# What results hold by strategy, and runs on disk with them.
MEASURED = ("scores", "untrained", "curves", "costs", "extras", "confusions")


@dataclass
class Outcome:
    """What one strategy's run measured, with a leading axis of replicas.

    ``confusions`` count labels and answers at each stage, ``[replicas, label, answer]``. ``diverged`` tells
    of each replica whether its weights are not finite, ``learned`` whether its loss in training ended no
    higher than it began, where that was looked at. ``film`` holds pictures of scored episodes.
    """

    untrained: Tensor
    scores: list[Tensor] = field(default_factory=list)
    confusions: list[Tensor] = field(default_factory=list)
    curve: list[tuple[int, int, Tensor]] = field(default_factory=list)
    validation: Tensor | None = None
    diverged: Tensor | None = None
    learned: Tensor | None = None
    costs: dict[str, float] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    trained: Trained | None = None
    film: Film = field(default_factory=Film)

    def hear(self, heard: Iterable[WarningMessage]) -> None:
        """Add what was warned of, each line once."""
        self.warnings = sorted({*self.warnings, *(str(w.message) for w in heard)})

    def of_point(self, point: int, seeds: int) -> Outcome:
        """Keep the replicas of one point of the grid; there are ``seeds`` of each."""
        kept = slice(point * seeds, (point + 1) * seeds)
        return replace(
            self,
            untrained=self.untrained[kept],
            scores=[s[kept] for s in self.scores],
            confusions=[c[kept] for c in self.confusions],
            curve=[(step, stage, s[kept]) for step, stage, s in self.curve],
            validation=None,
            diverged=None if self.diverged is None else self.diverged[kept],
            learned=None if self.learned is None else self.learned[kept],
            trained=None if self.trained is None else self.trained.chosen(kept),
            film=self.film.of_point(point),
        )

    def after(self, others: Sequence[Outcome], found: dict[str, Any]) -> Outcome:
        """Return the outcome with what choosing it took: seconds, warnings, and what it found."""
        runs = [self, *(o for o in others if o.costs is not self.costs)]
        spent = {k: sum(o.costs[k] for o in runs) for k in self.costs if k.startswith("seconds_")}
        warnings = sorted({w for o in runs[1:] for w in o.warnings} - set(self.warnings))
        return replace(
            self,
            costs={**self.costs, **spent},
            extras={**self.extras, **found},
            warnings=[*self.warnings, *warnings],
        )

    def told(self, seeds: Sequence[int]) -> Outcome:
        """Return the outcome with the seeds that diverged among its extras: results then name them."""
        lost = ~torch.stack(self.scores).isfinite().all(0).all(1)
        if self.diverged is not None:
            lost = lost | self.diverged
        gone = [seed for seed, one in zip(seeds, lost.tolist(), strict=True) if one]
        lines = []
        if self.learned is not None and (worse := int((~self.learned & ~lost).sum())):
            lines.append(
                f"{worse} of {len(seeds)} replicas ended with a training loss above the untrained model's: "
                "lower lr, or the strength of what protects earlier tasks"
            )
        extras = {**self.extras, **reported(self.trained), **self.film.extras(), "diverged": gone}
        # Episodes are played once more: for what is kept alone, not for all that was tried.
        costs = self.costs | (self.trained.talk_costs() if self.trained else {})
        return replace(self, costs=costs, extras=extras, warnings=[*self.warnings, *lines])

    def get_curve(self) -> Curve:
        """Return the evaluations during training."""
        steps, stages, scores = zip(*self.curve, strict=True)
        return Curve(np.array(steps), np.array(stages), array(torch.stack(scores, 1)))


@dataclass(frozen=True)
class Choice:
    """Which of several points is best on the validation parts.

    ``run`` and ``place`` say which run it was one of, and which of its points; ``tried`` holds the score of
    each point.
    """

    run: int
    place: int
    chosen: dict[str, float]
    tried: list[dict[str, float]]


def choose(
    outcomes: Sequence[Outcome], trials: Sequence[Trial], seeds: int, higher: Sequence[bool]
) -> Choice:
    """Choose by the scores on the validation parts, meaned over tasks and seeds.

    ``higher`` says of each task whether a higher score is better; where tasks differ in that, the scores of
    those where it is not count, and are told, negated.
    """
    signs = [1.0 if up else -1.0 for up in higher]
    turned = [o.validation * o.validation.new_tensor(signs) for o in outcomes if o.validation is not None]
    scores = torch.cat([each.mean(1).view(-1, seeds).mean(1) for each in turned])
    best = int(scores.nan_to_num(-torch.inf).argmax())
    scores = scores if any(higher) else -scores
    places = [(run, place) for run, trial in enumerate(trials) for place in range(len(trial.points))]
    points = [point for trial in trials for point in trial.whole()]
    tried = [{**point, "validation": float(score)} for point, score in zip(points, scores, strict=True)]
    return Choice(*places[best], points[best], tried)


def name_all(
    strategies: Mapping[str, Strategy], before: Mapping[str, Any] | None = None
) -> dict[str, dict[str, str]]:
    """Return specs and kinds by name, as the configuration of results keeps them.

    Parameters
    ----------
    strategies:
        The strategies by name.
    before:
        The configuration of a run that they are added to. Its strategies stand first, under the names that
        they have now where they are asked for again; one whose name is taken goes by its spec.
    """
    asked = {str(strategy): name for name, strategy in strategies.items()}
    specs, kinds = {}, {}
    there = before or {"strategies": {}}
    for old, spec in there["strategies"].items():
        name = asked.get(spec, spec if old in strategies else old)
        if name in specs or (name in strategies and spec not in asked):
            raise PerdureError(f"expected another label than {name!r}, a strategy of the run that is there")
        specs[name], kinds[name] = spec, there["kinds"][old]
    for name, strategy in strategies.items():
        specs[name], kinds[name] = str(strategy), "+".join(part.name for part in parts(strategy))
    return {"strategies": specs, "kinds": kinds}


def collect(
    outcomes: Mapping[str, Outcome],
    failed: Mapping[str, Exception],
    config: dict[str, Any],
) -> Results:
    """Bring the outcomes of all strategies into one object."""
    reasons = {name: said(error) for name, error in failed.items()}
    if not outcomes:
        what = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise PerdureError(f"expected a strategy that finishes; found none: {what}") from next(
            iter(failed.values())
        )
    kept = dict(outcomes)
    return Results(
        scores={n: array(torch.stack(o.scores, 1)) for n, o in kept.items()},
        untrained={n: array(o.untrained) for n, o in kept.items()},
        curves={n: o.get_curve() for n, o in kept.items() if o.curve},
        costs={n: o.costs for n, o in kept.items()},
        extras={n: o.extras for n, o in kept.items()},
        config={**config, "failed": reasons} if failed else config,
        warnings=[
            *(f"{n}: no results, it failed: {reason}" for n, reason in reasons.items()),
            *(f"{n}: {text}" for n, o in kept.items() for text in o.warnings),
        ],
        trained={n: o.trained for n, o in kept.items() if o.trained is not None},
        confusions={n: array(torch.stack(o.confusions, 1)) for n, o in kept.items() if o.confusions},
    )


def renamed(before: Results, config: Mapping[str, Any]) -> Results:
    """Return finished results under the names that ``config`` has for their strategies."""
    names = {spec: name for name, spec in config["strategies"].items()}
    name_of = {old: names[spec] for old, spec in before.config["strategies"].items()}
    if all(old == name for old, name in name_of.items()):
        return before
    return Results.of(combine.renamed(before, name_of))


def join(before: Results, new: Results) -> Results:
    """Add finished results to new ones, whose configuration names the strategies of both alike."""
    attempted = {*new.scores, *new.config.get("failed", {})}
    kept = [name for name in before.config["strategies"] if name not in attempted]

    def both(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
        return {**{name: first[name] for name in kept if name in first}, **second}

    failed = both(before.config.get("failed", {}), new.config.get("failed", {}))
    lines = [text for name in kept for text in before.warnings if text.startswith(f"{name}: ")]
    return Results(
        **{what: both(getattr(before, what), getattr(new, what)) for what in MEASURED},
        config={**new.config, "failed": failed} if failed else new.config,
        warnings=[*lines, *new.warnings],
        trained=new.trained,
    )


def reported(trained: Trained | None) -> dict[str, Any]:
    """Return what the parts of a strategy tell of their state, ``{"report": {kind: {name: list}}}``."""
    found = {} if trained is None else trained.report()
    plain = {kind: {k: array(v).tolist() for k, v in own.items()} for kind, own in found.items() if own}
    return {"report": plain} if plain else {}


def array(values: Tensor) -> npt.NDArray[np.float64]:
    """Bring scores to the host."""
    return values.double().cpu().numpy()
