"""The frozen results of reading an order's bodies. Amounts are in major units; text is cut to its column."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class LineSnapshot:
    """One line; `fulfillable_quantity` is what it still asks of the stock."""

    shopify_id: int
    position: int
    variant_shopify_id: int | None
    product_shopify_id: int | None
    title: str
    variant_title: str
    sku: str
    quantity: int
    current_quantity: int
    fulfillable_quantity: int
    price_amount: Decimal
    presentment_price_amount: Decimal
    discount_amount: Decimal
    tax_amount: Decimal
    requires_shipping: bool


@dataclass(frozen=True, slots=True)
class RefundLineSnapshot:
    """Units of a line that were refunded, and where they went."""

    shopify_id: int
    line_shopify_id: int
    location_shopify_id: int | None
    quantity: int
    restock_type: str
    amount: Decimal
    tax_amount: Decimal


@dataclass(frozen=True, slots=True)
class RefundSnapshot:
    """One version of a refund and the money its successful transactions gave back."""

    shopify_id: int
    order_shopify_id: int
    amount: Decimal
    currency: str
    note: str
    refunded_at: datetime | None
    version: str
    lines: tuple[RefundLineSnapshot, ...] = ()


@dataclass(frozen=True, slots=True)
class FulfillmentSnapshot:
    """One version of a parcel."""

    shopify_id: int
    order_shopify_id: int
    status: str
    shipment_status: str
    tracking_company: str
    tracking_number: str
    version: str
    lines: dict[str, int]
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """One version of an order. `values` are columns of Order by name; the facts stand apart, for they join from any
    age."""

    shopify_id: int
    version: str
    values: dict[str, object]
    lines: tuple[LineSnapshot, ...]
    paid_at: datetime | None
    cancelled_at: datetime | None
    cancel_reason: str
    refunds: tuple[RefundSnapshot, ...]
    fulfillments: tuple[FulfillmentSnapshot, ...]
