"""Orders and what hangs on them, by noun."""

from orders.models.orders import Commitment, Fulfillment, Money, Order, OrderLine, Refund
from orders.models.payments import Dispute, GatewayRefund, Payment, PaymentCall, PaymentEvent, PaymentMismatch
from orders.models.shipments import Shipment, ShipmentCall, ShipmentLine, TrackingEvent
from orders.models.stock import Allocation, RefundLine
from orders.models.watches import OrderWatch

__all__ = [
    "Allocation",
    "Commitment",
    "Dispute",
    "Fulfillment",
    "GatewayRefund",
    "Money",
    "Order",
    "OrderLine",
    "OrderWatch",
    "Payment",
    "PaymentCall",
    "PaymentEvent",
    "PaymentMismatch",
    "Refund",
    "RefundLine",
    "Shipment",
    "ShipmentCall",
    "ShipmentLine",
    "TrackingEvent",
]
