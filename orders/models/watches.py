"""How long a tenant's orders may wait for their money, or to be sent, before somebody is told."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from shopsync.models import TenantModel

MOST_HOURS = 8760  # a year


class OrderWatch(TenantModel):
    """Orders that wait longer than `hours` raise one alert of this kind. Without a row nobody looks."""

    class Kind(models.TextChoices):
        UNPAID = "unpaid", "not paid, hours after it was placed"
        UNFULFILLED = "unfulfilled", "not sent in full, hours after it was paid (or placed, while it is not paid)"

    kind = models.CharField(max_length=11, choices=Kind)
    hours = models.PositiveIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MOST_HOURS)], help_text="1 to 8760"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        verbose_name_plural = "order watches"
        constraints = (
            models.UniqueConstraint(fields=("tenant", "kind"), name="orderwatch_is_one_per_kind"),
            models.CheckConstraint(name="orderwatch_kind_is_known", condition=Q(kind__in=("unpaid", "unfulfilled"))),
            models.CheckConstraint(
                name="orderwatch_waits_an_hour_to_a_year", condition=Q(hours__gte=1, hours__lte=MOST_HOURS)
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} for {self.hours} hours"
