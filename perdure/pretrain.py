"""Training a model on a source of one's choice, for others to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from perdure.analysis.results import Results
from perdure.core.checks import checked
from perdure.core.errors import PerdureError
from perdure.core.specs import parse
from perdure.experiment import compare
from perdure.models.adapters.anchored import Place
from perdure.scenarios.contract.stream import Stream
from perdure.scenarios.generators import split
from perdure.scenarios.registry import get
from perdure.scenarios.source import SOURCES, Source, as_source
from perdure.strategies.baselines.joint import Joint
from perdure.training import Model


@checked
def pretrain(
    source: Stream | Source | str, out: Place, *, model: Model, seed: int = 0, **settings: Any
) -> Results:
    """Train a plain model on all tasks of a stream together, and write its weights as safetensors.

    The file holds parameters and buffers under the module's own names, the head among them; it is what
    ``CLR(anchor=out)`` reads. The streams that follow must have inputs of the same shape.

    Parameters
    ----------
    source:
        A stream or its name (``"split-omniglot | take(4)"``), or a source or its name (``"mnist-5k"``), of
        which all classes are learned at once.
    out:
        The file; what is there is written over.
    model, settings:
        Whatever :func:`perdure.compare` takes: ``epochs``, ``lr``, ``clip``, ``training``, ``tune``, ...
    seed:
        One seed: of the weights at the start and of the order of the samples.

    Returns
    -------
    Results
        Of the strategy ``joint``: how good the model is on the test parts, and what it cost.

    Raises
    ------
    PerdureError
        As for :func:`perdure.compare`; also when the folder of ``out`` does not exist.
    """
    if taken := sorted({"keep", "seeds"} & set(settings)):
        raise PerdureError(f"one model is trained and kept, of the seed given; found {taken[0]!r} besides")
    if not Path(out).absolute().parent.is_dir():
        raise PerdureError(f"expected a file in a folder that exists; found {out}")
    results = compare(_stream(source), [Joint()], model=model, seeds=[seed], keep=True, **settings)
    trained = results.trained["joint"]
    held = {**trained.buffers(), **trained.params()}
    save_file({k: v.detach().cpu().clone() for k, v in held.items()}, Path(out))
    return results


def _stream(source: Stream | Source | str) -> Stream:
    if isinstance(source, Stream):
        return source
    if isinstance(source, str) and parse(source.partition("|")[0])[0] not in SOURCES:
        return get(source)
    data = as_source(source)
    return split(data, data.classes)
