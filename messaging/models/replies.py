"""What people reply to our messages, and what became of it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.contacts import Contact
from shopsync.models import TenantModel


class InboundMessage(TenantModel):
    """A reply: kept once, of the tenant that it was routed to; an unrouted one is of the tenant where it arrived.

    `review` is open while a person has to look at it: a near miss, or something asked for that is nobody's yet.
    `effect` is what it did, as of `effective_at`: of two replies that contradict each other the later one holds.
    """

    class Kind(models.TextChoices):
        OPTOUT = "optout", "asks for no more messages"
        OPTIN = "optin", "asks for messages again"
        HELP = "help", "asks for help"
        REVIEW = "review", "perhaps asks for no more: a person decides"
        CONVERSATION = "conversation", "says something else"

    class Review(models.TextChoices):
        OPEN = "open"
        DONE = "done"

    class Decision(models.TextChoices):
        OPTOUT = "optout", "opt out"
        OPTIN = "optin", "opt in"
        NOTHING = "nothing", "nothing"

    class RoutedBy(models.TextChoices):
        NUMBER = "number", "the number is one tenant's"
        CONVERSATION = "conversation", "who wrote last from this number"
        OPERATOR = "operator", "by a person"

    came_by = models.BigIntegerField(help_text="id of the connection; another tenant's where a number is shared")
    provider_id = models.CharField(max_length=128, blank=True, default="")
    once_key = models.CharField(max_length=64, help_text="the same reply has the same, however often it is posted")
    address = models.CharField(max_length=64, help_text="who wrote: E.164, or as it came when it is no phone number")
    recipient = models.CharField(max_length=64, blank=True, default="", help_text="the number that was written to")
    text = models.TextField(blank=True, default="")
    kind = models.CharField(max_length=12, choices=Kind)
    keyword = models.CharField(max_length=64, blank=True, default="")
    contact = models.ForeignKey(Contact, null=True, blank=True, on_delete=models.SET_NULL, related_name="replies")
    routed_by = models.CharField(max_length=12, choices=RoutedBy, blank=True, default="", help_text="empty: unrouted")
    review = models.CharField(max_length=4, choices=Review, blank=True, default="")
    decision = models.CharField(max_length=7, choices=Decision, blank=True, default="")
    decided_by = models.CharField(max_length=120, blank=True, default="")
    decided_at = models.DateTimeField(null=True, blank=True)
    effect = models.CharField(max_length=7, blank=True, default="", help_text="optout, optin, help or nothing")
    effective_at = models.DateTimeField(null=True, blank=True)
    acted_at = models.DateTimeField(null=True, blank=True)
    possibly_sent = models.PositiveIntegerField(
        default=0, help_text="messages to this address that were being called, or were sent, after it was received"
    )
    note = models.CharField(max_length=200, blank=True, default="")
    sent_at = models.DateTimeField(null=True, blank=True, help_text="as the provider says it")
    received_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        verbose_name = "reply"
        verbose_name_plural = "replies"
        constraints = (
            models.UniqueConstraint(fields=("came_by", "once_key"), name="reply_is_kept_once"),
            models.CheckConstraint(name="reply_has_a_sender", condition=~Q(address="")),
            models.CheckConstraint(
                name="reply_is_decided_by_somebody", condition=Q(decision="") | (Q(review="done") & ~Q(decided_by=""))
            ),
            models.CheckConstraint(
                name="reply_kind_is_known", condition=Q(kind__in=("optout", "optin", "help", "review", "conversation"))
            ),
            models.CheckConstraint(
                name="reply_acts_as_of_a_moment", condition=Q(effect="") | Q(effective_at__isnull=False)
            ),
        )
        indexes = (
            models.Index(fields=("tenant_id", "-id"), name="reply_newest"),
            models.Index(fields=("address", "effective_at"), name="reply_effects", condition=~Q(effect="")),
            models.Index(fields=("acted_at",), name="reply_opt_outs", condition=Q(effect="optout")),
            models.Index(fields=("tenant_id", "received_at"), name="reply_to_review", condition=Q(review="open")),
        )

    def __str__(self) -> str:
        return f"{self.kind} from {self.address}"
