"""Two linear tasks one after the other, for critical periods of deep linear nets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from perdure.core.checks import check_number, check_whole, checked
from perdure.core.errors import PerdureError, shown
from perdure.scenarios.contract.objective import Regression
from perdure.scenarios.contract.several import Targets
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.draws import Draws
from perdure.scenarios.exact import Floats, orthonormal, product
from perdure.scenarios.generators.own_rows import assemble_drawn, check_size, cut

WIDEST = 256


@checked
def critical_periods(
    ranks: int | Sequence[int] = (5, 5),
    features: int = 20,
    outputs: int = 20,
    *,
    shared: int = 0,
    samples: int | Sequence[int] = 2000,
    val_samples: int = 200,
    test_samples: int = 1000,
    noise: float = 0.0,
    seed: int = 0,
) -> Stream:
    """Make two tasks of linear maps of given ranks, which a net learns one after the other.

    ``y = A_t x + e`` with ``x ~ N(0, I)`` and ``A_t = s_t U_t V_t^T``: rank ``r_t`` directions, orthonormal
    and drawn, all of one strength ``s_t = sqrt(outputs / r_t)``, so that each output has variance 1 on
    average. What is learned of the first task hampers the second for good if it lasts long enough, the more
    so the deeper the net (a critical period). Both tasks share all outputs. The score is minus the squared
    error, meaned over outputs: ``||A_t - net||^2 / outputs``, the reconstruction error, when there is no
    noise.

    How long the first task lasts is the number of steps it takes: epochs times its ``samples`` over the batch
    size. Depth is the model's, without nonlinearities.

    Parameters
    ----------
    ranks:
        ``r_1`` and ``r_2``, or one number for both.
    features, outputs:
        Inputs and outputs of the maps.
    shared:
        How many directions, inputs and outputs, the two tasks have in common.
    samples:
        Training rows of both tasks, or of each.
    val_samples, test_samples:
        Validation and test rows of each task.
    noise:
        Deviation of ``e``.
    seed:
        Decides everything that is drawn.

    Raises
    ------
    PerdureError
        For ranks that the maps cannot have, or together have no room for.

    Examples
    --------
    >>> stream = critical_periods(ranks=(2, 5), shared=1, samples=50)
    >>> stream.names, stream.outputs
    (['first (rank 2)', 'second (rank 5)'], 20)

    Source: Kleinman, Achille and Soatto, Critical learning periods emerge even in deep linear networks, ICLR
    2024, the part on several tasks; sizes and strengths are ours.
    """
    check_whole("`features`", features, most=WIDEST)
    check_whole("`outputs`", outputs, least=2, most=WIDEST)
    one, two = _pair("ranks", ranks)
    check_whole("`shared`", shared, least=0, most=min(one, two))
    directions = one + two - shared
    if directions > min(features, outputs):
        raise PerdureError(
            f"`ranks` minus `shared` must be at most {min(features, outputs)} directions in all, which the "
            f"maps have; found {directions}"
        )
    check_number("`noise`", noise, high=1e6)
    rows = _pair("samples", samples)
    check_whole("`val_samples`", val_samples)
    check_whole("`test_samples`", test_samples)
    check_size(max(rows) + val_samples + test_samples, max(features, outputs))
    ins = orthonormal(Draws(seed, "inputs of maps").normal(directions * features).view(-1, features).numpy())
    outs = orthonormal(Draws(seed, "outputs of maps").normal(directions * outputs).view(-1, outputs).numpy())
    # The first task takes the first directions, the second the last ones: those between are shared.
    taken = [slice(0, one), slice(one - shared, directions)]
    maps = [_map(ins[of], outs[of]) for of in taken]
    drawn = []
    for t, of in enumerate(maps):
        sizes = [rows[t], val_samples, test_samples]
        x = Draws(seed, "inputs", t).normal(sum(sizes) * features).view(-1, features).to(torch.float32)
        y = product(x.numpy().astype(np.float64), of.T)
        y += noise * Draws(seed, "noise", t).normal(y.size).numpy().reshape(y.shape)
        drawn.append(cut(x, torch.from_numpy(y).to(torch.float32), sizes))
    titles = [f"first (rank {one})", f"second (rank {two})"]
    alike = round(shared / math.sqrt(one * two), 6)
    info = {
        "task_correlation": [[1.0, alike], [alike, 1.0]],
        "ranks": [one, two],
        "parameters": {
            "features": features, "outputs": outputs, "shared": shared, "noise": noise, "seed": seed
        },
    }  # fmt: skip
    objective = Targets((Regression(),) * outputs, (1,) * outputs)
    return assemble_drawn("critical-periods", titles, drawn, objective, outputs, "domain", info)


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    both = [value, value] if isinstance(value, int) else list(value)
    if len(both) != 2:
        raise PerdureError(f"`{name}` must be one number, or one for each of 2 tasks; found {shown(value)}")
    return check_whole(f"`{name}`", both[0]), check_whole(f"`{name}`", both[1])


def _map(ins: Floats, outs: Floats) -> Floats:
    """Return the map ``[outputs, features]`` of some directions, its cosine with another is their overlap."""
    return product(outs.T, ins) * math.sqrt(outs.shape[1] / len(outs))
