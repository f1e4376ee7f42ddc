"""People: a contact, the identifiers it is known by, and the ledger of what it agreed to."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
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
    """A person, as the newest version of their profile says.

    `attributes` are the merchant's own, by name: texts, numbers, true or false. `lifecycle` only goes forward.
    """

    class Lifecycle(models.TextChoices):
        LEAD = "lead"
        SUBSCRIBER = "subscriber"
        CUSTOMER = "customer"

    first_name = models.CharField(max_length=200, blank=True, default="")
    last_name = models.CharField(max_length=200, blank=True, default="")
    email = models.CharField(max_length=320, blank=True, default="", help_text="normalised")
    phone = models.CharField(max_length=20, blank=True, default="", help_text="E.164")
    country = models.CharField(max_length=2, blank=True, default="")
    region = models.CharField(
        max_length=10, blank=True, default="", help_text="ISO 3166-2 behind the hyphen, e.g. CA for US-CA"
    )
    locale = models.CharField(max_length=20, blank=True, default="")
    timezone = models.CharField(max_length=64, blank=True, default="", help_text="IANA name; empty when not known")
    lifecycle = models.CharField(
        max_length=10, choices=Lifecycle, default=Lifecycle.LEAD, db_default=Lifecycle.LEAD.value
    )
    attributes = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    tags = ArrayField(models.CharField(max_length=64), default=list, db_default=models.Value("{}"), blank=True)
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
            GinIndex(fields=("tags",), name="contact_tags"),
        )
        constraints = (
            models.CheckConstraint(
                name="contact_lifecycle_is_known", condition=Q(lifecycle__in=("lead", "subscriber", "customer"))
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
        WHATSAPP = "whatsapp"
        EXTERNAL = "external"

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
    source = models.CharField(max_length=40, help_text="e.g. shopify, form:3, import:7, reply, unsubscribe_link")
    opt_in_level = models.CharField(
        max_length=30,
        blank=True,
        default="",
        help_text="single_opt_in, confirmed_opt_in or unknown, as Shopify says it",
    )
    text_shown = models.TextField(blank=True, default="", help_text="what the person agreed to, word by word")
    proof = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        help_text="where from: page, file, line",
    )
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


class ConsentState(TenantModel):
    """The newest statement of a contact on a channel, written by trigger with the ledger: what a segment asks.

    It lapses when the contact's own address is changed away from the one it names, or taken away.
    """

    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="consent_states")
    channel = models.CharField(max_length=10, choices=Channel)
    state = models.CharField(max_length=16, choices=ConsentEntry.State)
    address = models.CharField(max_length=320, blank=True, default="")
    source_version = models.CharField(max_length=120, db_collation="C")
    entry = models.ForeignKey(ConsentEntry, on_delete=models.CASCADE, related_name="+")
    lapsed_at = models.DateTimeField(
        null=True, blank=True, help_text="since when the contact has another address than the one it names"
    )

    class Meta(TenantModel.Meta):
        ordering = ("contact_id", "channel")
        constraints = (models.UniqueConstraint(fields=("contact", "channel"), name="consentstate_is_one_per_channel"),)

    def __str__(self) -> str:
        return f"{self.channel} {self.state}"

    def covers(self, address: str) -> bool:
        """Say whether the statement is about this address, and has not lapsed."""
        return self.lapsed_at is None and self.address in {"", address}


class Suppression(TenantModel):
    """An address that is not written to on a channel, whoever it belongs to.

    Its key is a keyed digest of channel and address: erasing a person empties `address`, and the key still knows it.
    """

    class Reason(models.TextChoices):
        STOP = "stop", "replied STOP"
        UNSUBSCRIBED = "unsubscribed", "unsubscribed by link"
        BOUNCE = "bounce", "its mail bounced for good"
        COMPLAINT = "complaint", "reported as spam"
        MANUAL = "manual", "by a person here"
        IMPORT = "import", "by an import"

    channel = models.CharField(max_length=10, choices=Channel)
    address = models.CharField(max_length=320, blank=True, default="", help_text="empty once the person was erased")
    address_key = models.BinaryField(max_length=32)
    reason = models.CharField(max_length=12, choices=Reason)
    source = models.CharField(max_length=120, blank=True, default="", help_text="what said so, e.g. inbound:12")
    actor = models.CharField(max_length=120, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=120, blank=True, default="")
    lifted_why = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "channel", "address_key"),
                name="suppression_is_one_per_address",
                condition=Q(lifted_at__isnull=True),
            ),
        )
        indexes = (models.Index(fields=("tenant_id", "-id"), name="suppression_newest"),)

    def __str__(self) -> str:
        return f"{self.channel} {self.address or 'of somebody erased'}"
