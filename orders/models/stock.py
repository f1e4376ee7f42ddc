"""What orders take from the stock: which units of a line came from which level, and which came back."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from inventory.models import StockLevel
from orders.models.orders import Commitment, Money, OrderLine, Refund
from shopsync.models import TenantModel


class Allocation(TenantModel):
    """Units of a line taken from one level, where we count: `committed` wait to be sent, `gone` have left.

    Every unit here is a unit that `available` of the level no longer has.
    """

    commitment = models.ForeignKey(Commitment, on_delete=models.CASCADE, related_name="allocations")
    level = models.ForeignKey(StockLevel, on_delete=models.PROTECT, related_name="+")
    committed = models.PositiveBigIntegerField(default=0)
    gone = models.PositiveBigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        ordering = ("commitment_id", "id")
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "commitment",
                    "level",
                ),
                name="allocation_is_one_per_line_and_level",
            ),
        )
        indexes = (models.Index(fields=("level",), name="allocation_level", condition=Q(committed__gt=0)),)

    def __str__(self) -> str:
        return f"{self.committed} committed, {self.gone} gone from level {self.level_id}"


class RefundLine(TenantModel):
    """Units of a line that were refunded, once per refund line; the restock type says where they went.

    cancel: not sent, back to the stock; return: sent, and back; no_restock: not back; legacy_restock: as cancel or
    return, whichever it was (Shopify's orders from before it told them apart).
    """

    class RestockType(models.TextChoices):
        NO_RESTOCK = "no_restock"
        CANCEL = "cancel"
        RETURN = "return"
        LEGACY_RESTOCK = "legacy_restock"

    refund = models.ForeignKey(Refund, on_delete=models.CASCADE, related_name="lines")
    line = models.ForeignKey(OrderLine, null=True, blank=True, on_delete=models.SET_NULL, related_name="refund_lines")
    shopify_id = models.BigIntegerField(null=True, blank=True)
    line_shopify_id = models.BigIntegerField(null=True, blank=True)
    location_shopify_id = models.BigIntegerField(null=True, blank=True)
    quantity = models.PositiveBigIntegerField()
    restock_type = models.CharField(max_length=14, choices=RestockType, default=RestockType.NO_RESTOCK)
    amount = Money()
    tax_amount = Money()

    class Meta(TenantModel.Meta):
        ordering = ("refund_id", "id")
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "shopify_id",
                ),
                name="refundline_has_its_own_shopify_id",
            ),
            models.UniqueConstraint(
                fields=(
                    "refund",
                    "line",
                ),
                condition=Q(shopify_id__isnull=True),
                name="refundline_is_one_per_line_of_ours",
            ),
            models.CheckConstraint(
                name="refundline_restock_type_is_known",
                condition=Q(restock_type__in=("no_restock", "cancel", "return", "legacy_restock")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.quantity} of line {self.line_id}, {self.restock_type}"
