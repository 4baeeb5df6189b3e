"""Checks for plugins, and the streams and models to check them on."""

from perdure.scenarios.contract.check_stream import check_stream
from perdure.testing.check_strategy import check_strategy

__all__ = ["check_strategy", "check_stream"]
