"""The API's orders, by noun."""

from orders.views.intake import receive_stripe_event
from orders.views.orders import Orders
from orders.views.payments import Mismatches, Payments

__all__ = ["Mismatches", "Orders", "Payments", "receive_stripe_event"]
