"""People: a contact, the identifiers it is known by, and the ledger of what it agreed to."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from shopsync.models import TenantModel


class Channel(models.TextChoices):
    """A way to reach a person. A new one is a line here, its address on a contact, and its service in
    sending.SERVICES."""

    SMS = "sms"
    EMAIL = "email"
    WHATSAPP = "whatsapp"


class Contact(TenantModel):
    """A person, as the newest version of their profile says."""

    first_name = models.CharField(max_length=200, blank=True, default="")
    last_name = models.CharField(max_length=200, blank=True, default="")
    email = models.CharField(max_length=320, blank=True, default="", help_text="normalised")
    phone = models.CharField(max_length=20, blank=True, default="", help_text="E.164")
    country = models.CharField(max_length=2, blank=True, default="")
    locale = models.CharField(max_length=20, blank=True, default="")
    field_versions = models.JSONField(default=dict, blank=True, help_text="field: the version its value came with")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        indexes = (
            models.Index(
                fields=(
                    "tenant_id",
                    "-id",
                ),
                name="contact_newest",
            ),
        )

    def __str__(self) -> str:
        return f"{self.first_name} {self.last_name}".strip() or self.email or self.phone or f"contact {self.pk}"

    def address_on(self, channel: str) -> str:
        """Return where this contact is reached on a channel; empty when nowhere."""
        return {Channel.SMS: self.phone, Channel.WHATSAPP: self.phone, Channel.EMAIL: self.email}.get(
            Channel(channel), ""
        )


class ContactIdentity(TenantModel):
    """One identifier of a contact; within a tenant it belongs to one contact only."""

    class Kind(models.TextChoices):
        SHOPIFY_CUSTOMER = "shopify_customer"
        EMAIL = "email"
        PHONE = "phone"

    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="identities")
    kind = models.CharField(max_length=20, choices=Kind)
    value = models.CharField(max_length=320)
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        verbose_name_plural = "contact identities"
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "kind",
                    "value",
                ),
                name="contactidentity_belongs_to_one_contact",
            ),
            models.CheckConstraint(name="contactidentity_has_a_value", condition=~Q(value="")),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class ConsentEntry(TenantModel):
    """One statement about consent on one channel; the newest version is the current state. Never changed, only
    followed."""

    class State(models.TextChoices):
        SUBSCRIBED = "subscribed"
        UNSUBSCRIBED = "unsubscribed"
        PENDING = "pending"
        NOT_SUBSCRIBED = "not_subscribed"

    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="consents")
    channel = models.CharField(max_length=10, choices=Channel)
    state = models.CharField(max_length=16, choices=State)
    address = models.CharField(max_length=320, blank=True, default="")
    source = models.CharField(max_length=40)
    opt_in_level = models.CharField(max_length=30, blank=True, default="")
    stated_at = models.DateTimeField(null=True, blank=True)
    source_version = models.CharField(max_length=120, db_collation="C", help_text="sorts by age; the newest wins")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("contact_id", "channel", "-source_version")
        verbose_name_plural = "consent entries"
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "contact",
                    "channel",
                    "source_version",
                ),
                name="consententry_is_written_once_per_version",
            ),
        )

    def __str__(self) -> str:
        return f"{self.channel} {self.state}"
