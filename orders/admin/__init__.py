"""Orders for operators, by noun."""

from orders.admin import orders, payments, shipments, watches

__all__ = ["orders", "payments", "shipments", "watches"]
