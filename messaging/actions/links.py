"""Short links: made for the messages of a batch at once, and the clicks on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction

from config.infra.transactions import lock_name
from messaging.links import TOGETHER, bot_reason, is_shortened, new_code, replace_links
from messaging.models import Click, Message, ShortLink
from messaging.models.contacts import Channel

_ATTEMPTS = 3  # of finding codes that nobody has: a second one is needed once in 10^7 batches
_BATCH = 2000
_TOO_LONG = "SET LOCAL statement_timeout = '2s'"


@transaction.atomic(savepoint=False)
def shorten_links(
    *, texts: Mapping[int, str], base_url: str, channel: str, is_html: bool | None = None
) -> dict[int, str]:
    """Return messages' texts, by message id, with a short link in the place of each http(s) link.

    An e-mail's text is HTML as render_email writes it, unless `is_html` says that it is the plain one; both get the
    same short link for the same address. Links of ours stay, at `base_url` or at PUBLIC_URL, the unsubscribe link above
    all. Two statements, whatever the number of texts; doing it again gives the same codes.

    Raises: IntegrityError at the end of the transaction, for a message that is not the tenant's.
    """
    as_html = channel == Channel.EMAIL if is_html is None else is_html
    wanted = {(pk, url) for pk, text in texts.items() for url in _links_in(text, base_url, is_html=as_html)}
    short: dict[int, dict[str, str]] = defaultdict(dict)
    for (pk, url), code in _codes_of(wanted).items():
        short[pk][url] = f"{base_url}/l/{code}"
    return {pk: replace_links(text, short[pk].get, is_html=as_html) for pk, text in texts.items()}


def _links_in(text: str, base_url: str, *, is_html: bool) -> set[str]:
    found = set[str]()
    replace_links(text, lambda url: found.add(url), is_html=is_html)
    return {url for url in found if is_shortened(url, base_urls=(base_url, settings.PUBLIC_URL))}


def _codes_of(wanted: set[tuple[int, str]]) -> dict[tuple[int, str], str]:
    """Make the links that are not there yet, and return the codes of all."""
    missing, codes = set(wanted), dict[tuple[int, str], str]()
    for _ in range(_ATTEMPTS):
        if not missing:
            break
        rows = [ShortLink(code=new_code(), message_id=pk, url=url) for pk, url in sorted(missing)]
        # Whoever was first has the link; a code that somebody has already is tried again.
        ShortLink.objects.bulk_create(rows, ignore_conflicts=True, batch_size=_BATCH)
        codes |= _known_codes({pk for pk, _ in missing})
        missing -= set(codes)
    return codes


def _known_codes(message_ids: Iterable[int]) -> dict[tuple[int, str], str]:
    rows = ShortLink.objects.filter(message_id__in=list(message_ids))
    return {(pk, url): code for pk, url, code in rows.values_list("message_id", "url", "code")}


@transaction.atomic
def record_click(*, link: ShortLink, method: str, user_agent: str, purpose: str, now: datetime) -> Click:
    """Keep a click, and whether it was a person's: who follows two links of a message within a second is none.

    The first of the two is then marked as well. A click waits for nothing longer than two seconds.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TOO_LONG)
    lock_name(f"clicks:{link.message_id}")  # or two at once would not see each other
    message = Message.objects.only("contact_id", "campaign_id", "channel", "sent_at", "started_at").get(
        pk=link.message_id
    )
    sent_at = message.sent_at or message.started_at
    reason = bot_reason(method=method, user_agent=user_agent, purpose=purpose, sent_at=sent_at, now=now)
    others = Click.objects.filter(link__message_id=link.message_id, clicked_at__gt=now - TOGETHER)
    others = others.exclude(link_id=link.pk)
    if others.exists():
        reason = reason or "several_links"
        others.filter(is_bot=False).update(is_bot=True, bot_reason="several_links")
    click = Click(
        link=link,
        contact_id=message.contact_id,
        campaign_id=message.campaign_id,
        channel=message.channel,
        is_bot=bool(reason),
        bot_reason=reason,
        clicked_at=now,
    )
    click.save(force_insert=True)
    return click
