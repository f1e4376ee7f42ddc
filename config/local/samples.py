"""Sample bodies, shaped as Shopify's are (2026-07), with ids that fit together; deliveries.py sends them."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

Body = dict[str, Any]

_numbers = itertools.count(time.time_ns() // 1000)  # ids of another run are other ids: no clock runs backwards that far


def new_id() -> int:
    """Return a number that no earlier run has used, as long as Shopify's are."""
    return next(_numbers)


def now_text(moment: datetime | None = None) -> str:
    """Write a moment (now) as the bodies do."""
    return (moment or datetime.now(UTC)).isoformat()


# --- who and what ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Customer:
    """A customer of a shop. `phone` may be empty."""

    first_name: str
    last_name: str
    email: str
    phone: str = ""
    country: str = "GR"
    shopify_id: int = field(default_factory=new_id)

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"


def new_customer(first_name: str, last_name: str, *, country: str = "GR", has_phone: bool = True) -> Customer:
    """Make a customer whose e-mail and mobile number nobody else has."""
    number = secrets.randbelow(10_000_000)
    phone = f"+3069{10_000_000 + number:08d}" if country == "GR" else f"+1202{2_000_000 + number % 8_000_000:07d}"
    mark = new_id()
    email = f"customer.{mark}@example.com"
    return Customer(first_name, last_name, email, phone if has_phone else "", country, shopify_id=mark)


@dataclass(frozen=True)
class Item:
    """A product with one variant, and the inventory item and location at which it is counted."""

    title: str
    sku: str
    price: str
    product_id: int = field(default_factory=new_id)
    variant_id: int = field(default_factory=new_id)
    inventory_item_id: int = field(default_factory=new_id)
    location_id: int = field(default_factory=new_id)


@dataclass(frozen=True)
class Purchase:
    """An order as a customer placed it: what, how many, by whom (nobody: a guest without a word about themselves)."""

    name: str
    customer: Customer | None
    lines: Sequence[tuple[Item, int]]
    currency: str = "EUR"
    shopify_id: int = field(default_factory=new_id)
    line_ids: tuple[int, ...] = ()
    created_at: str = field(default_factory=now_text)

    @property
    def total(self) -> str:
        """The sum of the lines, as text with two decimals."""
        return f"{sum(round(float(item.price) * 100) * quantity for item, quantity in self.lines) / 100:.2f}"


def new_purchase(
    name: str, customer: Customer | None, *lines: tuple[Item, int], currency: str = "EUR", created_at: str = ""
) -> Purchase:
    """Place an order; its lines keep their ids over all of its bodies."""
    made = Purchase(name, customer, lines, currency, line_ids=tuple(new_id() for _ in lines))
    return replace(made, created_at=created_at) if created_at else made


# --- bodies ------------------------------------------------------------------------------------------------------


def _gid(kind: str, number: int) -> str:
    return f"gid://shopify/{kind}/{number}"


def _money_set(amount: str, currency: str) -> Body:
    money = {"amount": amount, "currency_code": currency}
    return {"shop_money": money, "presentment_money": dict(money)}


def order_body(
    purchase: Purchase, *, financial_status: str = "pending", updated_at: str = "", cancelled_at: str | None = None
) -> Body:
    """Build orders/create, orders/updated, orders/paid or orders/cancelled of a purchase."""
    customer, currency = purchase.customer, purchase.currency
    body: Body = {
        "id": purchase.shopify_id,
        "admin_graphql_api_id": _gid("Order", purchase.shopify_id),
        "name": purchase.name,
        "created_at": purchase.created_at,
        "processed_at": purchase.created_at,
        "updated_at": updated_at or now_text(),
        "cancelled_at": cancelled_at,
        "cancel_reason": "customer" if cancelled_at else None,
        "closed_at": None,
        "financial_status": financial_status,
        "fulfillment_status": None,
        "email": customer.email if customer else "",
        "contact_email": customer.email if customer else None,
        "phone": (customer.phone or None) if customer else None,
        "customer_locale": "en",
        "currency": currency,
        "presentment_currency": currency,
        "tags": "",
        "note": None,
        "test": False,
        "customer": _buyer(customer),
        "billing_address": None,
        "shipping_address": None,
        "line_items": [_line(purchase, place, cancelled_at is not None) for place in range(len(purchase.lines))],
        "fulfillments": [],
        "refunds": [],
    }
    return body | _totals(purchase)


def fulfilled_body(purchase: Purchase) -> Body:
    """Build orders/fulfilled of a purchase: all of it went in one parcel."""
    body = order_body(purchase)
    sent = [{"id": line["id"], "quantity": line["quantity"]} for line in body["line_items"]]
    for line in body["line_items"]:
        line["fulfillable_quantity"] = 0
    parcel = {"id": new_id(), "order_id": purchase.shopify_id, "status": "success", "line_items": sent}
    parcel |= {"created_at": body["updated_at"], "updated_at": body["updated_at"]}
    return body | {"fulfillment_status": "fulfilled", "fulfillments": [parcel]}


