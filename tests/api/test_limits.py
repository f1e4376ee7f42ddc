"""What the installation holds a tenant's sending to, by API: prices, limits, and what queues wait for."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.infra import tenancy
from messaging.actions.credits import save_policy
from messaging.actions.limits import forget_limits
from messaging.models import Campaign, Contact, Flow, Message, Price, SendLimit, SendQueue
from shopsync.models import Connection


def prices_of(client):
    return {row["channel"]: row for row in client.get("/api/v1/prices").json()}


def test_prices_are_those_of_the_countries_that_the_tenant_writes_to(staff, world):
    for country, amount in (("GR", "1.5"), ("FR", "2"), ("", "4")):
        Price.objects.create(channel="sms", country=country, amount=Decimal(amount))
    told = prices_of(staff)
    assert told["sms"] == {
        "channel": "sms", "is_charged": True, "elsewhere": "4.0000", "countries": ["CA", "GR", "US"],
        "prices": [{"country": "GR", "amount": "1.5000"}],
    }  # fmt: skip
    assert (told["email"]["is_charged"], told["email"]["elsewhere"]) == (False, "0.0000")
    with tenancy.tenant_scope(world.tenant.pk):
        save_policy(daily_cap=None, low_balance_at=None, countries=[], actor="test")
    assert [row["country"] for row in prices_of(staff)["sms"]["prices"]] == ["FR", "GR"]


def test_a_channel_with_prices_but_none_of_everywhere_says_so(owner):
    Price.objects.create(channel="sms", country="GR", amount=1)
    assert prices_of(owner)["sms"]["elsewhere"] is None


@pytest.fixture
def read_anew():
    forget_limits()
    yield forget_limits
    forget_limits()


def test_limits_are_those_that_a_request_counts_on(owner, stranger, world, read_anew):
    with tenancy.tenant_scope(world.tenant.pk):
        via = Connection.objects.get(service="mitto")
    SendLimit.objects.create(level="tenant", subject=str(world.tenant.pk), requests_per_second=7)
    SendLimit.objects.create(level="global", requests_per_second=30)
    read_anew()
    told = owner.get("/api/v1/send-limits").json()
    assert (told["requests_per_second"], told["batch_size"]) == (7, 100)
    (mine,) = told["connections"]
    assert (mine["connection_id"], mine["service"], mine["requests_per_second"]) == (via.pk, "mitto", 7)
    limits = [(row["level"], row["requests_per_second"]) for row in mine["limits"]]
    assert limits == [("account", 100), ("tenant", 7), ("global", 30)]
    theirs = stranger.get("/api/v1/send-limits").json()
    assert theirs["requests_per_second"] == 30
    assert via.pk not in [row["connection_id"] for row in theirs["connections"]]


def test_a_queue_says_what_it_waits_for_and_since_when(owner, world):
    now = timezone.now()
    with tenancy.tenant_scope(world.tenant.pk):
        queue = SendQueue.objects.get()
        single = Flow.objects.create(queue=queue, priority=0)
        paused = Flow.objects.create(queue=queue, priority=1, campaign=Campaign.objects.get(), blocker="paused")
        Flow.objects.create(queue=queue, priority=1, zones="Europe/Athens", blocker="finished")
        contact = world.rows[Contact]
        for flow, hours in ((single, 2), (single, 1), (paused, -1)):
            due = now - timedelta(hours=hours)
            Message.objects.create(contact=contact, channel="sms", address="+1", flow=flow, due_at=due)
    told = owner.get(f"/api/v1/send-queues/{queue.pk}").json()
    since = (now - timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    assert (told["blocker"], told["waiting_since"]) == ("no_connection", since)
    assert [(row["campaign_id"], row["blocker"], row["waiting_since"]) for row in told["flows"]] == [
        (None, "", since),
        (world.rows[Campaign].pk, "paused", None),
    ]
    (listed,) = owner.get("/api/v1/send-queues?channel=sms").json()["results"]
    assert listed == {name: value for name, value in told.items() if name != "flows"}
    assert owner.get("/api/v1/send-queues?channel=email").json()["results"] == []


def test_a_blocker_whose_time_is_over_is_none_any_more(owner, world):
    with tenancy.tenant_scope(world.tenant.pk):
        SendQueue.objects.update(blocked_until=timezone.now() - timedelta(seconds=1))
    (told,) = owner.get("/api/v1/send-queues").json()["results"]
    assert (told["blocker"], told["waiting_since"]) == ("", None)


def test_queues_cost_the_same_few_queries_however_many(owner, world):
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert owner.get("/api/v1/send-queues").status_code == 200
        return len(queries)

    before = cost()
    with tenancy.tenant_scope(world.tenant.pk):
        for channel in ("email", "whatsapp"):
            SendQueue.objects.create(channel=channel)
    assert cost() == before
