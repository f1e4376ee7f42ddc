"""Composing: what a campaign writes to each recipient, what that costs, and when they may be written to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import DatabaseError

from config.infra import tenancy
from messaging.actions.flows import ANYWHERE, Place, Places, connection_of
from messaging.actions.links import shorten_links
from messaging.actions.prices import country_of, tariff_of
from messaging.actions.unsubscribes import unsubscribe_url
from messaging.emails import render_email
from messaging.encoding import smart_encode, split_sms
from messaging.links import sample_link, sample_links
from messaging.models import Campaign, Message, TemplateVersion
from messaging.models.contacts import Channel
from messaging.quiet import local_moment, next_time
from messaging.rendering import MissingValue, TemplateError, render_text, values_of
from shopsync.models import Tenant

logger = logging.getLogger(__name__)

FAILED = "composing_failed"
_SAMPLE_TOKEN = "x" * 43  # as long as a real one


@dataclass(frozen=True, slots=True)
class Composed:
    """What is written to one recipient; with a reason: nothing, and why. `due_at` None: as it is. `has_own_links`, of a
    preview: the text will have a link in it that nobody else's has."""

    id: int
    text: str = ""
    reason: str = ""
    sender: str = ""
    parts: int = 0
    cost: Decimal = Decimal(0)
    country: str = ""
    place: Place = ANYWHERE
    due_at: datetime | None = None
    subject: str = ""
    html: str = ""
    has_own_links: bool = False


class Composer:
    """Composes a campaign's messages; reads the tenant's settings once."""

    def __init__(self, campaign: Campaign, *, is_preview: bool = False) -> None:
        self._campaign = campaign
        self._is_preview = is_preview  # then nothing is written, short links neither
        self._version = campaign.template_version
        self._tenant = Tenant.objects.get(pk=tenancy.current_tenant_id())
        self._tariff = tariff_of(campaign.channel)
        self._sender = campaign.sender.value if campaign.sender else ""
        self._only_in = campaign.sender.country if campaign.sender else ""
        domain = campaign.sender.short_link_domain if campaign.sender else ""
        self._base_url = domain.rstrip("/") or settings.PUBLIC_URL
        self._samples = (f"{settings.PUBLIC_URL}/u/{_SAMPLE_TOKEN}", sample_link(self._base_url))
        via = connection_of(campaign.channel, campaign.sender.connection if campaign.sender else None)
        self._postal_address = via.postal_address if via else ""
        self._places = Places(keeps_quiet_hours=campaign.keeps_quiet_hours)

    def compose(self, rows: Sequence[Message], *, now: datetime) -> list[Composed]:
        """Compose the messages of these rows (with their contacts), in their order."""
        written = self._shorten([(row, _safely(self._write, row)) for row in rows])
        return [_safely(self._finish, row, composed, now) for row, composed in zip(rows, written, strict=True)]

    def _write(self, row: Message) -> Composed:
        version = self._version
        url = "" if self._is_preview else unsubscribe_url(reference=row.reference)
        values = values_of(
            row.contact,
            tenant_name=self._tenant.name,
            unsubscribe_url=url or self._samples[0],
            campaign_name=self._campaign.name,
        )
        try:
            if row.channel == Channel.EMAIL:
                email = render_email(
                    subject=version.subject,
                    body=version.body,
                    text=version.text,
                    values=values,
                    defaults=version.defaults,
                    postal_address=self._postal_address,
                )
                return Composed(row.pk, text=email.text, subject=email.subject, html=email.html)
            text = render_text(version.body, values, defaults=version.defaults)
        except MissingValue as missing:
            return Composed(row.pk, reason=f"missing_value: {missing}"[:200])
        except TemplateError:
            return Composed(row.pk, reason="template_error")
        return Composed(row.pk, text=text) if text else Composed(row.pk, reason="empty_text")

    def _shorten(self, written: list[tuple[Message, Composed]]) -> list[Composed]:
        """Put short links into the texts, of the whole batch at once; a preview's lead nowhere and are as long."""
        if not self._version.shortens_links:
            return [composed for _, composed in written]
        if self._is_preview:
            return [
                replace(composed, text=sample_links(composed.text, base_url=self._base_url)) for _, composed in written
            ]
        channel = self._campaign.channel
        texts = {row.pk: composed.text for row, composed in written if not composed.reason}
        htmls = {row.pk: composed.html for row, composed in written if composed.html}
        texts = shorten_links(texts=texts, base_url=self._base_url, channel=channel, is_html=False)
        htmls = shorten_links(texts=htmls, base_url=self._base_url, channel=channel, is_html=True) if htmls else {}
        return [replace(composed, text=texts.get(row.pk, ""), html=htmls.get(row.pk, "")) for row, composed in written]

    def _finish(self, row: Message, composed: Composed, now: datetime) -> Composed:
        if composed.reason:
            return composed
        text = encode_text(self._version, composed.text)
        parts = len(split_sms(text).parts) if row.channel == Channel.SMS else 1
        country = country_of(phone=row.address, known=row.contact.country)
        price = self._tariff.price(country, parts)
        if self._only_in not in {"", country}:
            return Composed(row.pk, reason="sender_not_for_country")
        place = self._places.of(row, country)
        if isinstance(price, str):
            return Composed(row.pk, reason=price)
        if place.hours and next_time(now, zones=place.zones, hours=place.hours) is None:
            return Composed(row.pk, reason="quiet_hours_never_end")
        due_at = self._due_at(row)
        told: dict[str, Any] = {"text": text, "sender": self._sender, "parts": parts, "cost": price, "country": country}
        told["has_own_links"] = self._is_preview and any(sample in text for sample in self._samples)
        return replace(composed, place=place, due_at=due_at, **told)

    def _due_at(self, row: Message) -> datetime | None:
        """When each recipient gets it at the same time of their day: the latest of the zones they may be in."""
        scheduled = self._campaign.scheduled_at
        if not self._campaign.is_local_time or scheduled is None:
            return None
        wall = scheduled.astimezone(ZoneInfo(self._tenant.timezone)).replace(tzinfo=None)
        return max(local_moment(wall, zone) for zone in self._places.zones(row))


def _safely(compose: Callable[..., Composed], row: Message, *rest: Any) -> Composed:
    """Compose one message; what nobody foresaw costs its recipient the message, with a reason, and nobody else's."""
    try:
        return compose(row, *rest)
    except DatabaseError:  # the transaction is over: it concerns the whole batch
        raise
    except Exception:  # the error tracker hears of it
        logger.exception("the message to contact %s can't be composed", row.contact_id)
        return Composed(row.pk, reason=FAILED)


def encode_text(version: TemplateVersion, text: str) -> str:
    """Write an SMS's text so that it fits GSM-7, where the template wants that."""
    if version.template.channel != "sms" or not version.encodes_smartly:
        return text
    return smart_encode(text)[0]
