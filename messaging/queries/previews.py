"""What a contact would get of a template."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from django.conf import settings

from messaging import links
from messaging.emails import Email, render_email
from messaging.encoding import Change, smart_encode, split_sms
from messaging.models import Contact, TemplateVersion
from messaging.models.contacts import Channel
from messaging.rendering import TemplateError, fill_gaps, render_text, values_of
from shopsync.models import Connection, Tenant


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
