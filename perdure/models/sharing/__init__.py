"""Networks that several tasks share."""

from perdure.models.sharing.multitab_net import MultiTabNet

__all__ = ["MultiTabNet"]
