"""Learning from what an expert did, scored by what the policy then brings about."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.scenarios.contract.objective import Classification


@dataclass(frozen=True)
class Imitation(Classification):
    """Behavioural cloning: the cross-entropy of an expert's actions; a score is the return of own episodes.

    Samples are what the expert saw, ``x``, and the number of what it did, ``y``. The information of a sample
    is ``-log p`` of that action.

    Source: Pomerleau, "ALVINN: an autonomous land vehicle in a neural network", NeurIPS 1988.
    """

    metric = "return"
