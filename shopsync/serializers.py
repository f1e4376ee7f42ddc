"""What the API shows of stored deliveries, what sign-in takes, and the parts that every list and serializer shares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Set
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar

from django.db import models
from django.forms import ChoiceField, ModelChoiceField, RegexField
from django_filters import CharFilter
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

from shopsync.money import format_amount
from shopsync.shopify import UnreadablePayloadError, as_utc

_LARGEST_BIGINT = 2**63 - 1
MOST_NAMED = 40  # values that a refusal names
_UNPRINTABLE = re.compile("[\x00-\x1f\ud800-\udfff]")


class NewestFirst(CursorPagination):
    """Pages by cursor, newest first: page 10,000 costs what page 1 does. `page_size` is 1 to 200."""

    ordering = "-id"
    page_size_query_param = "page_size"
    max_page_size = 200

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Read the cursor.

        Raises: ValidationError for one that we did not give.
        """
        given = request.query_params.get(self.cursor_query_param)
        if given is None:
            return None
        try:
            cursor = super().decode_cursor(request)
            position = int(cursor.position or "") if cursor else -1
        except Exception as error:  # binascii, unicode, query strings: whatever is wrong, it is not one of ours
            raise _bad_cursor() from error
        if not 0 <= position <= _LARGEST_BIGINT:
            raise _bad_cursor()
        return cursor

    def get_page_size(self, request: Request) -> int | None:
        """Read the page size.

        Raises: ValidationError for one that is not between 1 and 200.
        """
        given = request.query_params.get(self.page_size_query_param)
        if given is None:
            return self.page_size
        is_short_number = given.isascii() and given.isdigit() and len(given) <= 3
        if not (is_short_number and 1 <= int(given) <= self.max_page_size):
            raise ValidationError({"page_size": [f"Give a whole number from 1 to {self.max_page_size}."]})
        return int(given)


def _bad_cursor() -> ValidationError:
    return ValidationError({"cursor": ["Not a cursor of ours; follow `next` and `previous` of an earlier answer."]})


PAGE = frozenset({"cursor", "page_size"})


def refuse_unknown(request: Request, known: Set[str]) -> None:
    """Look whether a path knows each parameter of a request.

    Raises: ValidationError.
    """
    if unknown := set(request.query_params) - known:
        sentence = f"No such parameter; there are {', '.join(sorted(known)) or 'none here'}."
        raise ValidationError({name.replace("\x00", ""): [sentence] for name in sorted(unknown)})


