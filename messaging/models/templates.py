"""Templates: what is written, as Liquid; a change is a new version, so that what was launched keeps its text."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.contacts import Channel
from shopsync.models import TenantModel


class Template(TenantModel):
    """A text under a name, for one channel."""

    name = models.CharField(max_length=100)
    channel = models.CharField(max_length=10, choices=Channel)
    archived_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("tenant", "name"), name="template_has_its_own_name"),)

    def __str__(self) -> str:
        return self.name


class TemplateVersion(TenantModel):
    """One version of a template; append-only.

    body      Liquid: the text of an SMS, the HTML of an e-mail
    text      Liquid: an e-mail's text alternative; empty: it is made from the HTML
    defaults  what stands for a value that a recipient has not, by name, e.g. {"contact.first_name": "there"}
    """

    template = models.ForeignKey(Template, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    subject = models.CharField(max_length=300, blank=True, default="", help_text="Liquid; of e-mails")
    body = models.TextField(help_text="Liquid: an SMS's text, an e-mail's HTML")
    text = models.TextField(blank=True, default="", help_text="Liquid; an e-mail's text; empty: made from the HTML")
    defaults = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    encodes_smartly = models.BooleanField(
        default=True, help_text="SMS: write what looks alike in GSM-7, if it then fits"
    )
    shortens_links = models.BooleanField(default=True, help_text="links become short ones, whose clicks are counted")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("template_id", "-number")
        constraints = (
            models.UniqueConstraint(fields=("template", "number"), name="templateversion_has_its_own_number"),
            models.CheckConstraint(name="templateversion_says_something", condition=~Q(body="")),
        )

    def __str__(self) -> str:
        return f"{self.template_id} v{self.number}"
