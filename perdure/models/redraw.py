"""A module given as the model: drawn anew for each seed, and what cannot be drawn anew or is lost by it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

# Layers draw their weights in the first; torch's attention and transformers in the second.
RESETS = ("reset_parameters", "_reset_parameters")
# Draws that a module's values are held against: as many as keep this many numbers, within bounds.
NUMBERS, FEWEST, MOST = 2_000_000, 4, 32
# Of a large tensor so many entries are looked at.
LOOKED_AT = 4096
# A two-sample Kolmogorov-Smirnov distance of this many standard units comes by chance once in 10^7 tensors.
UNUSUAL = 2.9


def redraw(module: nn.Module) -> nn.Module:
    """Return a copy whose layers have drawn their weights anew, inner ones first.

    What a module draws for its layers comes after what these draw by themselves, as in their construction.
    """
    module = copy.deepcopy(module)
    for part in _inner_first(module):
        for name in RESETS:
            reset = getattr(part, name, None)
            if callable(reset):
                reset()
    return module


def notes(module: nn.Module) -> list[str]:
    """Say which tensors of a module all seeds share, and whose own initialisation :func:`redraw` replaces."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shared, replaced = _compare(module)
    way_out = "pass a function that builds the module"
    found = []
    if shared:
        found.append(
            f"the model is a module, and nothing draws {_listed(shared)} anew: all seeds start with the same "
            f"values; {way_out}"
        )
    if replaced:
        found.append(
            "the model is a module whose layers are drawn anew for each seed: what reset_parameters draws "
            f"replaces the values that it had in {_listed(replaced)}; {way_out}, or set pretrained=True"
        )
    return found


def _inner_first(module: nn.Module) -> Iterator[nn.Module]:
    """Go through all modules once, each after those inside it."""
    seen: set[nn.Module] = set()

    def walk(part: nn.Module) -> Iterator[nn.Module]:
        seen.add(part)
        for child in part.children():
            if child not in seen:
                yield from walk(child)
        yield part

    return walk(module)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of floating point, lazy ones left out."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        k: v.detach()
        for k, v in named.items()
        if not nn.parameter.is_lazy(v) and v.is_floating_point() and v.numel()
    }


def _samples(module: nn.Module) -> dict[str, Tensor]:
    """Return entries of each tensor, ``[n]`` float64, spread over all of it."""
    return {
        k: v.flatten()[:: -(-v.numel() // LOOKED_AT)].double().clone() for k, v in _tensors(module).items()
    }


def _compare(module: nn.Module) -> tuple[list[str], list[str]]:
    """Return the names of tensors that are not drawn anew, and of those that look unlike what is drawn."""
    given = _samples(module)
    moved = copy.deepcopy(module)
    with torch.no_grad():
        for v in _tensors(moved).values():
            v.add_(1.0)
        marked = _samples(moved)
        numbers = sum(v.numel() for v in _tensors(module).values())
        draws = min(MOST, max(FEWEST, NUMBERS // max(1, numbers)))
        drawn = [
            {k: v.flatten()[:LOOKED_AT].clone() for k, v in _tensors(redraw(moved)).items()}
            for _ in range(draws)
        ]
    shared, replaced = [], []
    for name, values in given.items():
        own = torch.stack([one[name] for one in drawn])
        if torch.equal(own[0], marked[name]):
            # Constants (gains of 1, biases of 0) are the same in every construction.
            shared += [name] if bool((values != values[0]).any()) else []
        elif _unusual(values, own):
            replaced.append(name)
    return shared, replaced


def _unusual(values: Tensor, drawn: Tensor) -> bool:
    """Tell whether ``values`` ``[n]`` do not come from what ``drawn`` ``[draws, n]`` comes from."""
    if bool((drawn == drawn[0]).all()):
        return not torch.equal(values, drawn[0])
    constant = bool((values == values[0]).all()) and (len(values) > 1 or float(values[0]) == 0.0)
    if constant and not bool((drawn == values[0]).any()):
        return True
    pool = drawn.flatten().sort().values
    if float(values.abs().max()) > 1.5 * float(pool.abs().max()):
        return True
    values, n, m = values.sort().values, len(values), len(pool)
    both = torch.cat([values, pool])
    below = [torch.searchsorted(v, both, right=True) / len(v) for v in (values, pool)]
    distance = float((below[0] - below[1]).abs().max())
    return distance > UNUSUAL * math.sqrt((n + m) / (n * m))


def _listed(names: list[str]) -> str:
    rest = len(names) - 3
    return ", ".join(map(repr, names[:3])) + (f" and {rest} more" if rest > 0 else "")
