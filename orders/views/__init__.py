"""The API's orders, by noun."""

from orders.views.carriers import receive_easypost_event
from orders.views.orders import Orders
from orders.views.shipments import Shipments

__all__ = ["Orders", "Shipments", "receive_easypost_event"]
