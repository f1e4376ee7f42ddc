"""Orders and what hangs on them."""

from orders.models.orders import Commitment, Fulfillment, Money, Order, OrderLine, Refund
from orders.models.shipments import Shipment, ShipmentCall, ShipmentLine, TrackingEvent
from orders.models.stock import Allocation, RefundLine

__all__ = [
    "Allocation",
    "Commitment",
    "Fulfillment",
    "Money",
    "Order",
    "OrderLine",
    "Refund",
    "RefundLine",
    "Shipment",
    "ShipmentCall",
    "ShipmentLine",
    "TrackingEvent",
]
