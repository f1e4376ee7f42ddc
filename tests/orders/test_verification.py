"""The proof finds what is wrong: a level that was changed behind the triggers' back, a ledger with a hole."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.actions.reservations import Request, Wanted, reserve
from inventory.queries import find_drift
from shopsync.models import Alert
from tests.factories import behind_the_triggers, make_tenant, stock_variant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.drifts]


@pytest.fixture
def level():
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        variant, (level,) = stock_variant(5)
        reserve(request=Request(lines=(Wanted(variant.pk, 2),)), idempotency_key="k", actor="test", now=timezone.now())
        yield level


def problems(level):
    return [(drift.state, drift.level, drift.ledger) for drift in find_drift(tenant_id=level.tenant_id)]


def test_what_was_moved_properly_is_proved(level, capsys):
    assert problems(level) == []
    call_command("verify_stock")
    assert capsys.readouterr().out == "1 levels of 1 tenants are what their ledgers say\n"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE inventory_stocklevel SET available = 7", [("available", 7, 5)]),
        ("UPDATE inventory_stocklevel SET available = NULL", [("available", None, 5)]),
        ("UPDATE inventory_stocklevel SET damaged = 1", [("damaged", 1, None)]),
        ("UPDATE inventory_stocklevel SET held = 3", [("held", 3, 2), ("held", 3, 2)]),
        (
            "UPDATE inventory_reservationline SET held = 1",
            [("held", 1, 2), ("held", 2, 1), ("promised", 2, 1)],
        ),
        ("UPDATE inventory_stocklevel SET promised = 1", [("promised", 1, 2)]),
        ("DELETE FROM inventory_stockmovement WHERE state = 'on_hand'", [("", 4, 3), ("on_hand", 5, None)]),
        ("UPDATE inventory_stockmovement SET delta = 6, after = 6 WHERE state = 'available'", [("available", 5, 6)]),
    ],
)
def test_what_changed_behind_the_triggers_is_found(level, change, found):
    with behind_the_triggers() as cursor:
        cursor.execute(change)
    assert problems(level) == found
    with pytest.raises(CommandError, match="differences in 1 levels"):
        call_command("verify_stock")
    assert AuditEvent.objects.filter(name="stock.drifted").exists()
    assert Alert.objects.get(kind="stock.drifted").severity == "critical"


def test_a_tenant_that_is_not_there_is_said(level):
    with pytest.raises(CommandError, match=r"No tenant nobody\.example"):
        call_command("verify_stock", "--tenant", "nobody.example")
