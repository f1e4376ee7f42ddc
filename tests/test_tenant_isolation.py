"""Tenancy fails closed: without a scope nothing is read, written or cached; with one, only its own."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from audit.models import AuditEvent, DeadLetter, EventDelivery
from config.infra import tenancy
from orders.models import Order
from shopsync.models import ApiKey, Connection, WebhookEvent
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", [ApiKey, AuditEvent, Connection, DeadLetter, EventDelivery, Order, WebhookEvent])
def test_without_a_scope_every_query_raises_and_an_empty_one_stays_empty(model):
    with pytest.raises(tenancy.NoTenantInScopeError):
        model.objects.all()
    with pytest.raises(tenancy.NoTenantInScopeError):
        model._base_manager.count()
    assert list(model.objects.none()) == []
    assert list(model.objects.none().all()) == []


def test_a_row_of_another_tenant_can_be_neither_saved_nor_inserted():
    one, two = make_tenant(), make_tenant()
    with tenancy.tenant_scope(one.pk):
        with pytest.raises(tenancy.CrossTenantWriteError):
            Connection(tenant=two, service="mitto").save()
        with pytest.raises(tenancy.CrossTenantWriteError):
            Connection.objects.bulk_create([Connection(tenant=two, service="mitto")])
    with pytest.raises(tenancy.NoTenantInScopeError):
        Connection(service="mitto").save()


def test_the_cache_keeps_tenants_apart_and_needs_one():
    one, two = make_tenant(), make_tenant()
    with tenancy.tenant_scope(one.pk):
        cache.set("greeting", "one's own", 60)
    with tenancy.tenant_scope(two.pk):
        assert cache.get("greeting") is None
    with tenancy.tenant_scope(one.pk):
        assert cache.get("greeting") == "one's own"
    with pytest.raises(tenancy.NoTenantInScopeError):
        cache.get("greeting")
    with tenancy.all_tenants(reason="tests look at every row"), pytest.raises(tenancy.NoTenantInScopeError):
        cache.get("greeting")
