"""Networks that all tasks of a stream share, and learn at once."""

from perdure.strategies.sharing.multitab_net import MultiTab

__all__ = ["MultiTab"]
