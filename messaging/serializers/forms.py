"""What the API shows and takes of sign-up forms, and what strangers send by them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from rest_framework import serializers

from messaging.actions.forms import Submission
from messaging.models import SignupForm
from messaging.models.contacts import Channel
from shopsync.identity import normalise_email, normalise_phone
from shopsync.serializers import Input

CHANNELS = [str(channel) for channel in Channel.values]


class FormRow(serializers.Serializer[Any]):
    """A sign-up form, and where it is."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    url = serializers.SerializerMethodField(help_text="its page, which also takes what is sent")
    channels = serializers.ListField(child=serializers.CharField(), read_only=True)
    text_shown = serializers.CharField(read_only=True)
    double_opt_in = serializers.BooleanField(read_only=True)
    confirmation_text = serializers.CharField(read_only=True)
    thanks_text = serializers.CharField(read_only=True)
    redirect_url = serializers.CharField(read_only=True)
    allowed_origins = serializers.ListField(child=serializers.CharField(), read_only=True)
    is_active = serializers.BooleanField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def get_url(self, form: SignupForm) -> str:
        """Name its page."""
        return f"{settings.PUBLIC_URL}/forms/{form.token}"


class OriginField(serializers.CharField):
    """A site: scheme, host, and port if need be."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=200, **options)

    def to_internal_value(self, data: Any) -> str:
        """Read an origin as browsers write it."""
        return read_origin(super().to_internal_value(data))


def read_origin(value: str) -> str:
    """Write an origin as browsers do: https://shop.example.com.

    Raises: ValidationError.
    """
    try:
        parts = urlsplit(value.strip())
        is_origin = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_origin = False
    if not is_origin or parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise serializers.ValidationError("Give a site without a path, e.g. https://shop.example.com.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


class FormInput(Input):
    """What a form is to be; what is left out stays, or is as a new one is."""

    name = serializers.CharField(max_length=100)
    channels = serializers.MultipleChoiceField(choices=Channel.choices, allow_empty=False)
    text_shown = serializers.CharField(max_length=5000, help_text="what people agree to, word by word")
    double_opt_in = serializers.BooleanField(required=False)
    confirmation_text = serializers.CharField(max_length=300, required=False, allow_blank=True)
    thanks_text = serializers.CharField(max_length=500, required=False, allow_blank=True)
    redirect_url = serializers.URLField(max_length=500, required=False, allow_blank=True)
    allowed_origins = serializers.ListField(child=OriginField(), max_length=20, required=False)
    is_active = serializers.BooleanField(required=False)

    def validate_channels(self, value: set[str]) -> list[str]:
        """Keep them in one order."""
        return [channel for channel in CHANNELS if channel in value]


class SubmissionInput(serializers.Serializer[Any]):
    """What a stranger sends. `website` is a trap: whoever fills it in is no person."""

    email = serializers.CharField(max_length=320, required=False, allow_blank=True, default="")
    phone = serializers.CharField(max_length=40, required=False, allow_blank=True, default="")
    first_name = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")
    last_name = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")
    website = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Write the addresses that the form asks for as they are stored; at least one is needed."""
        channels = self.context["channels"]
        email = attrs["email"] if "email" in channels else ""
        phone = attrs["phone"] if {"sms", "whatsapp"} & set(channels) else ""
        errors = {}
        attrs["email"], attrs["phone"] = normalise_email(email), normalise_phone(phone, self.context["country"])
        if email and not attrs["email"]:
            errors["email"] = ["This is no e-mail address."]
        if phone and not attrs["phone"]:
            errors["phone"] = ["This is no phone number; write it with + and the country's prefix."]
        if not errors and not attrs["email"] and not attrs["phone"]:
            errors["email" if "email" in channels else "phone"] = ["Please fill this in."]
        if errors:
            raise serializers.ValidationError(errors)
        return attrs

    def to_submission(self, *, ip: str, user_agent: str, page: str) -> Submission:
        """Return what was sent, with where it came from."""
        given = {name: self.validated_data[name] for name in ("email", "phone", "first_name", "last_name")}
        return Submission(**given, ip=ip, user_agent=user_agent, page=page)
