"""Reads that span messaging's models."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from django.conf import settings
from django.db import connection

from config.infra import tenancy
from messaging import links
from messaging.emails import Email, render_email
from messaging.encoding import Change, smart_encode, split_sms
from messaging.models import ConsentEntry, Contact, Message, ShortLink, TemplateVersion
from messaging.models.contacts import Channel
from messaging.rendering import TemplateError, fill_gaps, render_text, values_of
from shopsync.models import Connection, Tenant


def consent_on(*, contact_id: int, channel: str) -> ConsentEntry | None:
    """Return the newest statement of a contact on a channel; None when nothing is known."""
    entries = ConsentEntry.objects.filter(contact_id=contact_id, channel=channel)
    return entries.order_by("-source_version").first()


def consents_of(messages: Iterable[Message]) -> dict[tuple[int, str], ConsentEntry]:
    """Return the newest statement per (contact id, channel) for many messages, in one query."""
    contacts = {message.contact_id for message in messages}
    entries = ConsentEntry.objects.filter(contact_id__in=contacts).order_by("contact_id", "channel", "-source_version")
    return {(entry.contact_id, entry.channel): entry for entry in entries.distinct("contact_id", "channel")}


@dataclass(frozen=True, slots=True)
class CreditDrift:
    """Something in the ledger of credits that does not add up; `problem` says what."""

    subject: str
    found: Decimal
    expected: Decimal
    problem: str


_CREDIT_DRIFT = """
WITH booked AS (
    SELECT account_id, sum(amount) AS total, (array_agg(balance_after ORDER BY id DESC))[1] AS last
    FROM messaging_creditentry WHERE tenant_id = %(tenant)s GROUP BY account_id
)
SELECT 'account:' || a.kind, a.balance, coalesce(b.total, 0), 'the balance is not what its entries add up to'
FROM messaging_creditaccount a LEFT JOIN booked b ON b.account_id = a.id
WHERE a.tenant_id = %(tenant)s AND (a.balance <> coalesce(b.total, 0) OR a.balance <> coalesce(b.last, 0))
UNION ALL
SELECT 'transaction:' || t.id, coalesce(sum(e.amount), 0), 0, 'the entries do not add up to zero'
FROM messaging_credittransaction t LEFT JOIN messaging_creditentry e ON e.transaction_id = t.id
WHERE t.tenant_id = %(tenant)s GROUP BY t.id HAVING coalesce(sum(e.amount), 0) <> 0 OR count(e.id) < 2
UNION ALL
SELECT 'account:spent', coalesce(max(a.balance), 0), coalesce((SELECT sum(settled) FROM messaging_creditday
       WHERE tenant_id = %(tenant)s), 0), 'what was settled by day is not what was settled'
FROM messaging_creditaccount a WHERE a.tenant_id = %(tenant)s AND a.kind = 'spent'
HAVING coalesce(max(a.balance), 0) + coalesce((SELECT max(balance) FROM messaging_creditaccount
       WHERE tenant_id = %(tenant)s AND kind = 'house'), 0)
    <> coalesce((SELECT sum(settled) FROM messaging_creditday WHERE tenant_id = %(tenant)s), 0)
ORDER BY 1"""


def find_credit_drift(*, tenant_id: int) -> list[CreditDrift]:
    """Compare a tenant's balances with their entries, and the entries with each other; an empty list is the proof."""
    with connection.cursor() as cursor:
        cursor.execute(_CREDIT_DRIFT, {"tenant": tenant_id})
        return [CreditDrift(*row) for row in cursor.fetchall()]


def find_unsubscriber(reference: uuid.UUID) -> Message | None:
    """Find the message that an unsubscribe link was sent in; None when there is no such message any more."""
    with tenancy.all_tenants(reason="an unsubscribe link names its tenant by its message's reference"):
        return Message.objects.filter(reference=reference).first()


def find_link(code: str) -> ShortLink | None:
    """Find a short link by its code; None when the code is nobody's."""
    with tenancy.all_tenants(reason="a short link names its tenant by its code"):
        return ShortLink.objects.filter(code=code).first() if links.is_code(code) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a contact would get of a template; where a value is missing, `[its name]` stands in its place.

    encoding, units, parts, changes   of an SMS: how it is sent, and what smart encoding writes otherwise
    warnings                          for whoever writes the template
    error                             why there is no text; the rest is then empty
    """

    channel: str
    subject: str = ""
    text: str = ""
    html: str = ""
    missing: tuple[str, ...] = ()
    encoding: str = ""
    units: int = 0
    parts: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    unsubscribe_url: str = ""
    error: str = ""


def preview_of(*, version: TemplateVersion, contact: Contact) -> Preview:
    """Render a version for a contact, as it would be sent; its links lead nowhere, since there is no message."""
    channel = version.template.channel
    nobody = uuid.UUID(int=0)
    url = links.unsubscribe_url(nobody, base_url=settings.PUBLIC_URL, secret=b"preview")
    tenant = Tenant.objects.get(pk=version.tenant_id)
    values = values_of(contact, tenant_name=tenant.name, unsubscribe_url=url, campaign_name="(the campaign)")
    show = _preview_email if channel == Channel.EMAIL else _preview_text
    try:
        return show(version, values, url)
    except TemplateError as error:
        return Preview(channel=channel, error=str(error))


def postal_address() -> str:
    """Return the postal address of the tenant's sender of e-mails; empty when it gave none."""
    addresses = Connection.objects.filter(service="email", is_active=True).values_list("postal_address", flat=True)
    return addresses.first() or ""


def _preview_email(version: TemplateVersion, values: dict[str, object], url: str) -> Preview:
    address = postal_address()

    def render(defaults: dict[str, str]) -> Email:
        return render_email(
            subject=version.subject,
            body=version.body,
            text=version.text,
            values=values,
            defaults=defaults,
            postal_address=address,
        )

    email, missing = fill_gaps(render, version.defaults)
    lacking = () if address else ("The connection of the service email has no postal address for the footer.",)
    return Preview(
        channel=Channel.EMAIL,
        subject=email.subject,
        text=email.text,
        html=email.html,
        missing=missing,
        warnings=email.warnings + lacking,
        unsubscribe_url=url,
    )


def _preview_text(version: TemplateVersion, values: dict[str, object], url: str) -> Preview:
    text, missing = fill_gaps(lambda defaults: render_text(version.body, values, defaults=defaults), version.defaults)
    if version.shortens_links:
        text = links.sample_links(text, base_url=settings.PUBLIC_URL)
    shown = Preview(
        channel=version.template.channel,
        text=text,
        missing=missing,
        unsubscribe_url=url if url in text else "",
    )
    return _as_sms(shown, encodes_smartly=version.encodes_smartly) if shown.channel == Channel.SMS else shown


def _as_sms(shown: Preview, *, encodes_smartly: bool) -> Preview:
    """Add how the text is sent and charged as an SMS."""
    text, changes = smart_encode(shown.text) if encodes_smartly else (shown.text, ())
    sms = split_sms(text)
    return replace(shown, text=text, encoding=sms.encoding, units=sms.units, parts=sms.parts, changes=changes)
