"""Products and stock. A trigger writes the movement of every change of a level, in its transaction (0003_ledger)."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from shopsync.models import TenantModel


class Product(TenantModel):
    """A product as Shopify's newest version of it says."""

    shopify_id = models.BigIntegerField()
    title = models.CharField(max_length=500, blank=True, default="")
    handle = models.CharField(max_length=300, blank=True, default="")
    vendor = models.CharField(max_length=300, blank=True, default="")
    product_type = models.CharField(max_length=300, blank=True, default="")
    status = models.CharField(max_length=20, blank=True, default="")
    tags = models.JSONField(default=list, blank=True)
    source_version = models.CharField(max_length=120, db_collation="C", help_text="sorts by age; the newest wins")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "shopify_id",
                ),
                name="product_has_its_own_shopify_id",
            ),
        )

    def __str__(self) -> str:
        return self.title or str(self.shopify_id)


class InventoryItem(TenantModel):
    """What is counted: one per variant in Shopify; known from whichever delivery names it first."""

    shopify_id = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "shopify_id",
                ),
                name="inventoryitem_has_its_own_shopify_id",
            ),
        )

    def __str__(self) -> str:
        return str(self.shopify_id)


class Variant(TenantModel):
    """What is sold. `removed_at` is set when Shopify no longer lists it; orders still name it."""

    class Policy(models.TextChoices):
        DENY = "deny"
        CONTINUE = "continue"

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="variants")
    item = models.ForeignKey(InventoryItem, null=True, blank=True, on_delete=models.PROTECT, related_name="variants")
    shopify_id = models.BigIntegerField()
    title = models.CharField(max_length=500, blank=True, default="")
    sku = models.CharField(max_length=300, blank=True, default="")
    barcode = models.CharField(max_length=300, blank=True, default="")
    price_amount = models.DecimalField(max_digits=20, decimal_places=4, default=0, help_text="in the tenant's currency")
    position = models.PositiveIntegerField(default=1)
    policy = models.CharField(max_length=8, choices=Policy, default=Policy.DENY)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ("product_id", "position", "id")
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "shopify_id",
                ),
                name="variant_has_its_own_shopify_id",
            ),
            models.CheckConstraint(name="variant_policy_is_known", condition=Q(policy__in=("deny", "continue"))),
        )
        indexes = (
            models.Index(
                fields=(
                    "tenant_id",
                    "sku",
                ),
                name="variant_sku",
                condition=~Q(sku=""),
            ),
        )

    def __str__(self) -> str:
        return self.sku or self.title or str(self.shopify_id)


class Location(TenantModel):
    """Where stock lies."""

    shopify_id = models.BigIntegerField()
    name = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "shopify_id",
                ),
                name="location_has_its_own_shopify_id",
            ),
        )

    def __str__(self) -> str:
        return self.name or str(self.shopify_id)


class StockLevel(TenantModel):
    """How many of an item there are at a location. Null is untracked; negative is true: Shopify oversold.

    With stock_authority `shopify` it is a mirror, written by snapshots only.
    """

    item = models.ForeignKey(InventoryItem, on_delete=models.PROTECT, related_name="levels")
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="levels")
    available = models.BigIntegerField(null=True, blank=True)
    held = models.BigIntegerField(default=0, db_default=0, help_text="our own reservations")
    movement_count = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    source_version = models.CharField(max_length=120, db_collation="C", help_text="sorts by age; the newest wins")
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "item",
                    "location",
                ),
                name="stocklevel_is_one_per_item_and_location",
            ),
            models.CheckConstraint(name="stocklevel_held_is_not_negative", condition=Q(held__gte=0)),
        )

    def __str__(self) -> str:
        return f"{self.available} of {self.item_id} at {self.location_id}"


class StockMovement(TenantModel):
    """The ledger of a level: written by the database's trigger alone, never changed, never deleted.

    before and after are null where the level was untracked; delta treats null as zero.
    """

    level = models.ForeignKey(StockLevel, on_delete=models.PROTECT, related_name="movements")
    sequence = models.PositiveBigIntegerField()
    state = models.CharField(max_length=12, default="available")
    delta = models.BigIntegerField()
    before = models.BigIntegerField(null=True, blank=True)
    after = models.BigIntegerField(null=True, blank=True)
    reason = models.CharField(max_length=40)
    reference = models.CharField(max_length=160, blank=True, default="")
    actor = models.CharField(max_length=120, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "level",
                    "sequence",
                ),
                name="stockmovement_has_its_place_in_the_ledger",
            ),
            models.CheckConstraint(
                name="stockmovement_adds_up",
                condition=Q(delta=models.functions.Coalesce(F("after"), 0) - models.functions.Coalesce(F("before"), 0)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.delta:+d} {self.reason}"
