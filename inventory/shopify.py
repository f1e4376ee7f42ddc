"""Shopify's products and levels (pure): bodies in, frozen snapshots out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec

from shopsync.shopify import MOST_UNITS, Delivery, as_utc, parse, version_of

_ID = re.compile("[0-9]{1,18}")


class _Variant(msgspec.Struct):
    id: int | None = None
    title: str | None = None
    sku: str | None = None
    barcode: str | None = None
    price: Decimal | None = None
    position: Annotated[int, msgspec.Meta(le=2**31 - 1)] | None = None
    inventory_policy: str | None = None
    inventory_item_id: int | None = None


class _Gid(msgspec.Struct):
    admin_graphql_api_id: str | None = None


class _Product(msgspec.Struct):
    id: int
    title: str | None = None
    handle: str | None = None
    vendor: str | None = None
    product_type: str | None = None
    status: str | None = None
    tags: str | list[str] | None = None
    updated_at: datetime | None = None
    variants: list[_Variant] | None = None
    variant_gids: list[_Gid] | None = None


class _Level(msgspec.Struct):
    inventory_item_id: int
    location_id: int
    available: Annotated[int, msgspec.Meta(ge=-MOST_UNITS, le=MOST_UNITS)] | None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VariantSnapshot:
    """One variant; `policy` is deny or continue, price in the shop's currency."""

    shopify_id: int
    item_shopify_id: int | None
    title: str
    sku: str
    barcode: str
    price_amount: Decimal
    position: int
    policy: str


@dataclass(frozen=True, slots=True)
class ProductSnapshot:
    """One version of a product. `all_variant_ids` names every variant, those past the first 100 included."""

    shopify_id: int
    title: str
    handle: str
    vendor: str
    product_type: str
    status: str
    tags: tuple[str, ...]
    version: str
    variants: tuple[VariantSnapshot, ...]
    all_variant_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class LevelSnapshot:
    """One version of a level; available is null when untracked, and may be negative. `taken_at` is when it was true."""

    item_shopify_id: int
    location_shopify_id: int
    available: int | None
    version: str
    taken_at: datetime
    states: dict[str, int] = field(default_factory=dict)  # further states of Shopify's, by column, where it told them


def split_tags(tags: str | list[str] | None) -> tuple[str, ...]:
    """Read tags, which Shopify sends as one string with commas (or a list in some topics)."""
    parts = tags.split(",") if isinstance(tags, str) else tags or []
    return tuple(part.strip() for part in parts if part.strip())


def parse_product(delivery: Delivery) -> ProductSnapshot:
    """Read products/create and products/update.

    Raises: UnreadablePayloadError.
    """
    product = parse(delivery.body, _Product)
    variants = tuple(_variant(variant, variant.id) for variant in product.variants or [] if variant.id is not None)
    tails = ((gid.admin_graphql_api_id or "").rpartition("/")[2] for gid in product.variant_gids or [])
    listed = {int(tail) for tail in tails if _ID.fullmatch(tail)}
    return ProductSnapshot(
        shopify_id=product.id,
        title=(product.title or "")[:500],
        handle=(product.handle or "")[:300],
        vendor=(product.vendor or "")[:300],
        product_type=(product.product_type or "")[:300],
        status=(product.status or "")[:20],
        tags=split_tags(product.tags),
        version=version_of(delivery, product.updated_at),
        variants=variants,
        all_variant_ids=frozenset(listed | {variant.shopify_id for variant in variants}),
    )


def _variant(variant: _Variant, shopify_id: int) -> VariantSnapshot:
    return VariantSnapshot(
        shopify_id=shopify_id,
        item_shopify_id=variant.inventory_item_id,
        title=(variant.title or "")[:500],
        sku=(variant.sku or "")[:300],
        barcode=(variant.barcode or "")[:300],
        price_amount=variant.price or Decimal(0),
        position=max(variant.position or 1, 0),
        policy="continue" if variant.inventory_policy == "continue" else "deny",
    )


def parse_level(delivery: Delivery) -> LevelSnapshot:
    """Read inventory_levels/update.

    Raises: UnreadablePayloadError, also for a body without `available`, which null would mean untracked.
    """
    level = parse(delivery.body, _Level)
    return LevelSnapshot(
        item_shopify_id=level.inventory_item_id,
        location_shopify_id=level.location_id,
        available=level.available,
        version=version_of(delivery, level.updated_at),
        taken_at=as_utc(level.updated_at or delivery.triggered_at or delivery.received_at),
    )
