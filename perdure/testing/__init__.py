"""Checks for plugins, and the tiny streams and models to check them on.

>>> from perdure.strategies import EWC
>>> from perdure.testing import check_strategy, check_stream, tiny_stream
>>> check_stream(tiny_stream("class", tasks=2))
>>> check_strategy(EWC(strength=20.0), level="quick")
"""

from perdure.scenarios.contract.check_stream import check_stream
from perdure.testing.check_env import check_env
from perdure.testing.check_strategy import check_strategy
from perdure.testing.models import TinyTokens, tiny_model, tiny_norm, tiny_team
from perdure.testing.promises import Broken
from perdure.testing.streams import tiny_stream, tiny_team_stream

__all__ = [
    "Broken",
    "TinyTokens",
    "check_env",
    "check_strategy",
    "check_stream",
    "tiny_model",
    "tiny_norm",
    "tiny_stream",
    "tiny_team",
    "tiny_team_stream",
]
