"""Whoever changes a level, by whatever way, leaves its movement; the ledger itself can't be changed."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config.infra import tenancy
from inventory.actions.levels import explain_movements
from inventory.models import InventoryItem, Location, StockLevel, StockMovement
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def level():
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        item = InventoryItem.objects.create(shopify_id=1)
        location = Location.objects.create(shopify_id=1)
        yield StockLevel.objects.create(item=item, location=location, source_version="")


def ledger():
    return list(
        StockMovement.objects.order_by("sequence").values_list("sequence", "before", "after", "delta", "reason")
    )


def test_an_explained_change_says_why(level):
    with transaction.atomic():
        explain_movements(reason="snapshot", reference="webhook_event:1", actor="shopify")
        StockLevel.objects.filter(pk=level.pk).update(available=5)
    movement = StockMovement.objects.get()
    assert (movement.reason, movement.reference, movement.actor) == ("snapshot", "webhook_event:1", "shopify")


def test_an_explanation_ends_with_its_transaction(level):
    with transaction.atomic():
        explain_movements(reason="snapshot", reference="", actor="shopify")
    StockLevel.objects.filter(pk=level.pk).update(available=5)
    assert ledger() == [(1, None, 5, 5, "unexplained")]


def test_raw_sql_leaves_its_movement_too(level):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE inventory_stocklevel SET available = 9, movement_count = 77 WHERE id = %s", [level.pk])
        cursor.execute("UPDATE inventory_stocklevel SET available = 9 WHERE id = %s", [level.pk])
        cursor.execute(
            "UPDATE inventory_stocklevel SET available = NULL, mirrored_at = now() WHERE id = %s", [level.pk]
        )
    assert ledger() == [(1, None, 9, 9, "unexplained"), (2, 9, None, -9, "unexplained")]


def test_the_ledger_can_not_be_changed(level):
    StockLevel.objects.filter(pk=level.pk).update(available=5)
    with pytest.raises(DatabaseError, match="append-only"):
        StockMovement.objects.all().update(delta=0)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM inventory_stockmovement")


def test_an_insert_that_loses_to_a_conflict_leaves_no_movement(level):
    StockLevel.objects.bulk_create(
        [
            StockLevel(
                tenant_id=level.tenant_id, item=level.item, location=level.location, available=3, source_version=""
            )
        ],
        ignore_conflicts=True,
    )
    assert ledger() == []


@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(st.none() | st.integers(-(10**6), 10**6), max_size=8))
def test_the_ledger_always_adds_up_to_the_level(level, values):
    for value in values:  # below zero and untracked, as Shopify says
        mirrored = {
            "mirrored_available": value,
            "mirrored_at": timezone.now(),
        }
        StockLevel.objects.filter(pk=level.pk).update(available=value, **mirrored)
    level.refresh_from_db()
    rows = ledger()
    assert sum(delta for _, _, _, delta, _ in rows) == (level.available or 0)
    assert [sequence for sequence, *_ in rows] == list(range(1, level.movement_count + 1))
