"""The shapes of Shopify's bodies about orders (pure), as far as they are read: nearly everything may be absent."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec

from shopsync.shopify import MOST_UNITS

Amount = Decimal | None
Quantity = Annotated[int, msgspec.Meta(ge=0, le=MOST_UNITS)] | None


class MoneyBody(msgspec.Struct):
    """An amount and its currency."""

    amount: Amount = None
    currency_code: str | None = None


class MoneySetBody(msgspec.Struct):
    """An amount in the shop's currency and in the buyer's."""

    shop_money: MoneyBody | None = None
    presentment_money: MoneyBody | None = None


class CustomerBody(msgspec.Struct):
    """Who bought."""

    id: int | None = None
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None


class AddressBody(msgspec.Struct):
    """A postal address."""

    name: str | None = None
    company: str | None = None
    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    province_code: str | None = None
    zip: str | None = None
    country_code: str | None = None
    phone: str | None = None


class TaxLineBody(msgspec.Struct):
    """A tax."""

    title: str | None = None
    rate: Amount = None
    price: Amount = None


class DiscountCodeBody(msgspec.Struct):
    """A discount's code."""

    code: str | None = None
    amount: Amount = None
    type: str | None = None


class ShippingLineBody(msgspec.Struct):
    """A way of shipping."""

    title: str | None = None
    code: str | None = None
    price: Amount = None
    discounted_price: Amount = None


class LineBody(msgspec.Struct):
    """A line of an order."""

    id: int | None = None
    variant_id: int | None = None
    product_id: int | None = None
    title: str | None = None
    variant_title: str | None = None
    sku: str | None = None
    quantity: Quantity = None
    current_quantity: Quantity = None
    fulfillable_quantity: Annotated[int, msgspec.Meta(le=MOST_UNITS)] | None = None
    price: Amount = None
    price_set: MoneySetBody | None = None
    total_discount: Amount = None
    tax_lines: list[TaxLineBody] | None = None
    requires_shipping: bool | None = None


class TransactionBody(msgspec.Struct):
    """Money that moved."""

    amount: Amount = None
    currency: str | None = None
    kind: str | None = None
    status: str | None = None


class RefundLineBody(msgspec.Struct):
    """Units of a line that were refunded."""

    id: int | None = None
    line_item_id: int | None = None
    location_id: int | None = None
    quantity: Quantity = None
    restock_type: str | None = None
    subtotal: Amount = None
    total_tax: Amount = None


class ParcelLineBody(msgspec.Struct):
    """Units of a line in a parcel."""

    id: int | None = None
    quantity: Quantity = None


class RefundBody(msgspec.Struct):
    """A refund within its order."""

    id: int
    order_id: int | None = None
    note: str | None = None
    created_at: datetime | None = None
    processed_at: datetime | None = None
    transactions: list[TransactionBody] | None = None
    refund_line_items: list[RefundLineBody] | None = None


class FulfillmentBody(msgspec.Struct):
    """A parcel within its order."""

    id: int
    order_id: int | None = None
    status: str | None = None
    shipment_status: str | None = None
    tracking_company: str | None = None
    tracking_number: str | None = None
    line_items: list[ParcelLineBody] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class OrderBody(msgspec.Struct):
    """An order."""

    id: int
    name: str | None = None
    email: str | None = None
    contact_email: str | None = None
    phone: str | None = None
    customer: CustomerBody | None = None
    customer_locale: str | None = None
    billing_address: AddressBody | None = None
    shipping_address: AddressBody | None = None
    currency: str | None = None
    presentment_currency: str | None = None
    subtotal_price: Amount = None
    subtotal_price_set: MoneySetBody | None = None
    total_discounts: Amount = None
    total_discounts_set: MoneySetBody | None = None
    total_tax: Amount = None
    total_tax_set: MoneySetBody | None = None
    current_subtotal_price: Amount = None
    current_total_discounts: Amount = None
    current_total_tax: Amount = None
    discount_codes: list[DiscountCodeBody] | None = None
    tax_lines: list[TaxLineBody] | None = None
    shipping_lines: list[ShippingLineBody] | None = None
    total_shipping_price_set: MoneySetBody | None = None
    total_price: Amount = None
    total_price_set: MoneySetBody | None = None
    current_total_price: Amount = None
    financial_status: str | None = None
    fulfillment_status: str | None = None
    tags: str | list[str] | None = None
    note: str | None = None
    test: bool | None = None
    created_at: datetime | None = None
    processed_at: datetime | None = None
    updated_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancel_reason: str | None = None
    closed_at: datetime | None = None
    line_items: list[LineBody] | None = None
    refunds: list[RefundBody] | None = None
    fulfillments: list[FulfillmentBody] | None = None


class RefundWithOrderBody(RefundBody, kw_only=True):
    """A refund by itself."""

    order_id: int


class FulfillmentWithOrderBody(FulfillmentBody, kw_only=True):
    """A parcel by itself."""

    order_id: int
