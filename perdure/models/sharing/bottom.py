"""One trunk for all tasks, and a tower for each."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from perdure.models.sharing.heads import Heads


class SharedBottom(nn.Module):
    """A trunk that all tasks share whole: ``y_t = head_t(tower_t(trunk(x)))``.

    Parameters
    ----------
    trunk:
        What makes features ``[n, h]`` of inputs.
    head:
        The heads.
    tasks:
        How many.
    """

    headless: ClassVar[bool] = True
    task_specific: ClassVar[tuple[str, ...]] = ("head.",)

    def __init__(self, trunk: nn.Module, head: Heads, tasks: int) -> None:
        super().__init__()
        self.trunk, self.head, self.tasks = trunk, head, tasks

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all tasks, ``[n, outputs]``."""
        features = self.trunk(x)
        return self.head(features.expand(self.tasks, *features.shape))  # type: ignore[no-any-return]
