"""What goes into several layers of a model in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from perdure.core.batch import Batch, Params
from perdure.core.errors import PerdureError
from perdure.core.net import Net


def inputs_of(net: Net, params: Params, batch: Batch, layers: Iterable[str]) -> dict[str, list[Tensor]]:
    """Return what each call of some layers is given when a batch goes through the model, ``[n, ...]`` each.

    Draws are those of the step, so that a record shares the pass with the one that gives the losses.

    Parameters
    ----------
    net, params, batch:
        The model and the samples.
    layers:
        Names of the layers, as ``named_modules`` gives them.

    Raises
    ------
    PerdureError
        Where a layer is given rows that are no samples.
    """
    caught: dict[str, list[Tensor]] = {name: [] for name in layers}

    def catch(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            if len(given[0]) != len(batch):
                raise PerdureError(
                    f"expected that the layer {name!r} is given a row for each of {len(batch)} samples; "
                    f"found {len(given[0])} rows"
                )
            caught[name].append(given[0])

        return hook

    handles = [net.module.get_submodule(k).register_forward_pre_hook(catch(k)) for k in caught]
    try:
        # Without what is remembered of the step: another call of the same inputs must not answer for this.
        replace(net, _memo={}).raw(params, batch.x, batch.task)
    finally:
        for handle in handles:
            handle.remove()
    return caught
