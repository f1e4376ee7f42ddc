"""Orders for operators, by noun."""

from orders.admin import orders

__all__ = ["orders"]
