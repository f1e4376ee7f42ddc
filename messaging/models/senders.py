"""Who a message is from, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.constraints import Worded
from messaging.models.contacts import Channel
from messaging.models.credits import Credits
from messaging.senders import SERVICES, wrong_with_place, wrong_with_sender, wrong_with_site
from shopsync.models import Connection, TenantModel

# A batch is 5,000 messages of 24 parts at most: what it costs stays far below what one transaction of credits may move.
LARGEST_PRICE = 10_000


class Sender(Worded, TenantModel):
    """A number, a name or an address that messages are sent from, as the provider has registered it."""

    channel = models.CharField(max_length=10, choices=Channel)
    value = models.CharField(
        max_length=320, help_text="a number (E.164), a name of up to 11 characters, an e-mail address"
    )
    country = models.CharField(max_length=2, blank=True, default="", help_text="where it may be used; empty: anywhere")
    is_two_way = models.BooleanField(default=False, help_text="replies to it reach us")
    connection = models.ForeignKey(
        Connection,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="empty: the channel's own",
    )
    short_link_domain = models.CharField(
        max_length=100, blank=True, default="", help_text="e.g. https://go.example.com; empty: this installation's"
    )
    recipients_per_second = models.PositiveIntegerField(null=True, blank=True, help_text="empty: no limit of its own")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("channel", "value", "id")
        constraints = (
            models.UniqueConstraint(fields=("tenant", "channel", "value", "country"), name="sender_is_registered_once"),
            models.CheckConstraint(name="sender_has_a_value", condition=~Q(value="")),
            models.CheckConstraint(
                name="sender_limit_lets_something_through",
                condition=Q(recipients_per_second__isnull=True) | Q(recipients_per_second__gte=1),
            ),
        )

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "sender_is_registered_once": (
            "value", "It is registered already, for the same channel and country: change that sender instead."
        ),
        "sender_has_a_value": ("value", "Give a number, a name or an e-mail address."),
        "sender_limit_lets_something_through": ("recipients_per_second", "Give 1 or more; empty is no limit."),
    }  # fmt: skip

    def __str__(self) -> str:
        return self.value

    def clean(self) -> None:
        """Refuse what nothing can be sent from.

        Raises: ValidationError by field.
        """
        known = Sender.objects.filter(pk=self.pk).values_list("channel", flat=True).first() if self.pk else None
        if known not in {None, self.channel}:  # campaigns of the other channel are from it
            raise ValidationError({"channel": f"A sender stays of its channel, {known}: make another one."})
        wrong = {
            "value": wrong_with_sender(self.channel, self.value),
            "country": wrong_with_place(self.country),
            "short_link_domain": wrong_with_site(self.short_link_domain) if self.short_link_domain else "",
        }
        if self.connection is not None and self.connection.service != SERVICES.get(self.channel):
            wrong["connection"] = (
                f"A connection of the service {self.connection.service} does not carry {self.channel}."
            )
        if any(wrong.values()):
            raise ValidationError({field: sentence for field, sentence in wrong.items() if sentence})


class Price(Worded):
    """What a part (of an SMS) or a message (on other channels) costs, by country; the installation's, for all tenants.

    Without any price on a channel its messages are not charged. With some, a country that has none and no price of
    everywhere (country empty) is not written to.
    """

    channel = models.CharField(max_length=10, choices=Channel)
    country = models.CharField(max_length=2, blank=True, default="", help_text="ISO 3166-1; empty: everywhere else")
    amount = Credits(
        validators=(MinValueValidator(0), MaxValueValidator(LARGEST_PRICE)),
        help_text=f"credits for one part; {LARGEST_PRICE:,} at most",
    )
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("channel", "country")
        constraints = (
            models.UniqueConstraint(fields=("channel", "country"), name="price_is_one_per_country"),
            models.CheckConstraint(name="price_is_not_negative", condition=Q(amount__gte=0)),
            models.CheckConstraint(name="price_fits_into_a_batch", condition=Q(amount__lte=LARGEST_PRICE)),
        )

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "price_is_one_per_country": (
            "country", "It has a price on this channel already: change that one. Empty is everywhere else."
        ),
        "price_is_not_negative": ("amount", "Give 0 or more."),
        "price_fits_into_a_batch": ("amount", f"Give {LARGEST_PRICE:,} at most."),
    }  # fmt: skip

    def __str__(self) -> str:
        return f"{self.channel} {self.country or 'elsewhere'}: {self.amount}"

    def clean(self) -> None:
        """Refuse a country that is none.

        Raises: ValidationError.
        """
        if sentence := wrong_with_place(self.country):
            raise ValidationError({"country": sentence})
