"""Products and stock for operators, by noun."""

from inventory.admin import stock, thresholds

__all__ = ["stock", "thresholds"]
