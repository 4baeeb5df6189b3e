"""A dispatch mode that does not load torch's compiler."""

from __future__ import annotations

from typing import Self

from torch.utils._python_dispatch import TorchDispatchMode


class Light(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode without the compiler, whose import would take seconds."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
