"""What the API shows of orders, by noun."""

from orders.serializers.orders import FulfillmentRow, LineRow, OrderDetail, OrderRow, RefundRow

__all__ = ["FulfillmentRow", "LineRow", "OrderDetail", "OrderRow", "RefundRow"]
