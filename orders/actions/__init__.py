"""What is written about orders, by noun."""

from orders.actions.orders import sync_fulfillment, sync_order, sync_refund

__all__ = ["sync_fulfillment", "sync_order", "sync_refund"]
