"""Orders for operators, by noun."""

from orders.admin import orders, payments

__all__ = ["orders", "payments"]
