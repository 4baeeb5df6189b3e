"""Image files as a dataset: each is decoded when it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, from_numpy

from perdure.core.checks import check_one_of, check_whole, checked
from perdure.core.errors import PerdureError
from perdure.scenarios.sources.files import existing, readable
from perdure.scenarios.sources.image_files import as_parts, content, in_folder
from perdure.scenarios.sources.pixels import decode


class ImageFiles:
    """Image files and their classes, for :func:`perdure.scenarios.from_datasets`: only names are in memory.

    Items are ``(x, y)``: ``x [channels, size, size]`` are bytes (uint8), or float32 in [0, 1] of files with
    finer values. All files should be of one of these kinds. What is transparent is laid on white, and of
    several frames the first is read, without a note: files are looked at one by one, as they are needed.

    Parameters
    ----------
    files:
        Paths of the files.
    targets:
        Number of the class of each.
    size:
        Height and width that all images are resized to (bilinear).
    channels:
        1 for grey, 3 for colours.

    Raises
    ------
    PerdureError
        When there are not as many classes as files; when an item is asked for, of a file that is no image.
    """

    @checked
    def __init__(
        self, files: Sequence[str | Path], targets: Sequence[int], size: int = 28, *, channels: int = 1
    ) -> None:
        check_whole("`size`", size, 1, 4096)
        if channels not in (1, 3):
            raise PerdureError(f"`channels` must be 1 (grey) or 3 (colours); found {channels!r}")
        if len(files) != len(targets):
            raise PerdureError(f"{len(files)} files need as many targets; found {len(targets)}")
        # Plain strings: a hundred thousand paths would take as much room as a tenth of their images.
        self.files = [str(file) for file in files]
        self.targets = np.array(targets, dtype=np.int64)
        self.size, self.channels = size, channels

    @classmethod
    def below(cls, path: str | Path, size: int = 28, *, channels: int = 1, part: str = "train") -> ImageFiles:
        """Take the images of a folder, which are in a folder for each class, as ``images`` has them.

        Parameters
        ----------
        path:
            The folder.
        size, channels:
            As above.
        part:
            ``"train"``, ``"val"`` or ``"test"``, where there is a folder for each part. Classes are numbered
            by their names in the training part.
        """
        check_one_of("`part`", part, ("train", "val", "test"))
        place = existing(path, "folder of images")
        with readable(place):
            found = as_parts(place, sorted(in_folder(place).items(), key=lambda pair: pair[0].parts))
        names = sorted({image.key for image in found if image.part == "train"})
        number = {key: i for i, key in enumerate(names)}
        own = [image for image in found if image.part == part]
        if not own or not {image.key for image in own} <= number.keys():
            raise PerdureError(
                f"{place}: expected images of the classes of the training part in the {part} part"
            )
        targets = [number[image.key] for image in own]
        return cls([str(place / image.file) for image in own], targets, size, channels=channels)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]:
        file = self.files[index]
        pixels, _ = decode(f"cannot read the image {file}", content(file), self.size, self.channels)
        return from_numpy(np.array(pixels, order="C")), int(self.targets[index])

    def digest(self) -> bytes:
        """Return what identifies the files without reading them: their order, names and sizes in bytes."""
        found = hashlib.blake2b(repr((self.size, self.channels)).encode(), digest_size=16)
        for file in map(Path, self.files):
            with readable(file):
                found.update(repr((file.name, file.stat().st_size)).encode())
        return found.digest()
