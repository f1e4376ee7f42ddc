"""No tenant sees another's data: by query, by write, by relation, by task, by cache, by thread."""

from __future__ import annotations

import threading

import pytest
from celery import shared_task
from django.core.cache import cache
from django.db import connection

from config.infra import tenancy
from config.infra.tasks import SystemTask, TenantRequiredError, TenantTask
from config.infra.tenancy import CrossTenantWriteError, NoTenantInScopeError
from messaging.models import Contact, ContactIdentity
from orders.models import Order, OrderLine
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ours():
    return make_tenant()


@pytest.fixture
def theirs():
    return make_tenant()


def make_order(tenant, shopify_id=1):
    with tenancy.tenant_scope(tenant.pk):
        return Order.objects.create(shopify_id=shopify_id, currency="EUR", source_version="1")


def test_a_query_sees_the_tenant_in_scope_only(ours, theirs):
    mine, other = make_order(ours), make_order(theirs)
    with tenancy.tenant_scope(ours.pk):
        assert list(Order.objects.all()) == [mine]
        assert not Order.objects.filter(pk=other.pk).exists()
        assert Order.objects.filter(pk=other.pk).update(name="taken") == 0
        assert Order.objects.filter(pk=other.pk).delete()[0] == 0
    other.name = "taken"
    with tenancy.tenant_scope(ours.pk), pytest.raises(CrossTenantWriteError):
        other.save()


def test_relations_see_the_tenant_in_scope_only(ours, theirs):
    order = make_order(ours)
    with tenancy.tenant_scope(ours.pk):
        OrderLine.objects.create(order=order, shopify_id=1, position=0, quantity=1, current_quantity=1)
    with tenancy.tenant_scope(theirs.pk):
        assert order.lines.count() == 0
    with pytest.raises(NoTenantInScopeError):
        order.lines.count()


def test_a_row_of_another_tenant_can_not_be_written(ours, theirs):
    with tenancy.tenant_scope(ours.pk):
        with pytest.raises(CrossTenantWriteError):
            Contact(tenant=theirs).save()
        with pytest.raises(CrossTenantWriteError):
            Contact.objects.bulk_create([Contact(tenant=theirs)])
        contact = Contact.objects.create()
    assert contact.tenant_id == ours.pk


def test_all_tenants_needs_a_reason_and_a_tenant_on_what_it_writes(ours):
    with pytest.raises(ValueError, match="reason"), tenancy.all_tenants(reason=""):
        pass
    with tenancy.all_tenants(reason="test"), pytest.raises(NoTenantInScopeError):
        ContactIdentity(kind="email", value="x").save()


def test_scopes_nest_and_end(ours, theirs):
    with tenancy.tenant_scope(ours.pk):
        with tenancy.tenant_scope(theirs.pk):
            assert tenancy.current_tenant_id() == theirs.pk
        with tenancy.no_scope(), pytest.raises(NoTenantInScopeError):
            tenancy.current_tenant_id()
        assert tenancy.current_tenant_id() == ours.pk
    assert tenancy.tenant_id_or_none() is None


def test_a_scope_does_not_leak_into_another_thread(ours):
    seen = []

    def look():
        try:
            seen.append(Order.objects.count())
        except NoTenantInScopeError as error:
            seen.append(error)
        finally:
            connection.close()

    with tenancy.tenant_scope(ours.pk):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert isinstance(seen[0], NoTenantInScopeError)


@shared_task(base=TenantTask, name="tests.count_orders")
def count_orders(*, tenant_id: int) -> int:
    return Order.objects.count()


@shared_task(base=SystemTask, name="tests.look_around")
def look_around() -> int | None:
    return tenancy.tenant_id_or_none()


def test_a_tenant_task_refuses_to_run_without_a_tenant(ours):
    make_order(ours)
    assert count_orders(tenant_id=ours.pk) == 1
    for nothing in ({}, {"tenant_id": None}, {"tenant_id": "1"}, {"tenant_id": True}):
        with pytest.raises(TenantRequiredError):
            count_orders(**nothing)


def test_a_system_task_starts_with_no_tenant(ours):
    with tenancy.tenant_scope(ours.pk):
        assert look_around() is None


def test_the_cache_keeps_tenants_apart_and_refuses_without_one(ours, theirs):
    with tenancy.tenant_scope(ours.pk):
        cache.set("report", "ours", 30)
    with tenancy.tenant_scope(theirs.pk):
        assert cache.get("report") is None
        cache.set("report", "theirs", 30)
    with tenancy.tenant_scope(ours.pk):
        assert cache.get("report") == "ours"
        cache.delete("report")
    with pytest.raises(NoTenantInScopeError):
        cache.get("report")
    with tenancy.tenant_scope(theirs.pk):
        cache.delete("report")


def test_one_tenants_failure_keeps_no_other_from_its_turn():
    served = []

    def serve() -> int:
        tenant_id = tenancy.current_tenant_id()
        if tenant_id == 2:
            raise ValueError("the second can't")
        served.append(tenant_id)
        return 10

    with pytest.raises(ExceptionGroup, match="1 tenants failed, the others had their turn") as caught:
        tenancy.for_each([1, 2, 3], serve)
    assert served == [1, 3]
    assert caught.value.exceptions[0].__notes__ == ["of tenant 2"]
    assert tenancy.for_each([1, 3], serve) == 20
    assert tenancy.tenant_id_or_none() is None