def _totals(purchase: Purchase) -> Body:
    total, currency = purchase.total, purchase.currency
    same = ("subtotal_price", "total_line_items_price", "total_price", "current_total_price")
    return {
        **dict.fromkeys(same, total),
        **dict.fromkeys(("total_discounts", "total_tax"), "0.00"),
        "total_price_set": _money_set(total, currency),
        "total_shipping_price_set": _money_set("0.00", currency),
    }


def _buyer(customer: Customer | None) -> Body | None:
    if customer is None:
        return None
    return {
        "id": customer.shopify_id,
        "email": customer.email,
        "phone": customer.phone or None,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "default_address": None,
    }


def _line(purchase: Purchase, place: int, is_cancelled: bool) -> Body:
    item, quantity = purchase.lines[place]
    return {
        "id": purchase.line_ids[place],
        "admin_graphql_api_id": _gid("LineItem", purchase.line_ids[place]),
        "product_id": item.product_id,
        "variant_id": item.variant_id,
        "title": item.title,
        "name": item.title,
        "variant_title": None,
        "sku": item.sku,
        "quantity": quantity,
        "current_quantity": 0 if is_cancelled else quantity,
        "fulfillable_quantity": 0 if is_cancelled else quantity,
        "price": item.price,
        "price_set": _money_set(item.price, purchase.currency),
        "total_discount": "0.00",
        "requires_shipping": True,
    }


def product_body(item: Item, *, updated_at: str = "") -> Body:
    """Build products/create or products/update."""
    return {
        "id": item.product_id,
        "admin_graphql_api_id": _gid("Product", item.product_id),
        "title": item.title,
        "handle": item.title.lower().replace(" ", "-"),
        "vendor": "Demo",
        "product_type": "Household",
        "status": "active",
        "tags": "demo, sample",
        "updated_at": updated_at or now_text(),
        "variants": [
            {
                "id": item.variant_id,
                "product_id": item.product_id,
                "title": "Default Title",
                "sku": item.sku,
                "barcode": None,
                "price": item.price,
                "position": 1,
                "inventory_policy": "deny",
                "inventory_item_id": item.inventory_item_id,
            }
        ],
        "variant_gids": [{"admin_graphql_api_id": _gid("ProductVariant", item.variant_id)}],
    }


def level_body(item: Item, available: int | None, *, updated_at: str = "") -> Body:
    """Build inventory_levels/update; None is untracked."""
    level = f"{item.location_id}?inventory_item_id={item.inventory_item_id}"
    return {
        "inventory_item_id": item.inventory_item_id,
        "location_id": item.location_id,
        "available": available,
        "updated_at": updated_at or now_text(),
        "admin_graphql_api_id": f"gid://shopify/InventoryLevel/{level}",
    }


def customer_body(customer: Customer, *, updated_at: str = "") -> Body:
    """Build customers/create or customers/update; consent comes apart, as since API version 2022-07."""
    return {
        "id": customer.shopify_id,
        "admin_graphql_api_id": _gid("Customer", customer.shopify_id),
        "created_at": now_text(),
        "updated_at": updated_at or now_text(),
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "email": customer.email,
        "phone": customer.phone or None,
        "state": "disabled",
        "note": None,
        "default_address": {"customer_id": customer.shopify_id, "country_code": customer.country, "phone": None},
    }


def sms_consent_body(customer: Customer, state: str = "subscribed", *, stated_at: str = "") -> Body:
    """Build customers_marketing_consent/update; state: subscribed, unsubscribed, pending, not_subscribed."""
    consent = {
        "state": state,
        "opt_in_level": "single_opt_in",
        "consent_updated_at": stated_at or now_text(),
        "consent_collected_from": "SHOPIFY",
    }
    return {"id": customer.shopify_id, "phone": customer.phone, "sms_marketing_consent": consent}


def email_consent_body(customer: Customer, state: str = "subscribed", *, stated_at: str = "") -> Body:
    """Build customers_email_marketing_consent/update, which calls the customer's id customer_id."""
    consent = {"state": state, "opt_in_level": "single_opt_in", "consent_updated_at": stated_at or now_text()}
    return {
        "customer_id": customer.shopify_id,
        "email_address": customer.email,
        "email_marketing_consent": consent,
    }


def uninstalled_body(shop_domain: str) -> Body:
    """Build app/uninstalled: the shop's resource."""
    return {"id": new_id(), "name": shop_domain.partition(".")[0], "myshopify_domain": shop_domain, "country": "GR"}
