"""Suppressions by keyed digest, and the state of consent that the ledger's trigger keeps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection

from audit.models import AuditEvent
from config.infra import tenancy
from messaging.actions.suppressions import (
    address_key,
    key_pads,
    lift_suppression,
    normalise_address,
    suppress,
    suppressed_of,
)
from messaging.models import ConsentEntry, ConsentState, Contact, Suppression
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def shop(db):
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def stop(*addresses, reason="stop"):
    return suppress(channel="sms", addresses=addresses, reason=reason, source="inbound:1", actor="test")


def test_an_address_is_suppressed_once_per_channel_and_tenant_until_it_is_lifted(shop):
    assert stop("+306912345678", "+306912345679", "+306912345678") == 2
    assert stop("+306912345678", reason="manual") == 0
    asked = ["+306912345678", "+306912345670"]
    assert suppressed_of("sms", asked) == {"+306912345678"}
    assert suppressed_of("whatsapp", asked) == set()
    with tenancy.tenant_scope(make_tenant().pk):
        assert suppressed_of("sms", asked) == set()
    lift = {"channel": "sms", "address": "+306912345678", "actor": "test", "now": NOW}
    assert not lift_suppression(**lift, reasons=["bounce"])
    assert lift_suppression(**lift)
    assert not lift_suppression(**lift)
    assert suppressed_of("sms", asked) == set()
    assert stop("+306912345678") == 1
    assert Suppression.objects.filter(address="+306912345678").count() == 2
    names = AuditEvent.objects.filter(name__contains="suppress").order_by("pk").values_list("name", flat=True)
    assert list(names) == ["addresses.suppressed", "address.unsuppressed", "addresses.suppressed"]
    trail = str(list(AuditEvent.objects.values_list("data", flat=True)))
    assert "+3069" not in trail  # the trail holds no personal data


def test_it_survives_the_erasure_of_the_address(shop):
    stop("+306912345678")
    Suppression.objects.update(address="")
    assert suppressed_of("sms", ["+306912345678"]) == {"+306912345678"}
    assert stop("+306912345678") == 0


@pytest.mark.parametrize("address", ["a@example.com", "+306912345678", "ünïcode@exämple.com", ""])
def test_sql_makes_the_same_key(shop, address):
    with connection.cursor() as cursor:
        cursor.execute("SELECT messaging_address_key(%s, %s, 'email', %s)", [*key_pads(), address])
        assert bytes(cursor.fetchone()[0]) == address_key("email", address)


def test_addresses_are_written_as_contacts_have_them():
    assert normalise_address("email", " A@Example.com ") == "a@example.com"
    assert normalise_address("sms", "6912345678", country="GR") == "+306912345678"
    assert normalise_address("sms", "nonsense") == ""


def test_a_suppression_holds_for_every_spelling_of_an_address(shop):
    written = normalise_address("email", "Info@Müller.de")
    suppress(channel="email", addresses=[written], reason="complaint", source="t", actor="t")
    other = normalise_address("email", "info@xn--mller-kva.de")
    assert suppressed_of("email", [other]) == {other}
    assert [normalise_address("email", one) for one in ("<info@müller.de>", "x@evil.co,info@müller.de")] == ["", ""]


def test_the_state_of_consent_is_its_newest_statement_in_any_order(shop):
    contact = Contact.objects.create(phone="+306912345678")
    for number, state in ((2, "unsubscribed"), (1, "subscribed"), (3, "subscribed")):
        ConsentEntry.objects.create(
            contact=contact, channel="sms", state=state, source="test", source_version=str(number), address=str(number)
        )
        newest = max(ConsentEntry.objects.all(), key=lambda entry: entry.source_version)
        row = ConsentState.objects.get()
        assert (row.state, row.address, row.entry_id) == (newest.state, newest.address, newest.pk)
