"""Contacts: one person one contact, whatever comes first, and two customers are never one."""

from __future__ import annotations

import itertools
import threading

import pytest
from django.db import connection

from config.infra import tenancy
from messaging.actions.contacts import Profile, ensure_contact
from messaging.models import ConsentEntry, Contact, ContactIdentity
from messaging.queries import consent_on
from tests.factories import deliver, drain_all, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant():
    return make_tenant(country="GR")


def customer(number=1, **fields):
    return {
        "id": number,
        "email": "zoe@example.com",
        "phone": "6900000001",
        "first_name": "Zoe",
        "updated_at": "2026-11-02T10:00:00Z",
        **fields,
    }


def sms_consent(number=1, state="subscribed", at="2026-11-02T10:00:00Z", phone="+306900000001"):
    stated = {
        "state": state,
        "opt_in_level": "single_opt_in",
        "consent_updated_at": at,
        "consent_collected_from": "OTHER",
    }
    return {"id": number, "phone": phone, "sms_marketing_consent": stated}


def order(number, **fields):
    return {
        "id": number,
        "currency": "EUR",
        "updated_at": "2026-11-02T10:00:00Z",
        "financial_status": "pending",
        **fields,
    }


def test_customer_consent_and_order_of_one_person_are_one_contact_in_any_order(tenant):
    person = {"id": 1, "email": "zoe@example.com", "first_name": "Zoe"}
    steps = [
        ("customers/create", customer()),
        ("customers_marketing_consent/update", sms_consent()),
        ("orders/create", order(7, email="ZOE@example.com ", customer=person)),
    ]
    for permutation in itertools.permutations(steps):
        tenant = make_tenant(country="GR")
        for topic, body in permutation:
            deliver(topic, {**body, "x": tenant.pk}, tenant)
            drain_all()
        with tenancy.tenant_scope(tenant.pk):
            contact = Contact.objects.get()
            assert (contact.first_name, contact.email, contact.phone) == ("Zoe", "zoe@example.com", "+306900000001")
            assert ContactIdentity.objects.count() == 3
            assert consent_on(contact_id=contact.pk, channel="sms").state == "subscribed"


def test_two_customers_with_one_phone_stay_two_people(tenant, in_scope):
    deliver("customers/create", customer(1, email="one@example.com"), tenant)
    deliver("customers/create", customer(2, email="two@example.com", first_name="Eva"), tenant)
    drain_all()
    assert sorted(Contact.objects.values_list("first_name", flat=True)) == ["Eva", "Zoe"]
    assert ContactIdentity.objects.get(kind="phone").contact.first_name == "Zoe"


def test_a_guest_becomes_the_customer_of_the_same_address(tenant, in_scope):
    deliver("orders/create", order(7, email="zoe@example.com"), tenant)
    drain_all()
    deliver("customers/create", customer(), tenant)
    drain_all()
    assert Contact.objects.get().first_name == "Zoe"


def test_a_guest_who_leaves_nothing_is_nobody(tenant, in_scope):
    deliver("orders/paid", order(7, email="", financial_status="paid"), tenant)
    drain_all()
    assert Contact.objects.count() == 0


def test_the_newest_profile_wins_and_an_older_one_fills_what_is_empty(tenant, in_scope):
    deliver("customers/update", customer(first_name="New", phone=None, updated_at="2026-11-03T00:00:00Z"), tenant)
    deliver("customers/create", customer(first_name="Old", updated_at="2026-11-01T00:00:00Z"), tenant)
    drain_all()
    contact = Contact.objects.get()
    assert (contact.first_name, contact.phone) == ("New", "+306900000001")


def test_the_newest_statement_is_the_consent_and_all_are_kept(tenant, in_scope):
    for at, state in (("2026-11-03T00:00:00Z", "unsubscribed"), ("2026-11-02T00:00:00Z", "subscribed")):
        deliver("customers_marketing_consent/update", sms_consent(at=at, state=state), tenant)
    drain_all()
    contact = Contact.objects.get()
    assert consent_on(contact_id=contact.pk, channel="sms").state == "unsubscribed"
    assert ConsentEntry.objects.count() == 2


