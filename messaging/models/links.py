"""Short links, one for each recipient and address linked to, and the clicks on them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.campaigns import Campaign
from messaging.models.contacts import Channel, Contact
from messaging.models.messages import Message
from shopsync.models import TenantModel


class ShortLink(TenantModel):
    """A link in one message: whoever follows it is the recipient, or whoever they gave it to."""

    code = models.CharField(max_length=16, unique=True, help_text="random; what stands behind /l/")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="links")
    url = models.URLField(max_length=2000)
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=("message", "url"), name="shortlink_is_one_per_message_and_url"),)

    def __str__(self) -> str:
        return self.code


class Click(TenantModel):
    """Somebody followed a short link; `is_bot` when it was a scanner or a preview, by the reason given."""

    link = models.ForeignKey(ShortLink, on_delete=models.CASCADE, related_name="clicks")
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="clicks")
    campaign = models.ForeignKey(
        Campaign, null=True, blank=True, on_delete=models.PROTECT, related_name="clicks", db_index=False
    )
    channel = models.CharField(max_length=10, choices=Channel)
    is_bot = models.BooleanField(default=False)
    bot_reason = models.CharField(max_length=40, blank=True, default="")
    clicked_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(name="click_of_a_bot_has_a_reason", condition=Q(is_bot=False) | ~Q(bot_reason="")),
        )
        indexes = (
            models.Index(fields=("tenant_id", "contact", "clicked_at"), name="click_of_contact"),
            models.Index(fields=("campaign", "link"), name="click_of_campaign", condition=Q(campaign__isnull=False)),
        )

    def __str__(self) -> str:
        return f"{self.link_id} at {self.clicked_at}"
