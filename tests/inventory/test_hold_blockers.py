"""A hold that waits because Shopify's breaker is open says so; the breaker is the tenant's own."""

from __future__ import annotations

import pytest
from django.utils import timezone

from config.infra import tenancy
from config.infra.breaker import Breaker, list_breakers
from inventory.actions.reservations import Request, Wanted, reserve
from inventory.models import HoldPush
from inventory.tasks import drain_holds
from shopsync.models import Tenant
from shopsync.queries import breakers_in_scope
from tests.factories import make_tenant, stock_variant
from tests.infra.redis_server import free_port

pytestmark = pytest.mark.django_db(transaction=True)


def drain() -> HoldPush:
    HoldPush.objects.update(due_at="2000-01-01T00:00:00Z")
    drain_holds()
    return HoldPush.objects.get()


def test_holds_wait_for_the_tenants_own_breaker_by_name(settings):
    settings.SHOPIFY_ADMIN_URL = f"http://127.0.0.1:{free_port()}"
    tenant, other = make_tenant(stock_authority="shopify"), make_tenant()
    Tenant.objects.filter(pk=tenant.pk).update(push_holds=True)
    breaker = Breaker("shopify", f"tenant:{tenant.pk}")
    breaker.reset()
    with tenancy.tenant_scope(tenant.pk):
        variant, _ = stock_variant(5)
        request = Request(lines=(Wanted(variant.pk, 1),))
        reserve(request=request, idempotency_key="k", actor="test", now=timezone.now())
        for _ in range(5):
            assert drain().blocker == "shopify is unavailable"
        assert breaker.state() == "open"
        push = drain()
        assert (push.status, push.blocker, push.attempts) == ("ready", "breaker open: shopify", 0)
        (row,) = breakers_in_scope(list_breakers())
        assert row.owner.tenant == tenant
    with tenancy.tenant_scope(other.pk):
        assert breakers_in_scope(list_breakers()) == []
    breaker.reset()
