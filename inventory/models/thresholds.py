"""What the look at the stock remembers: thresholds and whether each is low, and variants that can't be sold."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from inventory.models.products import Location, Variant
from shopsync.models import TenantModel


class StockThreshold(TenantModel):
    """When a variant is low: at `low_at` units or fewer that can be promised, until there are `recovered_at` again.

    Between the two nothing changes, so a count that wanders opens no second alert. Without a location it is the sum
    over the active ones.
    """

    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="thresholds")
    location = models.ForeignKey(
        Location,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="thresholds",
        help_text="empty: the sum over the active locations",
    )
    low_at = models.PositiveBigIntegerField(help_text="low at this many units or fewer")
    recovered_at = models.PositiveBigIntegerField(help_text="low until there are this many again; more than low_at")
    is_low = models.BooleanField(default=False, db_default=False, editable=False)
    changed_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="when it became low, or not")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "variant",
                    "location",
                ),
                name="stockthreshold_is_one_per_variant_and_location",
                nulls_distinct=False,
                violation_error_message="There is a threshold of this variant and location already: change that one.",
            ),
            models.CheckConstraint(
                name="stockthreshold_recovers_above_low",
                condition=Q(low_at__gte=0, recovered_at__gt=F("low_at")),
                violation_error_message="It recovers at more units than it is low at.",
            ),
            models.CheckConstraint(
                name="stockthreshold_that_is_low_became_so", condition=Q(is_low=False) | Q(changed_at__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return f"{self.low_at} of {self.variant_id}"


class StockOut(TenantModel):
    """A variant of which nothing can be promised anywhere, since when; the row goes when that is over.

    `sellable_since` is when a look first found something of it again: it counts as back once a later look does too.
    """

    variant = models.OneToOneField(Variant, on_delete=models.CASCADE, related_name="stock_out")
    since = models.DateTimeField()
    sellable_since = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.variant_id} since {self.since}"
