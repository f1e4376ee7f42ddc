"""Automations: when something happens, send something."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from messaging.models.contacts import Channel
from shopsync.models import TenantModel


class Automation(TenantModel):
    """A rule of the merchant's: on this audit event, send the newest version's message."""

    name = models.CharField(max_length=100)
    trigger_event = models.CharField(max_length=80, help_text="an audit event, e.g. order.paid")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "name",
                ),
                name="automation_has_its_own_name",
            ),
        )

    def __str__(self) -> str:
        return self.name


class AutomationVersion(TenantModel):
    """One published text of an automation; a change is a new version, so that a message keeps the text it was sent
    with."""

    automation = models.ForeignKey(Automation, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    channel = models.CharField(max_length=10, choices=Channel, default=Channel.SMS)
    template = models.TextField(help_text="Liquid: contact.first_name, order.name, order.total, tenant.name")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("automation_id", "-number")
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "automation",
                    "number",
                ),
                name="automationversion_has_its_own_number",
            ),
        )

    def __str__(self) -> str:
        return f"{self.automation_id} v{self.number}"
