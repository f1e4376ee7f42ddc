"""How much there is. A trigger writes the movement of every change of a level, in its transaction (0005_states)."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from inventory.models.products import InventoryItem, Location
from shopsync.models import TenantModel

# Shopify's quantities of a level, and our own holds: each has its own ledger. The trigger names the same columns.
STATES = (
    "available",
    "held",
    "on_hand",
    "committed",
    "incoming",
    "reserved",
    "damaged",
    "safety_stock",
    "quality_control",
)


class StockLevel(TenantModel):
    """How many of an item there are at a location. Null is untracked (or not known); negative is true: oversold.

    With stock_authority `shopify` it is a mirror, written by snapshots only; with `shopsync` we move it, and
    `mirrored_available` keeps what Shopify says, to compare.
    """

    item = models.ForeignKey(InventoryItem, on_delete=models.PROTECT, related_name="levels")
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="levels")
    available = models.BigIntegerField(null=True, blank=True)
    held = models.BigIntegerField(default=0, db_default=0, help_text="our own reservations")
    promised = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="the sum of what the lines of reservations hold"
    )
    on_hand = models.BigIntegerField(null=True, blank=True)
    committed = models.BigIntegerField(null=True, blank=True, help_text="sold, not yet sent")
    incoming = models.BigIntegerField(null=True, blank=True)
    reserved = models.BigIntegerField(null=True, blank=True, help_text="set aside in Shopify")
    damaged = models.BigIntegerField(null=True, blank=True)
    safety_stock = models.BigIntegerField(null=True, blank=True)
    quality_control = models.BigIntegerField(null=True, blank=True)
    mirrored_available = models.BigIntegerField(null=True, blank=True, help_text="what Shopify last said")
    mirrored_at = models.DateTimeField(null=True, blank=True, help_text="when that was true")
    movement_count = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    source_version = models.CharField(
        max_length=120, db_collation="C", blank=True, default="", help_text="sorts by age; the newest wins"
    )
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
        return f"level {self.pk}"

    @property
    def sellable(self) -> int | None:
        """What may still be promised here; null: not tracked. Negative is a shortfall."""
        return None if self.available is None else self.available - self.held


class StockMovement(TenantModel):
    """The ledger of a level: written by the database's trigger alone, never changed, never deleted.

    before and after are null where the state was untracked; delta treats null as zero.
    """

    level = models.ForeignKey(StockLevel, on_delete=models.PROTECT, related_name="movements")
    sequence = models.PositiveBigIntegerField()
    state = models.CharField(max_length=20, default="available")
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
            models.CheckConstraint(name="stockmovement_state_is_known", condition=Q(state__in=STATES)),
        )

    def __str__(self) -> str:
        return f"{self.delta:+d} {self.reason}"