class StrictQuery:
    """A view that refuses parameters that it does not know; put it first. StrictFilters says what a list knows."""

    parameters: ClassVar[Mapping[str, Set[str]]] = {}  # by action, or by method where a view has no actions

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Look once it is known who asks.

        Raises: ValidationError.
        """
        super().initial(request, *args, **kwargs)  # type: ignore[misc]  # of the view
        action = getattr(self, "action", None) or str(request.method).lower()
        if action != "list":
            refuse_unknown(request, self.parameters.get(action, frozenset()))


class StrictFilters(DjangoFilterBackend):
    """Filters of a list; a parameter that no filter knows is refused, or a typing error would show everything."""

    def filter_queryset(self, request: Request, queryset: models.QuerySet[Any], view: Any) -> models.QuerySet[Any]:
        """Apply the filters.

        Raises: ValidationError for an unknown parameter or value.
        """
        if view.detail:
            return queryset
        refuse_unknown(request, PAGE | set(view.filterset_class.base_filters))
        found: models.QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return found

    def get_filterset(self, request: Request, queryset: models.QuerySet[Any], view: Any) -> Any:
        """Read the filters.

        Raises: ValidationError for a time that falls out of the calendar on its way to UTC.
        """
        filterset = super().get_filterset(request, queryset, view)
        if filterset is not None:
            name_allowed(filterset.form.fields.values())
        given = filterset.form.cleaned_data if filterset is not None and filterset.is_valid() else {}
        for name, value in given.items():
            if isinstance(value, datetime):
                try:
                    as_utc(value)
                except UnreadablePayloadError as error:
                    raise ValidationError({name: ["Give a time of the years 1 to 9999 in UTC."]}) from error
        return filterset


def name_allowed(fields: Iterable[Any]) -> None:
    """Let fields of a request, a filter or a form that take some values alone name them when they refuse another."""
    for field in (getattr(one, "child", one) for one in fields):
        if not isinstance(field, serializers.ChoiceField | ChoiceField) or isinstance(field, ModelChoiceField):
            continue
        choices: Any = field.choices
        pairs = choices.items() if isinstance(choices, dict) else choices
        allowed = [str(value) for value, _ in pairs if value != ""]
        words = ", ".join(allowed[:MOST_NAMED] if len(allowed) <= MOST_NAMED else allowed[:3])
        more = f" and {len(allowed) - 3} more ({field.help_text})" if len(allowed) > MOST_NAMED else ""
        field.error_messages["invalid_choice"] = f"Give one of {words}{more}."


class WholeNumberFilter(CharFilter):
    """A filter on a bigint column: digits only, so that no value can fail in the database."""

    field_class = RegexField

    def __init__(self, **options: Any) -> None:
        told = {"invalid": "Give a whole number, of 18 digits at most."}
        super().__init__(regex=r"^[0-9]{1,18}\Z", error_messages=told, **options)


@extend_schema_field({"type": "string", "pattern": "^[0-9]+$", "example": "5678901234567890123"})
class ShopifyIdField(serializers.Field):  # type: ignore[type-arg]  # its generics are of no use here
    """An id of Shopify's, as a string: they pass 2^53, which JavaScript's numbers can't hold."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: int) -> str:
        """Write the digits."""
        return str(value)


class PatternField(serializers.RegexField):
    """A text of a form of its own; `says` tells what to give."""

    def __init__(self, regex: Any, *, says: str, **options: Any) -> None:
        super().__init__(regex, error_messages={"invalid": says}, **options)


class IdField(serializers.IntegerField):
    """An id of ours on its way in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=_LARGEST_BIGINT, **options)


@extend_schema_field({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "example": "129.00"})
class MoneyField(serializers.Field):  # type: ignore[type-arg]
    """The amount in the column of the field's own name, as a string in the currency that stands beside it."""

    def __init__(self, *, currency: str = "currency", **options: Any) -> None:
        self.currency_of = attrgetter(currency)
        super().__init__(read_only=True, source="*", **options)

    def to_representation(self, value: models.Model) -> str:
        """Write the amount."""
        assert self.field_name is not None  # DRF binds it to its serializer first
        return format_amount(getattr(value, self.field_name), self.currency_of(value))


class JSONBody(JSONParser):
    """JSON on its way in; what can't be read is refused in words."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Read the body.

        Raises: ParseError.
        """
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("The JSON is nested too deeply to be read.") from error


class Input(serializers.Serializer[Any]):
    """What a write takes; a field that it does not know is refused, or a typing error would be taken for a default."""

    def get_fields(self) -> Any:
        """Let each field that takes some values alone name them."""
        fields = super().get_fields()
        name_allowed(fields.values())
        return fields

    def to_internal_value(self, data: Any) -> Any:
        """Read the fields.

        Raises: ValidationError naming each field that is wrong or unknown.
        """
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            sentence = f"No such field; there are {', '.join(sorted(self.fields)) or 'none here'}."
            raise ValidationError({_UNPRINTABLE.sub("?", name)[:100]: [sentence] for name in unknown})
        return super().to_internal_value(data)


class Nothing(Input):
    """The body of a write that needs none."""


def read(shape: type[Input], request: Request) -> dict[str, Any]:
    """Read a request's body.

    Raises: ValidationError naming each field that is wrong.
    """
    given = shape(data=request.data)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


