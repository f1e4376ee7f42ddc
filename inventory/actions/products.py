"""Products and their variants, as Shopify's newest version of each says."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from audit.actions import record
from config.infra import tenancy
from inventory.actions.authority import authority_of
from inventory.models import InventoryItem, Product, Variant
from inventory.shopify import ProductSnapshot, VariantSnapshot, parse_product
from shopsync.models import Tenant
from shopsync.shopify import Delivery


@transaction.atomic(savepoint=False)
def sync_product(*, delivery: Delivery) -> None:
    """Take a version of a product and its variants; an older version than the stored one changes nothing.

    Raises: UnreadablePayloadError.
    """
    snapshot = parse_product(delivery)
    product, is_new = _lock_product(snapshot)
    if not is_new and snapshot.version <= product.source_version:
        return  # stale or repeated: the newest version is already here
    for field in ("title", "handle", "vendor", "product_type", "status"):
        setattr(product, field, getattr(snapshot, field))
    product.tags = list(snapshot.tags)
    product.source_version = snapshot.version
    product.updated_at = timezone.now()
    product.save()
    _write_variants(product, snapshot)
    event = "product.created" if is_new else "product.updated"
    record(name=event, subject=f"product:{product.pk}", actor="shopify", data={"shopify_id": product.shopify_id})


def _lock_product(snapshot: ProductSnapshot) -> tuple[Product, bool]:
    created = Product.objects.bulk_create(
        [Product(tenant_id=tenancy.current_tenant_id(), shopify_id=snapshot.shopify_id, source_version="")],
        ignore_conflicts=True,
    )
    del created  # with ignore_conflicts it does not say whether the row is new
    product = Product.objects.select_for_update().get(shopify_id=snapshot.shopify_id)
    return product, product.source_version == ""


_SELLS_AS = ("shopify_id", "item_id", "policy")  # what decides whether an order's line finds its units


def _write_variants(product: Product, snapshot: ProductSnapshot) -> None:
    items = ensure_items({v.item_shopify_id for v in snapshot.variants if v.item_shopify_id is not None})
    unique = {variant.shopify_id: variant for variant in snapshot.variants}.values()
    rows = [_variant_row(product, variant, items) for variant in unique]
    known = set(Variant.objects.filter(shopify_id__in=[v.shopify_id for v in unique]).values_list(*_SELLS_AS))
    fields = ["product", "item", "title", "sku", "barcode", "price_amount", "position", "policy", "removed_at"]
    Variant.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["tenant", "shopify_id"], update_fields=fields
    )
    if authority_of(product.tenant_id) == Tenant.StockAuthority.SHOPSYNC:
        ask_for_adoption(v.item_id for v in rows if v.item_id and (v.shopify_id, v.item_id, v.policy) not in known)
    gone = Variant.objects.filter(product=product, removed_at__isnull=True)
    gone.exclude(shopify_id__in=snapshot.all_variant_ids).update(removed_at=timezone.now())


def _variant_row(product: Product, variant: VariantSnapshot, items: dict[int, InventoryItem]) -> Variant:
    return Variant(
        tenant_id=product.tenant_id,
        product=product,
        item=items.get(variant.item_shopify_id) if variant.item_shopify_id is not None else None,
        shopify_id=variant.shopify_id,
        title=variant.title,
        sku=variant.sku,
        barcode=variant.barcode,
        price_amount=variant.price_amount,
        position=variant.position,
        policy=variant.policy,
    )


# Something is counted from now on: the orders that named it before are to be set against the count.
ADOPTION_ASKED = "stock.adoption_asked"


def ask_for_adoption(item_ids: Iterable[int]) -> None:
    """Let the orders that sold these items before we could count them be set against the count, in their turn."""
    items = [str(item_id) for item_id in sorted(set(item_ids))]
    if items:
        record(name=ADOPTION_ASKED, subject=f"item:{items[0]}", actor="system", data={"after": 0, "items": items})


def ensure_items(shopify_ids: set[int]) -> dict[int, InventoryItem]:
    """Return the items of these Shopify ids, making those that are new."""
    tenant_id = tenancy.current_tenant_id()
    rows = [InventoryItem(tenant_id=tenant_id, shopify_id=shopify_id) for shopify_id in sorted(shopify_ids)]
    InventoryItem.objects.bulk_create(rows, ignore_conflicts=True)
    return {item.shopify_id: item for item in InventoryItem.objects.filter(shopify_id__in=shopify_ids)}
