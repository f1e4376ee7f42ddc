"""How a tenant sends: hours, caps, batches; and how much providers are asked at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.keywords import LANGUAGES
from messaging.models.constraints import Worded
from messaging.models.contacts import Channel
from messaging.senders import wrong_with_place
from shopsync.models import TenantModel

LARGEST_BATCH = 5_000
LONGEST_CAP_HOURS = 8_784  # a year


def check_languages(languages: Iterable[str]) -> None:
    """Refuse a language that has no keywords.

    Raises: ValidationError.
    """
    unknown = sorted(set(languages) - set(LANGUAGES))
    if unknown:
        raise ValidationError(f"There are keywords in {', '.join(LANGUAGES)} only, not in {', '.join(unknown)}.")


class SendingPolicy(Worded, TenantModel):
    """What a tenant chose for its campaigns; without a row the defaults hold."""

    batch_size = models.PositiveIntegerField(default=500, db_default=500, help_text="recipients of one provider call")
    cap_messages = models.PositiveIntegerField(
        null=True, blank=True, help_text="an address gets at most so many campaign messages on a channel; empty: no cap"
    )
    cap_hours = models.PositiveIntegerField(default=24, db_default=24, help_text="in any so many hours")
    reply_languages = ArrayField(
        models.CharField(max_length=2),
        default=list,
        db_default=models.Value("{}"),
        blank=True,
        validators=(check_languages,),
        help_text=f"whose keywords are understood beside English: some of {', '.join(LANGUAGES)}",
    )
    stop_answer = models.CharField(
        max_length=480, blank=True, default="", db_default="", help_text="to who opts out; {name}: the shop's"
    )
    help_answer = models.CharField(
        max_length=480, blank=True, default="", db_default="", help_text="to who asks for help; {name}: the shop's"
    )
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        verbose_name_plural = "sending policies"
        constraints = (
            models.UniqueConstraint(fields=("tenant",), name="sendingpolicy_is_one_per_tenant"),
            models.CheckConstraint(
                name="sendingpolicy_batch_is_1_to_5000", condition=Q(batch_size__range=(1, LARGEST_BATCH))
            ),
            models.CheckConstraint(
                name="sendingpolicy_cap_lets_something_through",
                condition=(Q(cap_messages__isnull=True) | Q(cap_messages__range=(1, 100)))
                & Q(cap_hours__range=(1, 8784)),
            ),
            models.CheckConstraint(
                name="sendingpolicy_languages_have_keywords",
                condition=Q(reply_languages__contained_by=list(LANGUAGES)),
            ),
        )

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "sendingpolicy_is_one_per_tenant": (NON_FIELD_ERRORS, "There is a sending policy already: change that one."),
        "sendingpolicy_batch_is_1_to_5000": ("batch_size", f"Give 1 to {LARGEST_BATCH:,} recipients."),
        "sendingpolicy_cap_lets_something_through": ("cap_messages", "Give 1 to 100 messages; empty is no cap."),
        "sendingpolicy_languages_have_keywords": ("reply_languages", "There are no keywords in one of these."),
    }

    def __str__(self) -> str:
        return f"batches of {self.batch_size}"

    def clean(self) -> None:
        """Refuse hours that are none: a constraint of two columns could not say which of them is wrong.

        Raises: ValidationError.
        """
        if self.cap_hours is not None and not 1 <= self.cap_hours <= LONGEST_CAP_HOURS:
            raise ValidationError({"cap_hours": f"Give 1 to {LONGEST_CAP_HOURS:,} hours."})


class QuietHours(Worded, TenantModel):
    """The hours of the day in which campaigns may be sent to a country or state, local time of the recipient.

    The same start and end: at any time. Country and region empty: everywhere that no other row speaks of.
    """

    country = models.CharField(max_length=2, blank=True, default="", help_text="ISO 3166-1")
    region = models.CharField(max_length=10, blank=True, default="", help_text="ISO 3166-2 behind the hyphen, e.g. FL")
    starts_at = models.TimeField(help_text="sending may begin, e.g. 08:00")
    ends_at = models.TimeField(help_text="sending ends, e.g. 21:00")

    class Meta(TenantModel.Meta):
        ordering = ("country", "region")
        verbose_name_plural = "quiet hours"
        constraints = (
            models.UniqueConstraint(fields=("tenant", "country", "region"), name="quiethours_are_one_per_place"),
            models.CheckConstraint(
                name="quiethours_of_a_region_name_its_country", condition=Q(region="") | ~Q(country="")
            ),
        )

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "quiethours_are_one_per_place": ("country", "There are hours of this place already: change those."),
        "quiethours_of_a_region_name_its_country": ("country", "Name the country that the state is in, e.g. US."),
    }

    def __str__(self) -> str:
        return f"{self.country}-{self.region} {self.starts_at}-{self.ends_at}"

    @property
    def spans_midnight(self) -> bool:
        """May be sent at night, from one day into the next?"""
        return self.ends_at < self.starts_at

    def clean(self) -> None:
        """Refuse a place that is none.

        Raises: ValidationError.
        """
        if sentence := wrong_with_place(self.country, self.region):
            raise ValidationError({"region" if "state" in sentence else "country": sentence})


class Frequency(TenantModel):
    """When an address was last written to by campaigns; as many moments as the cap allows."""

    channel = models.CharField(max_length=10, choices=Channel)
    address_key = models.BinaryField(max_length=32)
    moments = ArrayField(models.DateTimeField())

    class Meta(TenantModel.Meta):
        verbose_name_plural = "frequencies"
        constraints = (
            models.UniqueConstraint(fields=("tenant", "channel", "address_key"), name="frequency_is_one_per_address"),
        )

    def __str__(self) -> str:
        return f"{self.channel}: {len(self.moments)}"


class SendLimit(Worded):
    """How many requests a second providers are asked at most; the installation's. Read anew every second.

    level    account: of one provider account · tenant: of one tenant · global: of the installation
    subject  whom it is for: SERVICE:ACCOUNT or a tenant's id; empty: all that have no limit of their own
    """

    class Level(models.TextChoices):
        ACCOUNT = "account"
        TENANT = "tenant"
        GLOBAL = "global"

    level = models.CharField(max_length=7, choices=Level)
    subject = models.CharField(max_length=150, blank=True, default="")
    requests_per_second = models.PositiveIntegerField()
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("level", "subject")
        constraints = (
            models.UniqueConstraint(fields=("level", "subject"), name="sendlimit_is_one_per_subject"),
            models.CheckConstraint(
                name="sendlimit_lets_something_through", condition=Q(requests_per_second__range=(1, 100_000))
            ),
            models.CheckConstraint(name="sendlimit_global_is_of_all", condition=~Q(level="global") | Q(subject="")),
        )

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {
        "sendlimit_is_one_per_subject": ("subject", "It has a limit already: change that one."),
        "sendlimit_lets_something_through": ("requests_per_second", "Give 1 to 100,000 requests a second."),
        "sendlimit_global_is_of_all": ("subject", "The global limit is of the whole installation: leave it empty."),
    }

    def __str__(self) -> str:
        return f"{self.level} {self.subject}: {self.requests_per_second}/s"
