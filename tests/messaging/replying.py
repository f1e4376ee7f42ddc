"""What tests of replies start from: tenants on one number, what they sent, and replies through the webhook."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import Any

from django.db.models import Max
from django.test import Client
from django.utils import timezone

from config.infra import tenancy
from config.infra.ratelimit import Grant, Level, grant
from config.local.processes import wait_until
from messaging.actions.consent import state_consent
from messaging.actions.contacts import Profile, ensure_contact
from messaging.models import Attempt, ConsentState, InboundMessage, Message, Sender, Suppression
from shopsync.actions.tenants import connect_service
from shopsync.models import Connection, Tenant
from shopsync.tasks import drain_webhooks
from tests.factories import make_tenant

NUMBER, PERSON = "+302101234567", "+306912345678"
_ids = itertools.count(1)


def make_replied_to(*, number: str = NUMBER, base_url: str = "", key: str = "key", **fields: str) -> Tenant:
    """Make a tenant that sends from a number of the account that all share who have its key."""
    tenant = make_tenant(country="GR", **fields)
    with tenancy.tenant_scope(tenant.pk):
        account = {"account_id": "house", "sender": number, "api_key": key, "base_url": base_url}
        connect_service(service="mitto", actor="test", **account)
    return tenant


def make_ready(base_url: str) -> Tenant:
    """Make a tenant that sends through a sandbox, and wait until the limiter lets it."""
    tenant = make_replied_to(name="First shop", base_url=base_url)
    wait_until(lambda: isinstance(grant([Level(f"warm-{tenant.pk}", 10**6)]), Grant), 5, "the limiter to warm up")
    return tenant


def own_number(tenant: Tenant, number: str = NUMBER) -> None:
    """Give a tenant a number for replies, by the table."""
    with tenancy.tenant_scope(tenant.pk):
        Sender.objects.create(channel="sms", value=number, is_two_way=True)


def wrote(tenant: Tenant, *, address: str = PERSON, sender: str = NUMBER, **fields: Any) -> Message:
    """Let a tenant have sent a message to somebody who agreed to it."""
    with tenancy.tenant_scope(tenant.pk):
        contact = ensure_contact(profile=Profile(customer_shopify_id=None, email="", phone=address), actor="test")
        assert contact is not None
        state_consent(
            contact=contact, channel="sms", state="subscribed", source="test", actor="test",
            stated_at=datetime(2026, 1, 1, tzinfo=UTC), address=address,
        )  # fmt: skip
        attempt = Attempt.objects.create(
            connection=Connection.objects.get(service="mitto"), message_count=1, closed_at=timezone.now()
        )
        done = {"status": "done", "outcome": "sent", "sender": sender, "attempt": attempt, "text": "Hello"}
        done |= {"sent_at": timezone.now(), "started_at": timezone.now(), "finished_at": timezone.now(), "attempts": 1}
        return Message.objects.create(contact=contact, channel="sms", address=address, **(done | fields))


def post(tenant: Tenant, body: Any) -> Any:
    """Post to the tenant's address of replies, as Mitto does."""
    with tenancy.tenant_scope(tenant.pk):
        token = Connection.objects.get(service="mitto").token
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client().post(f"/webhooks/mitto/inbound/{token}", raw, content_type="application/json")


def reply(tenant: Tenant, text: str, *, address: str = PERSON, to: str = NUMBER, **fields: Any) -> InboundMessage:
    """Let somebody reply; return the newest reply, whosever it has become."""
    body = {"id": f"r-{next(_ids)}", "from": address, "to": to, "text": text, **fields}
    assert post(tenant, body).status_code == 202
    drain_webhooks()
    with tenancy.all_tenants(reason="test"):
        newest = InboundMessage.objects.aggregate(newest=Max("pk"))["newest"]
        return InboundMessage.objects.get(pk=newest)


def state_of(tenant: Tenant, address: str = PERSON) -> tuple[str, str]:
    """Say by what an address is suppressed at a tenant (empty: by nothing), and its consent for SMS."""
    with tenancy.tenant_scope(tenant.pk):
        found = Suppression.objects.filter(address=address, lifted_at__isnull=True).values_list("reason", flat=True)
        states = ConsentState.objects.filter(channel="sms", address=address).values_list("state", flat=True)
        return found.first() or "", states.first() or ""


def answers_of(tenant: Tenant, prefix: str = "reply:") -> list[Message]:
    """List what a tenant answered to replies."""
    with tenancy.tenant_scope(tenant.pk):
        return list(Message.objects.filter(trigger__startswith=prefix).order_by("id"))