class WebhookEventRow(serializers.Serializer[Any]):
    """A stored delivery without its payload."""

    id = serializers.IntegerField(read_only=True)
    source = serializers.CharField(read_only=True)  # type: ignore[assignment]  # DRF's metaclass moves fields away
    topic = serializers.CharField(read_only=True)
    status = serializers.CharField(read_only=True)
    attempts = serializers.IntegerField(read_only=True)
    blocker = serializers.CharField(read_only=True, help_text="what a ready row waits for")
    last_error = serializers.CharField(read_only=True)
    webhook_id = serializers.CharField(read_only=True)
    event_id = serializers.CharField(read_only=True)
    api_version = serializers.CharField(read_only=True)
    is_test = serializers.BooleanField(read_only=True)
    duplicates = serializers.IntegerField(read_only=True)
    body_bytes = serializers.IntegerField(read_only=True)
    triggered_at = serializers.DateTimeField(read_only=True, allow_null=True)
    received_at = serializers.DateTimeField(read_only=True, source="created_at")
    finished_at = serializers.DateTimeField(read_only=True, allow_null=True)


def readable_payload(body: bytes | memoryview | None) -> Any:
    """Decode a stored body: JSON as its value, anything else as text; None when retention has forgotten it.

    What JSON can't be written as again (NaN, lone surrogates, nesting without end) is shown as the text it came as.
    """
    if body is None:
        return None
    raw = bytes(body)
    try:
        value = json.loads(raw)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace")
    return value


class WebhookEventDetail(WebhookEventRow):
    """A stored delivery with its payload."""

    payload = serializers.SerializerMethodField(
        help_text="JSON, or text when it is none; null once forgotten, or when it is another tenant's"
    )

    @extend_schema_field({"nullable": True})
    def get_payload(self, row: Any) -> Any:
        """Decode the body."""
        return None if row.is_foreign else readable_payload(row.body)


class AlertRow(serializers.Serializer[Any]):
    """Something that is wrong, or was."""

    id = serializers.IntegerField(read_only=True)
    kind = serializers.CharField(read_only=True, help_text="e.g. stock.low")
    subject = serializers.CharField(read_only=True, help_text="what it is about, e.g. level:12")
    message = serializers.CharField(read_only=True)
    severity = serializers.CharField(read_only=True, help_text="warning or critical")
    count = serializers.IntegerField(read_only=True, help_text="how often it was raised since it opened")
    is_open = serializers.BooleanField(read_only=True)
    opened_at = serializers.DateTimeField(read_only=True)
    last_seen_at = serializers.DateTimeField(read_only=True)
    closed_at = serializers.DateTimeField(read_only=True, allow_null=True)
    acknowledged_by = serializers.CharField(read_only=True, help_text="e.g. user:7, api_key:3; empty: nobody yet")
    acknowledged_at = serializers.DateTimeField(read_only=True, allow_null=True)


class SignIn(serializers.Serializer[Any]):
    """What a person signs in with."""

    username = serializers.CharField(max_length=150, write_only=True)
    password = serializers.CharField(max_length=128, trim_whitespace=False, write_only=True)
    tenant = serializers.CharField(
        max_length=255,
        required=False,
        write_only=True,
        help_text="the shop's domain, e.g. name.myshopify.com; may be left out by a member of exactly one tenant",
    )


class Tokens(serializers.Serializer[Any]):
    """A person's tokens for one tenant."""

    access = serializers.CharField(read_only=True, help_text="for `Authorization: Bearer`, good for 15 minutes")
    refresh = serializers.CharField(read_only=True, help_text="for /api/v1/auth/refresh, good for 7 days")
    tenant = serializers.CharField(read_only=True, help_text="the shop's domain")


class Refresh(serializers.Serializer[Any]):
    """A refresh token on its way in."""

    refresh = serializers.CharField(max_length=4096, write_only=True)


class AccessToken(serializers.Serializer[Any]):
    """A fresh access token, for the same tenant."""

    access = serializers.CharField(read_only=True)
