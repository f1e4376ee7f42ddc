"""Orders for operators, by noun."""

from orders.admin import orders, payments, shipments

__all__ = ["orders", "payments", "shipments"]