def test_a_default_state_never_overrules_what_the_customer_said(tenant, in_scope):
    deliver("customers_marketing_consent/update", sms_consent(), tenant)
    drain_all()
    deliver("customers/update", customer(sms_marketing_consent={"state": "not_subscribed"}), tenant)
    drain_all()
    contact = Contact.objects.get()
    assert consent_on(contact_id=contact.pk, channel="sms").state == "subscribed"


def test_twenty_at_once_make_one_contact_each_identity_once(tenant):
    profiles = [
        Profile(customer_shopify_id=5, email="", phone="+306900000009"),
        Profile(customer_shopify_id=None, email="a@example.com", phone="+306900000009"),
        Profile(customer_shopify_id=5, email="a@example.com", phone=""),
    ]
    failures = []

    def run(profile):
        try:
            with tenancy.tenant_scope(tenant.pk):
                ensure_contact(profile=profile, actor="test")
        except Exception as error:  # reported below
            failures.append(error)
        finally:
            connection.close()

    with tenancy.tenant_scope(tenant.pk):
        ensure_contact(profile=profiles[0], actor="test")
    threads = [threading.Thread(target=run, args=(profiles[n % 3],)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with tenancy.tenant_scope(tenant.pk):
        assert Contact.objects.count() == 1
        assert ContactIdentity.objects.count() == 3


def contact_after(steps):
    """Live through deliveries one by one in a shop of their own; return the contacts' profiles and identities."""
    tenant = make_tenant(country="GR")
    for topic, body in steps:
        deliver(topic, {**body, "x": tenant.pk}, tenant)
        drain_all()
    with tenancy.tenant_scope(tenant.pk):
        contacts = Contact.objects.order_by("email", "phone").values_list("first_name", "email", "phone")
        return list(contacts), list(ContactIdentity.objects.order_by("kind", "value").values_list("kind", "value"))


def assert_every_order_ends_the_same(steps):
    ends = [contact_after(permutation) for permutation in itertools.permutations(steps)]
    assert all(end == ends[0] for end in ends), ends
    return ends[0]


def test_a_phone_that_is_taken_away_and_changed_ends_the_same_in_any_order():
    versions = [
        ("customers/create", customer(phone="6900000001", updated_at="2026-11-01T00:00:00Z")),
        ("customers/update", customer(phone="6900000002", updated_at="2026-11-02T00:00:00Z")),
        ("customers/update", customer(phone=None, updated_at="2026-11-03T00:00:00Z")),
    ]
    ((_, _, phone),), _ = assert_every_order_ends_the_same(versions)
    assert phone == "+306900000002"


def test_two_orders_of_one_customer_end_in_one_profile_in_any_order():
    person = {"id": 7, "email": "a@example.com"}
    orders = [
        ("orders/create", order(1, customer={**person, "first_name": "Old"}, updated_at="2026-11-01T00:00:00Z")),
        ("orders/create", order(2, customer={**person, "first_name": "New"}, updated_at="2026-11-02T00:00:00Z")),
        ("orders/updated", order(1, customer={**person, "first_name": "Old"}, updated_at="2026-11-01T10:00:00Z")),
    ]
    ((name, _, _),), _ = assert_every_order_ends_the_same(orders)
    assert name == "New"


def test_a_phone_that_comes_with_an_update_of_the_order_reaches_the_contact_in_any_order():
    person = {"id": 7, "email": "a@example.com"}
    orders = [
        ("orders/create", order(1, customer=person, updated_at="2026-11-01T00:00:00Z")),
        ("orders/updated", order(1, customer=person, phone="6900000005", updated_at="2026-11-02T00:00:00Z")),
    ]
    ((_, _, phone),), _ = assert_every_order_ends_the_same(orders)
    assert phone == "+306900000005"
