"""What a campaign's page shows of how far it is: bars and tables, which lead to the messages they count."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from messaging.models import Campaign
from messaging.queries import Count, tally_of
from messaging.queries.clicks import clicks_by_link, clicks_of
from shopsync.admin.base import table

ENDED = ("sent", "delivered", "failed", "skipped", "unknown", "unknown_final")


def progress_bar(through: int, total: int) -> SafeString:
    """Draw how many of a campaign's messages have their end."""
    words = f"{through:,} of {total:,}"
    return format_html(
        '<progress max="{}" value="{}" aria-label="{}"></progress> {}', max(total, 1), through, words, words
    )


def states_table(campaign: Campaign) -> SafeString:
    """Show a bar, and how many messages are in each state."""
    tally = tally_of(campaign.pk)
    through = sum(tally.states.get(state, Count()).messages for state in ENDED)
    rows = [
        (_messages_of(campaign, state, state=state), one.messages, one.parts, one.cost)
        for state, one in sorted(tally.states.items())
    ]
    shown = table(("state", "messages", "parts", "credits"), rows)
    return format_html("{}{}", progress_bar(through, tally.total), shown)


def skipped_table(campaign: Campaign) -> SafeString | str:
    """Show why some got nothing, the most frequent reason first."""
    reasons = tally_of(campaign.pk).skipped if campaign.pk else {}
    rows = [
        (_messages_of(campaign, why, state="skipped", reason=why), count)
        for why, count in sorted(reasons.items(), key=_most)
    ]
    return table(("reason", "messages"), rows) if rows else "–"


def clicks_table(campaign: Campaign) -> SafeString:
    """Show who followed its links, programs apart."""
    whole = clicks_of(campaign.pk)
    rows = [(one.url, one.people, one.clicks, one.bots) for one in clicks_by_link(campaign.pk)]
    return table(
        ("link", "people", "clicks", "of programs"), [("all links", whole.people, whole.clicks, whole.bots), *rows]
    )


def report_table(campaign: Campaign) -> SafeString | str:
    """Show the last report asked for."""
    told = dict(campaign.preflight or {})
    if not told:
        return "not asked for yet"
    if told["status"] == "asked":
        return f"being made: part {told['part'] + 1} of {told['of']}"
    rows = [(name.replace("_", " "), _plain(name, value)) for name, value in told.items() if name != "warnings"]
    return table(("", ""), [*(("look at this", sentence) for sentence in told.get("warnings", ())), *rows])


def _messages_of(campaign: Campaign, words: str, **chosen: str) -> SafeString:
    """Lead to some of a campaign's messages."""
    url = f"{reverse('admin:messaging_message_changelist')}?{urlencode({'campaign': str(campaign.pk), **chosen})}"
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, words)


def _most(item: tuple[str, int]) -> int:
    return -item[1]


def _plain(name: str, value: Any) -> str:
    if value and (name.endswith("_at") or name == "reckoned_from"):
        return date_format(timezone.localtime(datetime.fromisoformat(value)), "DATETIME_FORMAT")
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count}" for name, count in value.items()) or "none"
    return str(value)
