"""Operators see the breakers of their own tenant's connections, and close one; that, and each opening, is recorded."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEvent
from config.infra import tenancy
from config.infra.breaker import Breaker, list_breakers, local, read_openings, shared
from config.infra.services import SERVICES
from shopsync.actions.breakers import record_openings
from shopsync.models import Connection
from shopsync.tasks import record_breaker_openings
from tests.infra.redis_server import free_port, own_redis

PAGE = "/admin/breakers"


@pytest.fixture(autouse=True)
def redis(monkeypatch):
    """Give each test a Redis of its own, without breakers."""
    monkeypatch.setattr(shared, "store", shared.SharedStore())
    monkeypatch.setattr(shared, "REDIS_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(local, "breakers", local.LocalBreakers())
    with own_redis() as server:
        yield server


def breaker_of(world) -> Breaker:
    return Breaker("mitto", str(world.rows[Connection].pk))


def opened(breaker: Breaker) -> Breaker:
    for _ in range(5):
        breaker.failed()
    assert breaker.state() == "open"
    return breaker


def reset_url(breaker: Breaker) -> str:
    return f"{PAGE}/{breaker.service}/{breaker.connection}/reset"


def events(name: str) -> list[tuple[int | None, str, str, object]]:
    with tenancy.all_tenants(reason="tests look at every row"):
        found = AuditEvent.objects.filter(name=name).order_by("id")
        return [(one.tenant_id, one.subject, one.actor, one.data) for one in found]


def open_all(client: Client) -> Client:
    client.post("/admin/tenant", {"tenant": "all"})
    return client


@pytest.mark.parametrize("person", ["owner", "operator", "viewer"])
def test_each_member_sees_what_is_in_trouble_and_what_happens_meanwhile(request, world, person):
    client = request.getfixturevalue(person)
    assert "No breaker is open" in client.get(PAGE).content.decode()
    breaker = breaker_of(world)
    breaker.failed()
    page = client.get(PAGE).content.decode()
    assert "mitto main" in page
    assert world.tenant.name in page
    assert "Calls pass." in page
    opened(breaker)
    page = client.get(PAGE).content.decode().replace("&#x27;", "'")
    assert SERVICES["mitto"].meanwhile in page
    assert "in 30 s" in page
    assert (reset_url(breaker) in page) == (person != "viewer")
    assert f'href="{PAGE}"' in client.get("/admin/").content.decode()


def test_a_stranger_sees_and_closes_nothing_of_another_tenant(stranger, other_world, world):
    for breaker in (breaker_of(world), Breaker("shopify", f"tenant:{world.tenant.pk}"), Breaker("storage", "system")):
        opened(breaker)
        page = stranger.get(PAGE).content.decode()
        assert "No breaker is open" in page
        assert world.tenant.name not in page.replace(other_world.tenant.name, "")
        assert stranger.post(reset_url(breaker)).status_code == 302
        assert breaker.state() == "open"
    assert events("breaker.reset") == []


def test_a_tenant_sees_what_it_has_without_a_connection(operator, world):
    opened(Breaker("shopify", f"tenant:{world.tenant.pk}"))
    assert "the tenant&#x27;s own" in operator.get(PAGE).content.decode()


@pytest.mark.parametrize("name", ["tenant:0", "tenant:x", "007", "²", "9" * 30, "tenant:", "system", "a/b", "<b>"])
def test_a_breaker_of_nobody_is_shown_to_whoever_opened_all_tenants(superuser, operator, world, name):
    breaker = Breaker("storage", name)
    breaker.failed()
    assert "No breaker is open" in operator.get(PAGE).content.decode()
    page = open_all(superuser).get(PAGE).content.decode()
    assert "storage" in page
    assert "<b>" not in page
    superuser.post(f"{PAGE}/storage/{quote(name)}/reset")
    assert list_breakers().breakers == []


def test_a_superuser_sees_the_tenant_that_is_open_or_all(superuser, world, other_world):
    for one in (world, other_world):
        opened(breaker_of(one))
    assert superuser.get(PAGE)["Location"].startswith("/admin/tenant?next=")
    superuser.post("/admin/tenant", {"tenant": world.tenant.pk})
    page = superuser.get(PAGE).content.decode()
    assert (reset_url(breaker_of(world)) in page, reset_url(breaker_of(other_world)) in page) == (True, False)
    page = open_all(superuser).get(PAGE).content.decode()
    for one in (world, other_world):
        assert reset_url(breaker_of(one)) in page
        assert one.tenant.shop_domain in page


def test_more_breakers_cost_no_more_queries(superuser, world, other_world):
    def count() -> int:
        with CaptureQueriesContext(database) as queries:
            assert superuser.get(PAGE).status_code == 200
        return len(queries)

    def open_both(one) -> None:
        opened(breaker_of(one))
        opened(Breaker("shopify", f"tenant:{one.tenant.pk}"))

    open_all(superuser)
    open_both(world)
    before = count()
    open_both(other_world)
    assert count() == before


def test_closing_asks_first_then_closes_and_is_recorded(operator, world):
    breaker = opened(breaker_of(world))
    page = operator.get(reset_url(breaker)).content.decode()
    assert "Close this breaker?" in page
    assert "5 failures in a row" in page
    assert breaker.state() == "open"
    answer = operator.post(reset_url(breaker), follow=True)
    assert "Closed: the breaker of mitto" in answer.content.decode()
    assert breaker.state() == "closed"
    ((tenant_id, subject, actor, data),) = events("breaker.reset")
    assert (tenant_id, subject) == (world.tenant.pk, f"breaker:mitto:{breaker.connection}")
    assert actor.startswith("user:")
    assert data == {"service": "mitto", "was": "open"}
    again = operator.post(reset_url(breaker), follow=True)
    assert "perhaps it closed meanwhile" in again.content.decode()
    assert len(events("breaker.reset")) == 1


def test_a_viewer_closes_nothing(viewer, world):
    breaker = opened(breaker_of(world))
    assert viewer.get(reset_url(breaker)).status_code == 403
    assert viewer.post(reset_url(breaker)).status_code == 403
    assert breaker.state() == "open"


def test_closing_with_all_tenants_open_is_recorded_with_the_breakers_own_tenant(superuser, world):
    open_all(superuser)
    for breaker in (opened(breaker_of(world)), opened(Breaker("storage", "system"))):
        superuser.post(reset_url(breaker))
        assert breaker.state() == "closed"
    assert [event[0] for event in events("breaker.reset")] == [world.tenant.pk, None]


def test_without_redis_the_page_says_whose_knowledge_it_shows(operator, world, redis):
    breaker = opened(breaker_of(world))
    redis.stop()
    page = operator.get(PAGE).content.decode()
    assert "Redis is away" in page
    assert breaker.state() == "open"
    assert reset_url(breaker) in page
    answer = operator.post(reset_url(breaker), follow=True)
    assert "closed in this process only" in answer.content.decode()
    assert breaker.state() == "closed"
    redis.start()
    page = operator.get(PAGE).content.decode()
    assert "Redis is away" not in page
    assert breaker.state() == "open"  # for the others it always was


def test_an_opening_is_recorded_once_in_its_own_tenant(world, other_world):
    breaker = opened(breaker_of(world))
    breaker.failed()
    assert record_breaker_openings() == 1
    assert record_breaker_openings() == 0
    subject = f"breaker:mitto:{breaker.connection}"
    assert events("breaker.opened") == [(world.tenant.pk, subject, "system", {"service": "mitto"})]
    breaker.reset()
    opened(breaker)
    record_breaker_openings()
    assert len(events("breaker.opened")) == 2


def test_who_dies_before_forgetting_an_opening_records_it_once(world, monkeypatch):
    opened(breaker_of(world))
    with monkeypatch.context() as patch:
        patch.setattr("shopsync.actions.breakers.forget_opening", lambda opening: None)
        record_openings()
    assert len(read_openings()) == 1
    record_openings()
    assert read_openings() == []
    assert len(events("breaker.opened")) == 1


def test_openings_of_nobodys_connections_are_the_systems(world):
    for name in ("system", "tenant:0", "999999999"):
        opened(Breaker("storage", name))
    record_openings()
    assert [event[0] for event in events("breaker.opened")] == [None, None, None]


def test_without_redis_there_is_nothing_to_record(world, settings):
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    opened(breaker_of(world))
    assert record_openings() == 0
