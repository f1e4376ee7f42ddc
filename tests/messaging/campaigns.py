"""Audiences, campaigns and credits that tests of campaigns start from."""

from __future__ import annotations

import itertools
import uuid
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone

from config.infra import tenancy
from config.infra.plans import plan_anew
from config.infra.ratelimit import Grant, Level, grant
from config.local.processes import wait_until
from messaging.actions.campaigns import Plan, save_campaign, schedule_campaign
from messaging.actions.credits import top_up
from messaging.actions.progress import advance_campaigns
from messaging.models import Campaign, CreditAccount, Message, Price, Segment, SendQueue, Template, TemplateVersion
from messaging.queries import count_rows, tally_of
from messaging.tasks import drain_messages
from shopsync.actions.tenants import connect_service
from shopsync.models import Connection, Tenant
from tests.factories import make_tenant

_numbers = itertools.count(1)
ZONE = "Europe/Athens"


def make_sender_tenant(base_url: str, *, paid: str | None = "1000000", price: str = "1", **fields: str) -> Tenant:
    """Make a tenant with a connection to a sandbox, a price for a part everywhere, and credits."""
    tenant = make_tenant(country="GR", timezone=ZONE, **fields)
    Price.objects.get_or_create(channel="sms", country="", defaults={"amount": Decimal(price)})
    with tenancy.tenant_scope(tenant.pk):
        account = {"base_url": base_url, "account_id": f"a-{tenant.pk}", "sender": "Shop", "api_key": "key"}
        connect_service(service="mitto", actor="test", **account)
        if paid is not None:
            top_up(amount=Decimal(paid), key="start", actor="test")
    return tenant


def make_ready_tenant(base_url: str) -> Tenant:
    """Make a tenant that sends at once: the limiter has woken up."""
    tenant = make_sender_tenant(base_url)
    wait_until(lambda: isinstance(grant([Level(f"warm-{tenant.pk}", 10**6)]), Grant), 5, "the limiter to warm up")
    return tenant


_CONTACTS = """
WITH people AS (
    INSERT INTO messaging_contact (tenant_id, first_name, last_name, email, phone, country, region, locale, timezone,
        field_versions)
    SELECT %(tenant)s, 'P' || n, '', '', '+3069' || lpad((n + %(first)s)::text, 8, '0'), 'GR', '', '', %(zone)s, '{}'
    FROM generate_series(1, %(count)s) n RETURNING id, phone
)
INSERT INTO messaging_consententry (tenant_id, contact_id, channel, state, address, source, opt_in_level,
    source_version, text_shown)
SELECT %(tenant)s, id, 'sms', 'subscribed', phone, 'test', 'single_opt_in', '1', '' FROM people"""


def add_contacts(tenant: Tenant, count: int, *, first: int = 0, zone: str = ZONE) -> None:
    """Add contacts with consent for SMS, in one statement; their phones are counted up from `first`."""
    if count >= 10_000:
        plan_anew()  # so many checks of keys take hours by the plan of a small table
    with connection.cursor() as cursor:
        cursor.execute(_CONTACTS, {"tenant": tenant.pk, "count": count, "first": first, "zone": zone})


def make_campaign(
    tenant: Tenant, *, text: str = "Hello {{ contact.first_name }}", shortens_links: bool = False, **plan: Any
) -> Campaign:
    """Make a draft for everybody, without quiet hours unless asked for."""
    number = next(_numbers)
    with tenancy.tenant_scope(tenant.pk):
        segment, _ = Segment.objects.get_or_create(name="everybody", definition={"all": []})
        template = Template.objects.create(name=f"template {number} {uuid.uuid4().hex[:6]}", channel="sms")
        version = TemplateVersion.objects.create(template=template, number=1, body=text, shortens_links=shortens_links)
        plan = {"name": f"Campaign {number}", "channel": "sms", "keeps_quiet_hours": False, **plan}
        plan |= {"segment_id": plan.get("segment_id", segment.pk), "template_version_id": version.pk}
        return save_campaign(campaign_id=None, plan=Plan(**plan), actor="test")


def launch(campaign: Campaign) -> None:
    """Launch a draft now; prepare what can be prepared."""
    with tenancy.tenant_scope(campaign.tenant_id):
        schedule_campaign(campaign_id=campaign.pk, at=None, actor="test", now=timezone.now())
    advance_campaigns()


def launched(tenant: Tenant, count: int, **plan: Any) -> Campaign:
    """Launch a campaign to so many contacts, who are added."""
    add_contacts(tenant, count)
    campaign = make_campaign(tenant, **plan)
    launch(campaign)
    return campaign


def unblock() -> None:
    """Let every queue go, as time would."""
    with tenancy.all_tenants(reason="test"):
        SendQueue.objects.update(blocker="", blocked_until=None)
        Connection.objects.count()


def pass_time() -> None:
    """Let what waits for a moment go on, until nothing does."""
    for _ in range(4):
        Message.objects.filter(status="ready").update(due_at="2000-01-01T00:00:00Z")
        unblock()
        drain_messages()
        advance_campaigns()


def name_is_waited_for() -> bool:
    """Does one transaction wait for a name that another one has locked?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(cursor.fetchone()[0] == 1)


def balances() -> dict[str, Decimal]:
    """Return what is on each account of the tenant in scope."""
    return {row.kind: row.balance for row in CreditAccount.objects.all()}


def counts(campaign: Campaign) -> dict[str, int]:
    """Return how many messages are in each state; the tally is what the rows say."""
    tally = tally_of(campaign.pk)
    assert tally == count_rows(campaign.pk)
    return {state: count.messages for state, count in tally.states.items()}
