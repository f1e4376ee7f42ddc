"""Orders and what hangs on them, by noun."""

from orders.models.orders import Commitment, Fulfillment, Money, Order, OrderLine, Refund

__all__ = ["Commitment", "Fulfillment", "Money", "Order", "OrderLine", "Refund"]
