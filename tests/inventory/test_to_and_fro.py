"""A policy that is changed to and fro within one transaction opens nothing, also where the guard asks at once."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from config.infra import tenancy
from inventory.actions.reservations import Request, Wanted, reserve
from inventory.models import ReservationLine, StockLevel, Variant
from tests.factories import make_tenant, stock_variant

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = "SET CONSTRAINTS ALL IMMEDIATE"
GUARD_AT_ONCE = "SET CONSTRAINTS stocklevel_ends_without_overselling, stocklevel_begins_without_overselling IMMEDIATE"


@pytest.fixture(params=["shopify", "shopsync"])
def shop(request):
    tenant = make_tenant(stock_authority=request.param)
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


@pytest.fixture
def promised(shop):
    """A level of five, of which four are promised."""
    variant, (level,) = stock_variant(5)
    promise(variant, 4)
    return variant, level


def promise(variant, quantity):
    request = Request(lines=(Wanted(variant.pk, quantity),))
    key = f"key-{ReservationLine.objects.count()}"
    return reserve(request=request, idempotency_key=key, actor="test", now=timezone.now())[0]


def execute(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def oversell(variant, level, units=9):
    """Promise more than there is, the line and its level in one statement, as the view allows."""
    made = ReservationLine.objects.filter(level=level).latest("pk").reservation_id
    twin = Variant.objects.create(product=variant.product, item=variant.item, shopify_id=level.pk * 1000 + units)
    insert = "INSERT INTO inventory_promise VALUES (%s, %s, %s, %s, %s, false)"
    execute(insert, level.tenant_id, made, twin.pk, level.pk, units)


def policy(variant, value):
    Variant.objects.filter(pk=variant.pk).update(policy=value)


def numbers(level):
    return StockLevel.objects.values_list("available", "held").get(pk=level.pk)


@contextmanager
def refused(*, guard):
    with pytest.raises(IntegrityError, match="oversell"), transaction.atomic():
        execute(guard)
        yield


@pytest.mark.parametrize("guard", [AT_ONCE, GUARD_AT_ONCE, "SELECT 1"])
def test_a_policy_to_and_fro_opens_nothing(promised, guard):
    variant, level = promised
    twin = Variant.objects.create(product=variant.product, item=variant.item, shopify_id=1)
    with refused(guard=guard):
        policy(variant, "continue")
        oversell(variant, level)
        policy(variant, "deny")
    with refused(guard=guard):  # in savepoints
        policy(variant, "continue")
        for units in (1, 2, 3):
            with transaction.atomic():
                oversell(variant, level, units)
        with transaction.atomic():
            policy(variant, "deny")
    with refused(guard=guard):  # taken away instead of promised
        policy(variant, "continue")
        StockLevel.objects.filter(pk=level.pk).update(available=1)
        policy(variant, "deny")
    with refused(guard=guard):  # first untracked, then less
        policy(variant, "continue")
        StockLevel.objects.filter(pk=level.pk).update(available=None)
        oversell(variant, level)
        StockLevel.objects.filter(pk=level.pk).update(available=5)
        policy(variant, "deny")
    for last in ({"removed_at": timezone.now()}, {"item": None}):
        with refused(guard=guard):  # by a twin that is not sold any more, or is of another item
            policy(twin, "continue")
            oversell(variant, level)
            Variant.objects.filter(pk=twin.pk).update(**last)
    with refused(guard=guard):  # by a twin that is gone
        policy(twin, "continue")
        oversell(variant, level)
        Variant.objects.filter(pk=twin.pk).delete()
    assert numbers(level) == (5, 4)


@pytest.mark.parametrize("guard", [AT_ONCE, "SELECT 1"])
def test_what_was_oversold_before_or_is_less_now_stands_in_no_changes_way(promised, guard):
    variant, level = promised
    policy(variant, "continue")
    oversell(variant, level)
    with transaction.atomic():
        execute(guard)
        policy(variant, "deny")  # it was oversold before
    assert numbers(level) == (5, 13)
    with transaction.atomic():
        execute(guard)
        policy(variant, "continue")
        StockLevel.objects.filter(pk=level.pk).update(available=7)
        policy(variant, "deny")  # less is short than before
    assert numbers(level) == (7, 13)
    with transaction.atomic():  # a count is believed, whatever the policy
        execute(guard)
        policy(variant, "continue")
        said = {"mirrored_available": 2, "mirrored_at": timezone.now()}
        StockLevel.objects.filter(pk=level.pk).update(available=2, on_hand=F("on_hand") - 5, **said)
        policy(variant, "deny")
    assert numbers(level) == (2, 13)


@pytest.mark.parametrize("guard", [AT_ONCE, "SELECT 1"])
def test_a_policy_that_stays_may_change_with_what_is_sold_by_it(promised, guard):
    variant, level = promised
    with transaction.atomic():
        execute(guard)
        policy(variant, "continue")
        oversell(variant, level)
    with transaction.atomic():
        execute(guard)
        policy(variant, "deny")
        promise(stock_variant(3)[0], 3)
        StockLevel.objects.filter(pk=level.pk).update(available=20)
        oversell(variant, level, 7)  # there are so many now
    assert numbers(level) == (20, 20)
