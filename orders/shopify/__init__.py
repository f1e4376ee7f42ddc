"""Shopify's orders, refunds and fulfilments (pure): bodies in, frozen snapshots out."""

from orders.shopify.bodies import parse_fulfillment, parse_order, parse_refund
from orders.shopify.snapshots import (
    FulfillmentSnapshot,
    LineSnapshot,
    OrderSnapshot,
    RefundLineSnapshot,
    RefundSnapshot,
)

__all__ = [
    "FulfillmentSnapshot",
    "LineSnapshot",
    "OrderSnapshot",
    "RefundLineSnapshot",
    "RefundSnapshot",
    "parse_fulfillment",
    "parse_order",
    "parse_refund",
]
