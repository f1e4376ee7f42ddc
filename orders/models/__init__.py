"""Orders and what hangs on them, by noun."""

from orders.models.orders import Commitment, Fulfillment, Money, Order, OrderLine, Refund
from orders.models.payments import Dispute, GatewayRefund, Payment, PaymentCall, PaymentEvent, PaymentMismatch

__all__ = [
    "Commitment",
    "Dispute",
    "Fulfillment",
    "GatewayRefund",
    "Money",
    "Order",
    "OrderLine",
    "Payment",
    "PaymentCall",
    "PaymentEvent",
    "PaymentMismatch",
    "Refund",
]
