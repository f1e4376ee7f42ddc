"""Reading orders/*, refunds/create and fulfillments/*: permissive about what may be absent, strict about ids."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import msgspec

from orders.shopify.shapes import (
    Amount,
    CustomerBody,
    FulfillmentBody,
    FulfillmentWithOrderBody,
    LineBody,
    MoneySetBody,
    OrderBody,
    RefundBody,
    RefundLineBody,
    RefundWithOrderBody,
)
from orders.shopify.snapshots import (
    FulfillmentSnapshot,
    LineSnapshot,
    OrderSnapshot,
    RefundLineSnapshot,
    RefundSnapshot,
)
from shopsync.identity import normalise_email, normalise_phone
from shopsync.shopify import LARGEST_AMOUNT, Delivery, UnreadablePayloadError, as_utc, parse, version_of

_PAID = {"paid", "partially_refunded", "refunded"}
_ZERO = Decimal(0)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else as_utc(moment)


def _country(order: OrderBody) -> str:
    for address in (order.shipping_address, order.billing_address):
        if address and address.country_code and len(address.country_code) == 2:
            return address.country_code.upper()
    return ""


def _email(order: OrderBody) -> str:
    customer = order.customer.email if order.customer else None
    found = (normalise_email(value) for value in (order.email, order.contact_email, customer) if value)
    return next((email for email in found if email), "")


def _phone(order: OrderBody, country: str) -> str:
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
    order = parse(delivery.body, OrderBody)
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


def _values(order: OrderBody, currency: str, country: str) -> dict[str, object]:
    customer = order.customer or CustomerBody()
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


def _details(order: OrderBody) -> dict[str, object]:
    """Return what is kept as it came, amounts as text."""
    addresses = {"shipping_address": order.shipping_address, "billing_address": order.billing_address}
    lists = {"discounts": order.discount_codes, "taxes": order.tax_lines, "shipping_lines": order.shipping_lines}
    kept: dict[str, object] = {name: _plain(address) if address else {} for name, address in addresses.items()}
    return kept | {name: [_plain(entry) for entry in entries or []] for name, entries in lists.items()}


def _plain(entry: msgspec.Struct) -> dict[str, str]:
    return {name: str(value)[:500] for name, value in msgspec.structs.asdict(entry).items() if value is not None}


def _amounts(order: OrderBody) -> dict[str, object]:
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


def _presented(both: MoneySetBody | None, otherwise: Decimal) -> Decimal:
    shown = both.presentment_money if both else None
    return otherwise if shown is None or shown.amount is None else shown.amount


def _tags(tags: str | list[str] | None) -> list[str]:
    parts = tags.split(",") if isinstance(tags, str) else tags or []
    return [part.strip() for part in parts if part.strip()]


def _sum(amounts: Iterable[Amount], of: str) -> Decimal:
    """Add amounts up.

    Raises: UnreadablePayloadError for more than a column holds.
    """
    total = sum((amount or _ZERO for amount in amounts), _ZERO)
    if total >= LARGEST_AMOUNT:
        raise UnreadablePayloadError(f"{of}: in sum they have to stay below 10^15")
    return total


def _line(line: LineBody, position: int) -> LineSnapshot:
    quantity = line.quantity or 0
    current = quantity if line.current_quantity is None else line.current_quantity
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
        tax_amount=_sum((tax.price for tax in line.tax_lines or []), f"tax_lines of line {line.id}"),
        requires_shipping=line.requires_shipping is not False,
    )


def _refund(refund: RefundBody, order_id: int, version: str) -> RefundSnapshot:
    given = [t for t in refund.transactions or [] if t.kind in {"refund", "void"} and t.status in {"success", None}]
    currency = next((t.currency for t in given if t.currency), "")
    return RefundSnapshot(
        shopify_id=refund.id,
        order_shopify_id=order_id,
        amount=_sum((t.amount for t in given), f"transactions of refund {refund.id}"),
        currency=_currency(currency, ""),
        note=refund.note or "",
        refunded_at=_utc(refund.processed_at) or _utc(refund.created_at),
        version=version,
        lines=tuple(_refund_line(line) for line in refund.refund_line_items or [] if line.id and line.line_item_id),
    )


_RESTOCK_TYPES = {"no_restock", "cancel", "return", "legacy_restock"}


def _refund_line(line: RefundLineBody) -> RefundLineSnapshot:
    return RefundLineSnapshot(
        shopify_id=line.id or 0,
        line_shopify_id=line.line_item_id or 0,
        location_shopify_id=line.location_id,
        quantity=line.quantity or 0,
        restock_type=line.restock_type if line.restock_type in _RESTOCK_TYPES else "no_restock",
        amount=line.subtotal or _ZERO,
        tax_amount=line.total_tax or _ZERO,
    )


def _fulfillment(parcel: FulfillmentBody, order_id: int, delivery: Delivery) -> FulfillmentSnapshot:
    return FulfillmentSnapshot(
        shopify_id=parcel.id,
        order_shopify_id=order_id,
        status=(parcel.status or "")[:30],
        shipment_status=(parcel.shipment_status or "")[:30],
        tracking_company=(parcel.tracking_company or "")[:200],
        tracking_number=(parcel.tracking_number or "")[:200],
        version=version_of(delivery, parcel.updated_at),
        lines={str(line.id): line.quantity or 0 for line in parcel.line_items or [] if line.id is not None},
        sent_at=_utc(parcel.created_at),
    )


def parse_refund(delivery: Delivery) -> RefundSnapshot:
    """Read refunds/create.

    Raises: UnreadablePayloadError.
    """
    refund = parse(delivery.body, RefundWithOrderBody)
    return _refund(refund, refund.order_id, version_of(delivery, refund.processed_at or refund.created_at))


def parse_fulfillment(delivery: Delivery) -> FulfillmentSnapshot:
    """Read fulfillments/create and fulfillments/update.

    Raises: UnreadablePayloadError.
    """
    parcel = parse(delivery.body, FulfillmentWithOrderBody)
    return _fulfillment(parcel, parcel.order_id, delivery)
