"""Sign-up forms: where strangers ask to be written to."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.contacts import Channel
from shopsync.models import TenantModel
from shopsync.models.tenants import new_token


class SignupForm(TenantModel):
    """A public form under an address of its own; `text_shown` is what people agree to, and is kept with each consent.

    With `double_opt_in` a consent stays `pending` until its link is followed and confirmed.
    """

    name = models.CharField(max_length=100)
    token = models.CharField(max_length=64, unique=True, default=new_token, help_text="the last part of its address")
    channels = ArrayField(models.CharField(max_length=10, choices=Channel), help_text="what it asks consent for")
    text_shown = models.TextField(help_text="what people agree to, word by word")
    double_opt_in = models.BooleanField(default=True, help_text="a link has to be followed and confirmed")
    confirmation_text = models.CharField(
        max_length=300, blank=True, default="", help_text="stands before the link; empty: a sentence of ours"
    )
    thanks_text = models.CharField(max_length=500, blank=True, default="", help_text="empty: a sentence of ours")
    redirect_url = models.URLField(max_length=500, blank=True, default="", help_text="where to go on to afterwards")
    allowed_origins = ArrayField(
        models.CharField(max_length=200),
        default=list,
        blank=True,
        help_text="sites that may send it, e.g. https://shop.example.com; empty: its own page alone",
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=("tenant", "name"), name="signupform_has_its_own_name"),
            models.CheckConstraint(
                name="signupform_asks_for_known_channels",
                condition=Q(channels__len__gt=0, channels__contained_by=["sms", "email", "whatsapp"]),
            ),
            models.CheckConstraint(name="signupform_says_what_is_agreed_to", condition=~Q(text_shown="")),
        )

    def __str__(self) -> str:
        return self.name
