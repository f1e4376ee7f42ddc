"""The API's orders, by noun."""

from orders.views.orders import Orders

__all__ = ["Orders"]
