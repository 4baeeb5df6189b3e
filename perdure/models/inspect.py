"""Which layer of a model is its head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from perdure.core.errors import PerdureError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def width(layer: nn.Module) -> int | None:
    """Return how many outputs a linear or convolution layer has; ``None`` for any other."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) else None


def find_head(model: nn.Module, outputs: int | None = None) -> str | None:
    """Return the name of the last registered linear or convolution layer: the classifier, for most models.

    ``""`` is the model itself; ``None``: there is no such layer, or the model says that it has no head
    (``headless``, as a matcher of names does).

    Parameters
    ----------
    model:
        Any model.
    outputs:
        How many outputs the layer has; ``None``: any number.

    >>> find_head(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), 3)
    '2'
    """
    if getattr(model, "headless", False):
        return None
    widths = {k: width(m) for k, m in model.named_modules()}
    found = [k for k, w in widths.items() if w is not None and outputs in (None, w)]
    return found[-1] if found else None


def need_head(model: nn.Module, outputs: int, asker: str) -> str:
    """Return the name of the last layer of so many outputs, for a method that can't do without one."""
    head = find_head(model, outputs)
    if head is None:
        raise PerdureError(
            f"{asker} needs a head, a linear or convolution layer with {outputs} outputs; "
            f"found none in {type(model).__name__}"
        )
    return head


def shared(model: nn.Module, names: Iterable[str], outputs: int) -> tuple[str, ...]:
    """Return which of a model's parameters all tasks share: all but its head's, or but what it says itself.

    A model with parameters of its own for each task (gates, towers) names them: ``task_specific`` holds the
    beginnings of their names.

    Parameters
    ----------
    model:
        Any model.
    names:
        Names of its parameters.
    outputs:
        How many outputs the stream has.

    >>> model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> shared(model, dict(model.named_parameters()), 3)
    ('0.weight', '0.bias')
    """
    own: Sequence[str] | None = getattr(model, "task_specific", None)
    if own is None:
        head = find_head(model, outputs)
        own = () if head is None else (f"{head}." if head else "",)
    return tuple(name for name in names if not name.startswith(tuple(own)))
