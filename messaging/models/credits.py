"""Credits: what a tenant has paid ahead for messages, as a double-entry ledger.

Every movement is a transaction of entries that add up to nothing; an account's balance is written by trigger with its
entries. Amounts are in credits, with four decimals; a credit is what the installation sells it for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.constraints import Worded
from messaging.senders import wrong_with_countries
from shopsync.models import TenantModel


class Credits(models.DecimalField):  # type: ignore[type-arg]  # django-stubs' field generics are filled by the base
    """An amount of credits."""

    def __init__(self, **options: object) -> None:
        super().__init__(**{"max_digits": 18, "decimal_places": 4, **options})  # type: ignore[arg-type]


class CreditAccount(TenantModel):
    """One account of a tenant; its balance is the sum of its entries.

    funding    what was put in, with the sign turned: never above zero but by an adjustment
    available  what may be spent
    held       set aside for messages that are on their way
    spent      paid for messages that a provider accepted
    house      paid by the house: messages that were delivered after their hold was given up
    """

    class Kind(models.TextChoices):
        FUNDING = "funding"
        AVAILABLE = "available"
        HELD = "held"
        SPENT = "spent"
        HOUSE = "house"

    kind = models.CharField(max_length=9, choices=Kind)
    balance = Credits(default=0, db_default=0)

    class Meta(TenantModel.Meta):
        ordering = ("tenant_id", "id")
        constraints = (
            models.UniqueConstraint(fields=("tenant", "kind"), name="creditaccount_is_one_of_its_kind"),
            models.CheckConstraint(
                name="creditaccount_kind_is_known",
                condition=Q(kind__in=("funding", "available", "held", "spent", "house")),
            ),
            models.CheckConstraint(
                name="creditaccount_is_not_overdrawn",
                condition=~Q(kind__in=("available", "held", "spent")) | Q(balance__gte=0),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind}: {self.balance}"


class CreditTransaction(TenantModel):
    """One movement of credits; append-only. Its key keeps it from being made twice."""

    class Kind(models.TextChoices):
        TOP_UP = "top_up"
        RESERVE = "reserve"
        SETTLE = "settle"
        RELEASE = "release"
        ADJUST = "adjust"
        HOUSE = "house"

    kind = models.CharField(max_length=8, choices=Kind)
    key = models.CharField(max_length=120, help_text="what it is for; one transaction a key")
    reference = models.CharField(max_length=120, blank=True, default="", help_text="e.g. campaign:12, attempt:7")
    actor = models.CharField(max_length=120)
    note = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=("tenant", "key"), name="credittransaction_is_made_once"),
            models.CheckConstraint(
                name="credittransaction_kind_is_known",
                condition=Q(kind__in=("top_up", "reserve", "settle", "release", "adjust", "house")),
            ),
        )
        indexes = (
            models.Index(fields=("tenant_id", "-id"), name="credittransaction_newest"),
            models.Index(fields=("tenant_id", "reference", "id"), name="credittransaction_reference"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class CreditEntry(TenantModel):
    """What one account gains by a transaction (negative: loses). Append-only; those of a transaction add up to zero."""

    transaction = models.ForeignKey(CreditTransaction, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="entries")
    amount = Credits()
    balance_after = Credits(default=0, db_default=0, help_text="written by trigger")

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        verbose_name_plural = "credit entries"
        constraints = (
            models.UniqueConstraint(fields=("transaction", "account"), name="creditentry_is_one_per_account"),
            models.CheckConstraint(name="creditentry_moves_something", condition=~Q(amount=0)),
        )

    def __str__(self) -> str:
        return f"{self.amount} to {self.account_id}"


class CreditPolicy(Worded, TenantModel):
    """What a tenant may spend: a cap for a day, when to warn, where to."""

    daily_cap = Credits(null=True, blank=True, help_text="credits a day, in the tenant's time zone; empty: no cap")
    low_balance_at = Credits(null=True, blank=True, help_text="an alert is raised at or below it; empty: never")
    countries = models.JSONField(
        default=list, blank=True, help_text="ISO 3166-1 codes that messages may go to; empty: everywhere"
    )
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        verbose_name_plural = "credit policies"
        constraints = (
            models.UniqueConstraint(fields=("tenant",), name="creditpolicy_is_one_per_tenant"),
            models.CheckConstraint(
                name="creditpolicy_is_not_negative",
                condition=(Q(daily_cap__isnull=True) | Q(daily_cap__gte=0))
                & (Q(low_balance_at__isnull=True) | Q(low_balance_at__gte=0)),
            ),
        )

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "creditpolicy_is_one_per_tenant": (NON_FIELD_ERRORS, "There is a credit policy already: change that one."),
        "creditpolicy_is_not_negative": (NON_FIELD_ERRORS, "Give 0 or more."),
    }

    def __str__(self) -> str:
        return f"at most {self.daily_cap} a day" if self.daily_cap is not None else "no cap"

    def clean(self) -> None:
        """Say which amount is below nothing, and which countries there are not.

        Raises: ValidationError by field.
        """
        amounts = {"daily_cap": self.daily_cap, "low_balance_at": self.low_balance_at}
        wrong = {name: "Give 0 or more." for name, amount in amounts.items() if amount is not None and amount < 0}
        if sentence := wrong_with_countries(self.countries):
            wrong["countries"] = sentence
        if wrong:
            raise ValidationError(wrong)


class CreditDay(TenantModel):
    """What a tenant spent on one of its days: settled, and settled alone; what is held counts with the day it is on."""

    day = models.DateField(help_text="in the tenant's time zone")
    settled = Credits(default=0, db_default=0)

    class Meta(TenantModel.Meta):
        ordering = ("-day",)
        constraints = (models.UniqueConstraint(fields=("tenant", "day"), name="creditday_is_one_per_day"),)

    def __str__(self) -> str:
        return f"{self.day}: {self.settled}"
