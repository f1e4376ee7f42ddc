"""The inbox (WebhookEvent) and what was refused at its door."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from config.infra.work import Queue, WorkRow
from shopsync.models.tenants import Connection, TenantModel


class WebhookEvent(TenantModel, WorkRow):
    """A stored delivery: the inbox. Its raw body is kept until retention forgets it; the digest stays."""

    queue = Queue(
        name="webhooks", drain_task="shopsync.tasks.drain_webhooks", celery_queue="webhooks", on_expiry="repeat"
    )

    source = models.CharField(max_length=20)
    connection = models.ForeignKey(Connection, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    topic = models.CharField(max_length=100)
    sub_topic = models.CharField(max_length=100, blank=True, default="")
    subscription_name = models.CharField(max_length=100, blank=True, default="")
    webhook_id = models.CharField(max_length=120)
    event_id = models.CharField(max_length=120, blank=True, default="")
    api_version = models.CharField(max_length=20, blank=True, default="")
    is_test = models.BooleanField(default=False)
    triggered_at = models.DateTimeField(null=True, blank=True)
    body = models.BinaryField(null=True)
    body_bytes = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, help_text="keyed SHA-256 of the body")
    is_foreign = models.BooleanField(default=False, db_default=False, help_text="the body is another tenant's")
    duplicates = models.PositiveIntegerField(default=0, db_default=0)
    last_duplicate_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta, WorkRow.Meta):
        ordering = ("-id",)
        constraints = (
            *WorkRow.Meta.constraints,
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "source",
                    "connection",
                    "webhook_id",
                ),
                name="webhookevent_is_stored_once_per_webhook_id",
                nulls_distinct=False,
            ),
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "event_id",
                    "topic",
                    "sub_topic",
                    "subscription_name",
                ),
                name="webhookevent_is_worked_once_per_event_id",
                condition=~Q(event_id="") & ~Q(status="quarantined"),
            ),
        )
        indexes = (
            *WorkRow.Meta.indexes,
            models.Index(
                fields=(
                    "digest",
                    "tenant_id",
                ),
                name="webhookevent_digest",
            ),
            models.Index(
                fields=(
                    "tenant_id",
                    "-id",
                ),
                name="webhookevent_newest",
            ),
            models.Index(
                fields=("finished_at",), name="webhookevent_to_forget", condition=Q(status="done", body__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return f"{self.source} {self.topic} {self.webhook_id}"


class RefusedDelivery(models.Model):
    """Deliveries turned away at the door, counted by day, reason and shop; their bodies are not kept.

    `shop_domain` is what the sender claimed: kept only when it is a tenant's, or when the signature was good.
    """

    class Reason(models.TextChoices):
        BAD_SIGNATURE = "bad_signature"
        UNKNOWN_SHOP = "unknown_shop"
        UNKNOWN_TOKEN = "unknown_token"  # noqa: S105  a reason, not a secret
        MISSING_HEADERS = "missing_headers"
        TOO_LARGE = "too_large"

    source = models.CharField(max_length=20)
    reason = models.CharField(max_length=20, choices=Reason)
    shop_domain = models.CharField(max_length=255, blank=True, default="")
    day_date = models.DateField()
    count = models.PositiveBigIntegerField(default=1)
    last_topic = models.CharField(max_length=100, blank=True, default="")
    last_detail = models.CharField(max_length=200, blank=True, default="")
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-last_at", "-id")
        verbose_name_plural = "refused deliveries"
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "source",
                    "reason",
                    "shop_domain",
                    "day_date",
                ),
                name="refuseddelivery_is_counted_once_a_day",
            ),
        )

    def __str__(self) -> str:
        return f"{self.reason} x {self.count}"


class IdempotentRequest(TenantModel):
    """A write that was asked for under an Idempotency-Key, and the answer it got: whoever asks again gets the same."""

    scope = models.CharField(max_length=100, help_text="method and path")
    key = models.CharField(max_length=200)
    request_digest = models.CharField(max_length=64, help_text="SHA-256 of the body")
    status_code = models.PositiveSmallIntegerField(null=True)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "scope",
                    "key",
                ),
                name="idempotentrequest_is_made_once_per_key",
            ),
        )
        indexes = (models.Index(fields=("created_at",), name="idempotentrequest_to_forget"),)

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"
