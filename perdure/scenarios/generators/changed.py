"""Streams whose tasks hold the same samples, with inputs that are changed from task to task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from perdure.core.checks import checked
from perdure.core.errors import PerdureError
from perdure.scenarios import arguments
from perdure.scenarios.contract.part import Part
from perdure.scenarios.contract.stream import MOST_TASKS, Setting, Stream, check_setting
from perdure.scenarios.contract.transforms import Permute, Rotate
from perdure.scenarios.draws import Draws
from perdure.scenarios.generators.folds import fold, make_task, shared_labels, shared_outputs
from perdure.scenarios.source import Source, SourceLike, as_source

Change = Callable[[Tensor], Tensor]


@checked
def permuted(
    source: SourceLike = "digits",
    tasks: int = 5,
    setting: Setting = "domain",
    *,
    online: bool = False,
    val: float = 0.1,
    seed: int = 0,
) -> Stream:
    """Make tasks of all samples of a source, the values of the inputs in another order in each task.

    The first task keeps the order. Inputs keep their shape; all values of an input, over channels, rows and
    columns, are permuted together. The tasks share one array and are permuted when read.

    Parameters
    ----------
    source:
        A source, its name (``"digits"``), or arrays ``(x, y)`` or ``(x, y, x_test, y_test)``.
    tasks:
        How many.
    setting:
        ``"domain"``: the tasks share an output for every class; otherwise each task has outputs of its own,
        ``tasks * classes`` in all.
    online:
        True when the samples may be passed over only once.
    val:
        Share of the training samples of each class that becomes the validation part.
    seed:
        Decides the permutations, the validation samples and the order of the training samples.

    Raises
    ------
    PerdureError
        When the source or a parameter is not usable.
    """
    data = as_source(source)
    values = data.x[0].numel()
    later = range(1, arguments.count("tasks", tasks, most=MOST_TASKS))
    changes: list[Change | None] = [None]
    changes += [Permute(Draws(seed, "permutation", task).permutation(values)) for task in later]
    names = ["identity", *(f"permutation {task}" for task in later)]
    return _changed(f"permuted-{data.name}", data, names, changes, setting, online, val, seed)


@checked
def rotated(
    source: SourceLike = "digits",
    tasks: int | None = None,
    setting: Setting = "domain",
    *,
    angles: Sequence[float] | None = None,
    online: bool = False,
    val: float = 0.1,
    seed: int = 0,
) -> Stream:
    """Make tasks of all images of a source, turned by another angle in each task.

    Parameters
    ----------
    source:
        A source of images ``[n, channels, height, width]``, its name, or arrays.
    tasks:
        How many; 5 unless ``angles`` says otherwise. The angles are then spread evenly from 0 up to, and
        without, 180 degrees.
    setting:
        As for :func:`permuted`.
    angles:
        Degrees, counter-clockwise, one for each task. Multiples of 90 are exact on square images, others
        interpolate bilinearly.
    online, val, seed:
        As for :func:`permuted`; the angles do not depend on the seed.

    Raises
    ------
    PerdureError
        When the source holds no images, or the angles are not finite, different numbers.
    """
    data = as_source(source)
    if data.x.ndim != 4:
        raise PerdureError(
            f"`rotated` needs images [n, channels, height, width]; source {data.name!r} has inputs of the "
            f"shape {list(data.x.shape)}"
        )
    if angles is None:
        number = arguments.count("tasks", 5 if tasks is None else tasks, most=MOST_TASKS)
        degrees = [180.0 * task / number for task in range(number)]
    else:
        degrees = _check_angles(angles, tasks)
    changes: list[Change | None] = [Rotate(angle) if angle % 360 else None for angle in degrees]
    names = [f"{angle:g}°" for angle in degrees]
    return _changed(f"rotated-{data.name}", data, names, changes, setting, online, val, seed)


def _check_angles(angles: Sequence[float], tasks: int | None) -> list[float]:
    if not angles or len({f"{a:g}" for a in angles}) < len(angles):
        raise PerdureError(f"`angles` must be a list of different finite numbers; found {angles!r}")
    if tasks is not None and arguments.count("tasks", tasks) != len(angles):
        raise PerdureError(f"`tasks` must be {len(angles)}, the number of angles; found {tasks!r}")
    return [float(a) for a in angles]


def _changed(
    name: str,
    data: Source,
    names: list[str],
    changes: list[Change | None],
    setting: Setting,
    online: bool,
    val: float,
    seed: int,
) -> Stream:
    check_setting(setting)
    folds = fold(data, val, seed)
    labels = shared_labels("domain", 0, data.classes)
    plain = make_task(name, folds, labels, tuple(labels.tolist()))
    tasks = []
    for index, (title, change) in enumerate(zip(names, changes, strict=True)):
        first = int(shared_labels(setting, index, data.classes)[0])
        task = plain.map_parts(partial(_with, first=first, change=change))
        tasks.append(replace(task, name=title, outputs=tuple(range(first, first + data.classes))))
    outputs = shared_outputs(setting, len(tasks), data.classes)
    return Stream(name, tuple(tasks), setting, outputs, arguments.flag("online", online), data.notes)


def _with(part: Part, first: int, change: Change | None) -> Part:
    return replace(part, y=part.y + first, transform=change)
