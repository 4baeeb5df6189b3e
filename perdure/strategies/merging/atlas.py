"""aTLAS: learned anisotropic scaling of task vectors."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from perdure.core.batch import Batch, Params
from perdure.core.net import Net
from perdure.strategies.merging.learned import Learned
from perdure.strategies.merging.rule import rule


@rule("atlas")
class Atlas(Learned):
    """Learn a coefficient for each task vector and parameter from labels: minimise the tasks' loss.

    ``theta_0 + sum_t c_t tau_t``, each parameter with coefficients of its own, from ``initial``.

    Parameters
    ----------
    steps, lr, initial, part:
        As in :class:`Learned`.

    Deviations: all tasks are learned together, by the mean loss of batches that mix them; the number of steps
    and the learning rate are chosen here.

    Source: Zhang et al., "Knowledge composition using task vectors with learned anisotropic scaling", NeurIPS
    2024, arXiv 2407.02880.
    """

    data: ClassVar[str] = "labels"
    lr: float = 0.01
    initial: float = 0.0

    def loss(self, net: Net, params: Params, batch: Batch) -> Tensor:
        return net.losses(params, batch).sum()
