"""What is sold and counted, and where it lies."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
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
    counted_at = models.DateTimeField(
        null=True, blank=True, help_text="where we count: what left before is not in our count"
    )
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
    """Where stock lies. `shopify_id` and `name` are Shopify's; the rest is the owners', and no webhook writes it."""

    shopify_id = models.BigIntegerField()
    name = models.CharField(max_length=300, blank=True, default="", help_text="Shopify's")
    own_name = models.CharField(
        max_length=300, blank=True, default="", db_default="", help_text="shown while Shopify gives no name"
    )
    country = models.CharField(max_length=2, blank=True, default="", help_text="ISO 3166-1")
    latitude = models.FloatField(null=True, blank=True, help_text="degrees north")
    longitude = models.FloatField(null=True, blank=True, help_text="degrees east")
    priority = models.PositiveSmallIntegerField(
        default=100, db_default=100, help_text="where nearness says nothing, the smaller goes first"
    )
    is_active = models.BooleanField(default=True, db_default=True, help_text="reservations and orders take stock here")
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
            models.CheckConstraint(
                name="location_lies_on_the_globe",
                condition=Q(latitude__isnull=True, longitude__isnull=True)
                | Q(latitude__range=(-90, 90), longitude__range=(-180, 180)),
            ),
        )

    def __str__(self) -> str:
        return self.shown_name or str(self.shopify_id)

    @property
    def shown_name(self) -> str:
        """Shopify's name, or ours where it gives none."""
        return self.name or self.own_name
