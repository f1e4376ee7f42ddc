"""The API's orders, by noun."""

from orders.views.carriers import receive_easypost_event
from orders.views.intake import receive_stripe_event
from orders.views.orders import Orders
from orders.views.payments import Mismatches, Payments
from orders.views.shipments import Shipments
from orders.views.stock import HandOver
from orders.views.watches import Watches

__all__ = [
    "HandOver",
    "Mismatches",
    "Orders",
    "Payments",
    "Shipments",
    "Watches",
    "receive_easypost_event",
    "receive_stripe_event",
]
