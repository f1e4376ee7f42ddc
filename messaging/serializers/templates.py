"""What the API shows of templates, and takes to write, archive and preview them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from messaging.actions.templates import MAX_DEFAULT, Draft
from messaging.models import TemplateVersion
from messaging.models.contacts import Channel
from messaging.rendering import MAX_HTML_TEMPLATE, MAX_TEMPLATE
from shopsync.serializers import IdField, Input

_BODY = "Liquid: the text of an SMS, the HTML of an e-mail"
_TEXT = "Liquid: an e-mail's text; empty: it is made from the HTML"
_DEFAULTS = 'what stands for a value that a recipient has not, by name, e.g. {"contact.first_name": "there"}'


class VersionRow(serializers.Serializer[Any]):
    """One version of a template; it never changes."""

    id = serializers.IntegerField(read_only=True)
    number = serializers.IntegerField(read_only=True)
    subject = serializers.CharField(read_only=True)
    body = serializers.CharField(read_only=True, help_text=_BODY)
    text = serializers.CharField(read_only=True, help_text=_TEXT)
    defaults = serializers.DictField(read_only=True, child=serializers.CharField(), help_text=_DEFAULTS)
    encodes_smartly = serializers.BooleanField(read_only=True)
    shortens_links = serializers.BooleanField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)


class TemplateRow(serializers.Serializer[Any]):
    """A text under a name, for one channel."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    channel = serializers.CharField(read_only=True)
    archived_at = serializers.DateTimeField(read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)


class TemplateDetail(TemplateRow):
    """A template with its versions, newest first."""

    versions = VersionRow(many=True, read_only=True)


class DraftInput(Input):
    """The next version of a template."""

    subject = serializers.CharField(max_length=300, required=False, default="", allow_blank=True, help_text="Liquid")
    body = serializers.CharField(max_length=MAX_HTML_TEMPLATE, trim_whitespace=False, help_text=_BODY)
    text = serializers.CharField(
        max_length=MAX_TEMPLATE, required=False, default="", allow_blank=True, trim_whitespace=False, help_text=_TEXT
    )
    defaults = serializers.DictField(
        child=serializers.CharField(max_length=MAX_DEFAULT), required=False, default=dict, help_text=_DEFAULTS
    )
    encodes_smartly = serializers.BooleanField(
        default=True, help_text="SMS: write what looks alike in GSM-7, if it then fits"
    )
    shortens_links = serializers.BooleanField(default=True, help_text="links become short ones, and clicks are counted")


class TemplateInput(DraftInput):
    """A template to make, with its first version."""

    name = serializers.CharField(max_length=100)
    channel = serializers.ChoiceField(choices=Channel.choices)


class DraftChange(DraftInput):
    """What the next version has otherwise than the newest one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "partial": True})


class TemplatePreviewInput(Input):
    """For whom, and of which version (the newest, where it is left out)."""

    contact_id = IdField()
    version = serializers.IntegerField(min_value=1, max_value=2**31 - 1, required=False)


class ChangeRow(serializers.Serializer[Any]):
    """A character that smart encoding writes otherwise."""

    was = serializers.CharField(read_only=True)
    now = serializers.CharField(read_only=True)
    count = serializers.IntegerField(read_only=True)


class PreviewRow(serializers.Serializer[Any]):
    """What the contact would get; where a value is missing, `[its name]` stands in its place."""

    channel = serializers.CharField(read_only=True)
    subject = serializers.CharField(read_only=True)
    text = serializers.CharField(read_only=True)
    html = serializers.CharField(read_only=True)
    missing = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="values that the contact has not: it would be skipped"
    )
    encoding = serializers.CharField(read_only=True, help_text="of an SMS: GSM-7 or UCS-2")
    units = serializers.IntegerField(read_only=True, help_text="of an SMS: septets or UTF-16 code units")
    parts = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="what an SMS is charged as")
    changes = ChangeRow(many=True, read_only=True, help_text="what smart encoding wrote otherwise")
    warnings = serializers.ListField(child=serializers.CharField(), read_only=True)
    unsubscribe_url = serializers.CharField(read_only=True, help_text="of the right length; it leads nowhere")
    error = serializers.CharField(read_only=True, help_text="why there is no text")


def draft_from(given: dict[str, Any], *, newest: TemplateVersion | None = None) -> Draft:
    """Build the draft from what was given; what a change leaves out is as in the newest version."""
    names = Draft.__slots__
    before = {name: getattr(newest, name) for name in names} if newest is not None else {}
    return Draft(**{**before, **{name: given[name] for name in names if name in given}})
