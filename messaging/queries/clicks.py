"""Who followed a campaign's links: people and programs apart, on the whole and by link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet

from messaging.models import Click

LINKS_SHOWN = 20
_COUNTS: dict[str, Any] = {
    "people": Count("contact", distinct=True, filter=Q(is_bot=False)),
    "clicks": Count("pk", filter=Q(is_bot=False)),
    "bots": Count("pk", filter=Q(is_bot=True)),
}


@dataclass(frozen=True, slots=True)
class Clicks:
    """How many people clicked, how often, and how often programs did (scanners, previews)."""

    people: int
    clicks: int
    bots: int


@dataclass(frozen=True, slots=True)
class LinkClicks(Clicks):
    """The clicks on one address, whosever link it was."""

    url: str


def clicks_of(campaign_id: int) -> Clicks:
    """Count the clicks of a campaign; it reads as many rows as there are clicks, however many messages there are."""
    return Clicks(**Click.objects.filter(campaign_id=campaign_id).aggregate(**_COUNTS))


def clicks_by_link(campaign_id: int) -> list[LinkClicks]:
    """Count the clicks of a campaign by address, those first that most people followed; the first twenty."""
    rows: QuerySet[Any] = (
        Click.objects.filter(campaign_id=campaign_id).order_by().values("link__url").annotate(**_COUNTS)
    )
    shown = rows.order_by("-people", "-bots", "link__url")[:LINKS_SHOWN]
    return [LinkClicks(row["people"], row["clicks"], row["bots"], row["link__url"]) for row in shown]
