"""The API's doors to orders."""

from orders.views.orders import Orders

__all__ = ["Orders"]
