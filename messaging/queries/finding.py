"""What a public link names, whosever it is."""

from __future__ import annotations

import uuid

from config.infra import tenancy
from messaging import links
from messaging.models import Message, ShortLink


def find_unsubscriber(reference: uuid.UUID) -> Message | None:
    """Find the message that an unsubscribe link was sent in; None when there is no such message any more."""
    with tenancy.all_tenants(reason="an unsubscribe link names its tenant by its message's reference"):
        return Message.objects.filter(reference=reference).first()


def find_link(code: str) -> ShortLink | None:
    """Find a short link by its code; None when the code is nobody's."""
    with tenancy.all_tenants(reason="a short link names its tenant by its code"):
        return ShortLink.objects.filter(code=code).first() if links.is_code(code) else None
