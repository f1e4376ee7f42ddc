"""Consent from every source in one ledger: the newest statement wins, wherever it comes from."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from config.infra import tenancy
from messaging.actions.consent import ConsentError, state_consent
from messaging.actions.contacts import Profile, ensure_contact
from messaging.models import ConsentEntry, ConsentState, Contact
from tests.factories import deliver, drain_all, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def tenant():
    return make_tenant(country="GR")


def shopify_says(tenant, state, at):
    stated = {"state": state, "opt_in_level": "single_opt_in", "consent_updated_at": at.isoformat()}
    body = {"id": 1, "phone": "6900000001", "sms_marketing_consent": stated}
    deliver("customers_marketing_consent/update", {**body, "x": f"{tenant.pk} {at} {state}"}, tenant)
    drain_all()


def we_say(tenant, state, at):
    with tenancy.tenant_scope(tenant.pk):
        contact = ensure_contact(profile=Profile(customer_shopify_id=1, email="", phone="+306900000001"), actor="t")
        state_consent(contact=contact, channel="sms", state=state, source="reply", stated_at=at, actor="test")


def state_of(tenant):
    with tenancy.tenant_scope(tenant.pk):
        return ConsentState.objects.get(channel="sms").state


@pytest.mark.parametrize(
    ("shopify", "ours", "ends"),
    [
        (("subscribed", NOON), ("unsubscribed", NOON + timedelta(seconds=1)), "unsubscribed"),
        (("subscribed", NOON + timedelta(seconds=2)), ("unsubscribed", NOON + timedelta(seconds=1)), "subscribed"),
        (("unsubscribed", NOON + timedelta(seconds=2)), ("subscribed", NOON), "unsubscribed"),
        (("subscribed", NOON), ("unsubscribed", NOON), "unsubscribed"),
        (("unsubscribed", NOON), ("subscribed", NOON), "unsubscribed"),
    ],
)
def test_the_newest_statement_wins_whoever_told_it_and_in_whatever_order(shopify, ours, ends):
    for first_shopify in (True, False):
        tenant = make_tenant(country="GR")
        steps = [(shopify_says, shopify), (we_say, ours)]
        for say, (state, at) in steps if first_shopify else reversed(steps):
            say(tenant, state, at)
        assert state_of(tenant) == ends


def test_the_same_statement_is_written_once(tenant):
    we_say(tenant, "subscribed", NOON)
    we_say(tenant, "subscribed", NOON)
    with tenancy.tenant_scope(tenant.pk):
        entry = ConsentEntry.objects.get()
        assert (entry.address, entry.source) == ("+306900000001", "reply")


def test_an_unknown_channel_or_state_is_refused_in_words(tenant):
    with tenancy.tenant_scope(tenant.pk):
        contact = Contact.objects.create()
        with pytest.raises(ConsentError, match="channel: one of sms, email, whatsapp"):
            state_consent(contact=contact, channel="fax", state="subscribed", source="x", stated_at=NOON, actor="t")
        with pytest.raises(ConsentError, match="state: one of"):
            state_consent(contact=contact, channel="sms", state="perhaps", source="x", stated_at=NOON, actor="t")


def test_whatsapp_consent_of_shopifys_is_in_the_ledger(tenant):
    said = {"state": "SUBSCRIBED", "opt_in_level": None, "updated_at": NOON.isoformat(), "collected_from": "other"}
    body = {"customer_id": 1, "phone_number": "+30 690 000 0001", "whats_app_marketing_consent": said}
    deliver("customers_whats_app_marketing_consent/update", body, tenant)
    drain_all()
    with tenancy.tenant_scope(tenant.pk):
        entry = ConsentEntry.objects.get()
        assert (entry.channel, entry.state, entry.address) == ("whatsapp", "subscribed", "+306900000001")
        assert set(entry.contact.identities.values_list("kind", flat=True)) == {"shopify_customer", "whatsapp"}


def test_a_payload_of_nothing_but_nulls_states_nothing(tenant):
    said = {"state": None, "opt_in_level": None, "updated_at": None, "collected_from": "other"}
    deliver(
        "customers_whats_app_marketing_consent/update",
        {"customer_id": 1, "phone_number": None, "whats_app_marketing_consent": said},
        tenant,
    )
    drain_all()
    with tenancy.tenant_scope(tenant.pk):
        assert ConsentState.objects.get().state == "not_subscribed"


def test_the_lifecycle_goes_forward_alone_in_any_order():
    def order(tenant):
        person = {"id": 1, "email": "a@example.com"}
        body = {"id": 7, "currency": "EUR", "updated_at": "2026-11-02T10:00:00Z", "customer": person}
        deliver("orders/create", {**body, "x": tenant.pk}, tenant)
        drain_all()

    def subscribe(tenant):
        we_say(tenant, "subscribed", NOON)

    def unsubscribe(tenant):
        we_say(tenant, "unsubscribed", NOON)

    for steps, ends in (((subscribe, unsubscribe), "subscriber"), ((order, subscribe, unsubscribe), "customer")):
        for permutation in itertools.permutations(steps):
            tenant = make_tenant(country="GR")
            for step in permutation:
                step(tenant)
            with tenancy.tenant_scope(tenant.pk):
                assert Contact.objects.get().lifecycle == ends


def test_whoever_writes_an_older_lifecycle_back_changes_nothing(tenant):
    with tenancy.tenant_scope(tenant.pk):
        contact = Contact.objects.create(lifecycle="customer")
        contact.lifecycle = "lead"
        contact.save()
        contact.refresh_from_db()
        assert contact.lifecycle == "customer"


def test_a_test_order_makes_nobody_a_customer(tenant):
    person = {"id": 1, "email": "a@example.com"}
    body = {"id": 7, "currency": "EUR", "updated_at": "2026-11-02T10:00:00Z", "customer": person, "test": True}
    deliver("orders/create", body, tenant)
    drain_all()
    with tenancy.tenant_scope(tenant.pk):
        assert Contact.objects.get().lifecycle == "lead"
