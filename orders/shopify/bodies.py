"""Reading orders/*, refunds/create and fulfillments/*: permissive about what may be absent, strict about ids."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from orders.shopify.snapshots import (
    FulfillmentSnapshot,
    LineSnapshot,
    OrderSnapshot,
    RefundLineSnapshot,
    RefundSnapshot,
)
from shopsync.identity import normalise_email, normalise_phone
from shopsync.shopify import Delivery, as_utc, parse, version_of

_Amount = Decimal | None
_PAID = {"paid", "partially_refunded", "refunded"}
_ZERO = Decimal(0)


class _Money(msgspec.Struct):
    amount: _Amount = None
    currency_code: str | None = None


class _MoneySet(msgspec.Struct):
    shop_money: _Money | None = None
    presentment_money: _Money | None = None


class _Customer(msgspec.Struct):
    id: int | None = None
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None


class _Address(msgspec.Struct):
    name: str | None = None
    company: str | None = None
    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    province_code: str | None = None
    zip: str | None = None
    country_code: str | None = None
    phone: str | None = None


class _TaxLine(msgspec.Struct):
    title: str | None = None
    rate: _Amount = None
    price: _Amount = None


class _DiscountCode(msgspec.Struct):
    code: str | None = None
    amount: _Amount = None
    type: str | None = None


class _ShippingLine(msgspec.Struct):
    title: str | None = None
    code: str | None = None
    price: _Amount = None
    discounted_price: _Amount = None


class _Line(msgspec.Struct):
    id: int | None = None
    variant_id: int | None = None
    product_id: int | None = None
    title: str | None = None
    variant_title: str | None = None
    sku: str | None = None
    quantity: int | None = None
    current_quantity: int | None = None
    fulfillable_quantity: int | None = None
    price: _Amount = None
    price_set: _MoneySet | None = None
    total_discount: _Amount = None
    tax_lines: list[_TaxLine] | None = None
    requires_shipping: bool | None = None


class _Transaction(msgspec.Struct):
    amount: _Amount = None
    currency: str | None = None
    kind: str | None = None
    status: str | None = None


class _RefundLine(msgspec.Struct):
    id: int | None = None
    line_item_id: int | None = None
    location_id: int | None = None
    quantity: int | None = None
    restock_type: str | None = None
    subtotal: _Amount = None
    total_tax: _Amount = None


class _ParcelLine(msgspec.Struct):
    id: int | None = None
    quantity: int | None = None


class _Refund(msgspec.Struct):
    id: int
    order_id: int | None = None
    note: str | None = None
    created_at: datetime | None = None
    processed_at: datetime | None = None
    transactions: list[_Transaction] | None = None
    refund_line_items: list[_RefundLine] | None = None


class _Fulfillment(msgspec.Struct):
    id: int
    order_id: int | None = None
    status: str | None = None
    shipment_status: str | None = None
    tracking_company: str | None = None
    tracking_number: str | None = None
    line_items: list[_ParcelLine] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class _Order(msgspec.Struct):
    id: int
    name: str | None = None
    email: str | None = None
    contact_email: str | None = None
    phone: str | None = None
    customer: _Customer | None = None
    customer_locale: str | None = None
    billing_address: _Address | None = None
    shipping_address: _Address | None = None
    currency: str | None = None
    presentment_currency: str | None = None
    subtotal_price: _Amount = None
    subtotal_price_set: _MoneySet | None = None
    total_discounts: _Amount = None
    total_discounts_set: _MoneySet | None = None
    total_tax: _Amount = None
    total_tax_set: _MoneySet | None = None
    current_subtotal_price: _Amount = None
    current_total_discounts: _Amount = None
    current_total_tax: _Amount = None
    discount_codes: list[_DiscountCode] | None = None
    tax_lines: list[_TaxLine] | None = None
    shipping_lines: list[_ShippingLine] | None = None
    total_shipping_price_set: _MoneySet | None = None
    total_price: _Amount = None
    total_price_set: _MoneySet | None = None
    current_total_price: _Amount = None
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
    line_items: list[_Line] | None = None
    refunds: list[_Refund] | None = None
    fulfillments: list[_Fulfillment] | None = None


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else as_utc(moment)


def _country(order: _Order) -> str:
    for address in (order.shipping_address, order.billing_address):
        if address and address.country_code and len(address.country_code) == 2:
            return address.country_code.upper()
    return ""


def _email(order: _Order) -> str:
    customer = order.customer.email if order.customer else None
    found = (normalise_email(value) for value in (order.email, order.contact_email, customer) if value)
    return next((email for email in found if email), "")


def _phone(order: _Order, country: str) -> str:
    customer = order.customer.phone if order.customer else None
    addresses = (address.phone for address in (order.shipping_address, order.billing_address) if address)
    found = (normalise_phone(value, country) for value in (order.phone, customer, *addresses) if value)
    return next((phone for phone in found if phone), "")


def _currency(value: str | None, default: str) -> str:
    code = (value or "").upper()
    return code if len(code) == 3 and code.isascii() and code.isalpha() else default


def parse_order(delivery: Delivery, *, currency: str, country: str) -> OrderSnapshot:
    """Read an orders/* body; `currency` and `country` are the tenant's, for bodies that leave theirs out.

    An order that is paid, or was paid and then refunded, has `paid_at`: the time of this version, the best the body
    offers.

    Raises: UnreadablePayloadError.
    """
    order = parse(delivery.body, _Order)
    updated_at = _utc(order.updated_at) or delivery.triggered_at
    is_paid = order.financial_status in _PAID
    lines = [line for line in order.line_items or [] if line.id is not None]
    version = version_of(delivery, order.updated_at)
    return OrderSnapshot(
        shopify_id=order.id,
        version=version,
        values=_values(order, currency, _country(order) or country),
        lines=tuple(_line(line, position) for position, line in enumerate(lines)),
        paid_at=(updated_at or _utc(order.processed_at) or delivery.received_at) if is_paid else None,
        cancelled_at=_utc(order.cancelled_at),
        cancel_reason=(order.cancel_reason or "")[:30],
        refunds=tuple(_refund(refund, order.id, version) for refund in order.refunds or []),
        fulfillments=tuple(_fulfillment(parcel, order.id, delivery) for parcel in order.fulfillments or []),
    )


def _values(order: _Order, currency: str, country: str) -> dict[str, object]:
    customer = order.customer or _Customer()
    own_currency = _currency(order.currency, currency)
    return {
        "name": (order.name or "")[:60],
        "email": _email(order),
        "phone": _phone(order, country),
        "customer_shopify_id": customer.id,
        "customer_first_name": (customer.first_name or "")[:200],
        "customer_last_name": (customer.last_name or "")[:200],
        "customer_locale": (order.customer_locale or "")[:20],
        "country": country,
        "currency": own_currency,
        "presentment_currency": _currency(order.presentment_currency, own_currency),
        **_amounts(order),
        **_details(order),
        "financial_status": (order.financial_status or "")[:30],
        "fulfillment_status": (order.fulfillment_status or "")[:30],
        "tags": _tags(order.tags),
        "note": order.note or "",
        "is_test": bool(order.test),
        "placed_at": _utc(order.processed_at) or _utc(order.created_at),
        "closed_at": _utc(order.closed_at),
        "source_updated_at": _utc(order.updated_at),
    }


def _details(order: _Order) -> dict[str, object]:
    """Return what is kept as it came, amounts as text."""
    addresses = {"shipping_address": order.shipping_address, "billing_address": order.billing_address}
    lists = {"discounts": order.discount_codes, "taxes": order.tax_lines, "shipping_lines": order.shipping_lines}
    kept: dict[str, object] = {name: _plain(address) if address else {} for name, address in addresses.items()}
    return kept | {name: [_plain(entry) for entry in entries or []] for name, entries in lists.items()}


def _plain(entry: msgspec.Struct) -> dict[str, str]:
    return {name: str(value)[:500] for name, value in msgspec.structs.asdict(entry).items() if value is not None}


def _amounts(order: _Order) -> dict[str, object]:
    shipping = order.total_shipping_price_set and order.total_shipping_price_set.shop_money
    total = order.total_price or _ZERO
    given = {
        "subtotal_amount": order.subtotal_price or _ZERO,
        "discount_amount": order.total_discounts or _ZERO,
        "tax_amount": order.total_tax or _ZERO,
        "shipping_amount": (shipping.amount if shipping else None) or _ZERO,
        "total_amount": total,
    }
    current = {
        "current_total_amount": order.current_total_price,
        "current_subtotal_amount": order.current_subtotal_price,
        "current_discount_amount": order.current_total_discounts,
        "current_tax_amount": order.current_total_tax,
    }
    sets = {
        "total_amount": order.total_price_set,
        "subtotal_amount": order.subtotal_price_set,
        "discount_amount": order.total_discounts_set,
        "tax_amount": order.total_tax_set,
        "shipping_amount": order.total_shipping_price_set,
    }
    known = {name: given[name.removeprefix("current_")] if value is None else value for name, value in current.items()}
    shown = {f"presentment_{name}": _presented(both, given[name]) for name, both in sets.items()}
    return {**given, **known, **shown}


def _presented(both: _MoneySet | None, otherwise: Decimal) -> Decimal:
    shown = both.presentment_money if both else None
    return otherwise if shown is None or shown.amount is None else shown.amount


def _tags(tags: str | list[str] | None) -> list[str]:
    parts = tags.split(",") if isinstance(tags, str) else tags or []
    return [part.strip() for part in parts if part.strip()]


def _line(line: _Line, position: int) -> LineSnapshot:
    quantity = max(line.quantity or 0, 0)
    current = quantity if line.current_quantity is None else max(line.current_quantity, 0)
    return LineSnapshot(
        shopify_id=line.id or 0,
        position=position,
        variant_shopify_id=line.variant_id,
        product_shopify_id=line.product_id,
        title=(line.title or "")[:500],
        variant_title=(line.variant_title or "")[:500],
        sku=(line.sku or "")[:300],
        quantity=quantity,
        current_quantity=current,
        fulfillable_quantity=current if line.fulfillable_quantity is None else max(line.fulfillable_quantity, 0),
        price_amount=line.price or _ZERO,
        presentment_price_amount=_presented(line.price_set, line.price or _ZERO),
        discount_amount=line.total_discount or _ZERO,
        tax_amount=sum((tax.price or _ZERO for tax in line.tax_lines or []), _ZERO),
        requires_shipping=line.requires_shipping is not False,
    )


def _refund(refund: _Refund, order_id: int, version: str) -> RefundSnapshot:
    given = [t for t in refund.transactions or [] if t.kind in {"refund", "void"} and t.status in {"success", None}]
    currency = next((t.currency for t in given if t.currency), "")
    return RefundSnapshot(
        shopify_id=refund.id,
        order_shopify_id=order_id,
        amount=sum((t.amount or _ZERO for t in given), _ZERO),
        currency=_currency(currency, ""),
        note=refund.note or "",
        refunded_at=_utc(refund.processed_at) or _utc(refund.created_at),
        version=version,
        lines=tuple(_refund_line(line) for line in refund.refund_line_items or [] if line.id and line.line_item_id),
    )


_RESTOCK_TYPES = {"no_restock", "cancel", "return", "legacy_restock"}


def _refund_line(line: _RefundLine) -> RefundLineSnapshot:
    return RefundLineSnapshot(
        shopify_id=line.id or 0,
        line_shopify_id=line.line_item_id or 0,
        location_shopify_id=line.location_id,
        quantity=max(line.quantity or 0, 0),
        restock_type=line.restock_type if line.restock_type in _RESTOCK_TYPES else "no_restock",
        amount=line.subtotal or _ZERO,
        tax_amount=line.total_tax or _ZERO,
    )


def _fulfillment(parcel: _Fulfillment, order_id: int, delivery: Delivery) -> FulfillmentSnapshot:
    return FulfillmentSnapshot(
        shopify_id=parcel.id,
        order_shopify_id=order_id,
        status=(parcel.status or "")[:30],
        shipment_status=(parcel.shipment_status or "")[:30],
        tracking_company=(parcel.tracking_company or "")[:200],
        tracking_number=(parcel.tracking_number or "")[:200],
        version=version_of(delivery, parcel.updated_at),
        lines={str(line.id): max(line.quantity or 0, 0) for line in parcel.line_items or [] if line.id is not None},
        sent_at=_utc(parcel.created_at),
    )


def parse_refund(delivery: Delivery) -> RefundSnapshot:
    """Read refunds/create.

    Raises: UnreadablePayloadError.
    """
    refund = parse(delivery.body, _RefundWithOrder)
    return _refund(refund, refund.order_id, version_of(delivery, refund.processed_at or refund.created_at))


def parse_fulfillment(delivery: Delivery) -> FulfillmentSnapshot:
    """Read fulfillments/create and fulfillments/update.

    Raises: UnreadablePayloadError.
    """
    parcel = parse(delivery.body, _FulfillmentWithOrder)
    return _fulfillment(parcel, parcel.order_id, delivery)


class _RefundWithOrder(_Refund, kw_only=True):
    order_id: int


class _FulfillmentWithOrder(_Fulfillment, kw_only=True):
    order_id: int
