"""Segments: each condition finds whom it says, nested as deep as it goes, of one tenant; bad ones name the place."""

from __future__ import annotations

import itertools
import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.infra import tenancy
from config.local.processes import wait_until
from messaging.actions.segments import (
    add_members,
    compiled,
    count_contacts,
    delete_segment,
    remove_members,
    sample_contacts,
    save_segment,
)
from messaging.models import ConsentEntry, Contact, ContactIdentity, Message, Segment
from messaging.segments import SegmentError, compile_segment
from orders.models import Order
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db
NUMBERS = itertools.count(1)


@pytest.fixture
def shop(db):
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def person(name, *, identity=None, consent=None, **fields):
    contact = Contact.objects.create(first_name=name, **fields)
    for kind, value in (identity or {}).items():
        ContactIdentity.objects.create(contact=contact, kind=kind, value=value)
    for channel, state in (consent or {}).items():
        ConsentEntry.objects.create(contact=contact, channel=channel, state=state, source="test", source_version="1")
    return contact


def order(amount, *, days=0, **fields):
    values = {
        "shopify_id": next(NUMBERS),
        "currency": "EUR",
        "total_amount": Decimal(amount),
        "source_version": "",
        "financial_status": "paid",
    }
    return Order.objects.create(placed_at=timezone.now() - timedelta(days=days), **values | fields)


def found(definition):
    return sorted(contact.first_name for contact in sample_contacts(compile_segment(definition), limit=100))


def field(name, op, value=None, **more):
    return {"field": name, "op": op, **({} if value is None else {"value": value}), **more}


@pytest.fixture
def people(shop):
    person("ada", country="GR", tags=["vip", "new"], attributes={"size": "L", "points": 12, "club": True},
           identity={"shopify_customer": "7", "email": "ada@example.com"}, consent={"sms": "subscribed"})  # fmt: skip
    person("bob", country="GR", email="bob@example.com", identity={"email": "bob@example.com"},
           consent={"sms": "unsubscribed", "email": "subscribed"}, attributes={"points": "many"})  # fmt: skip
    person("cyd", country="US", region="CA", phone="+15145550123", identity={"phone": "+15145550123"}, tags=["vip"])
    person("dee")
    order(60, customer_shopify_id=7, email="bob@example.com")  # ada's by her customer id, whatever address it has
    order(50, days=100, customer_shopify_id=7)
    order(30, email="bob@example.com")
    order(500, phone="+15145550123", is_test=True)
    order(500, phone="+15145550123", cancelled_at=timezone.now())
    with tenancy.tenant_scope(make_tenant().pk):
        person("eve", country="GR", tags=["vip"], identity={"email": "bob@example.com"}, consent={"sms": "subscribed"})
        order(900, email="bob@example.com")


CASES = [
    ({"all": []}, "ada bob cyd dee"),
    ({"any": []}, ""),
    (field("contact.country", "is", "GR"), "ada bob"),
    (field("contact.country", "is_not", "GR"), "cyd dee"),
    (field("contact.country", "in", ["GR", "US"]), "ada bob cyd"),
    (field("contact.country", "not_in", ["GR", "US"]), "dee"),
    (field("contact.first_name", "starts_with", "A"), "ada"),
    (field("contact.email", "contains", "BOB@"), "bob"),
    (field("contact.first_name", "contains", "%"), ""),
    (field("contact.country", "is_unknown"), "dee"),
    (field("contact.tags", "has", "vip"), "ada cyd"),
    (field("contact.tags", "has_not", "vip"), "bob dee"),
    (field("contact.attributes.size", "is", "L"), "ada"),
    (field("contact.attributes.size", "is_not", "L"), "bob cyd dee"),
    (field("contact.attributes.club", "is", value=True), "ada"),
    (field("contact.attributes.points", "at_least", 12), "ada"),
    (field("contact.attributes.points", "is_known"), "ada bob"),
    (field("contact.created_at", "within_days", 1), "ada bob cyd dee"),
    (field("contact.created_at", "before", "2020-01-01"), ""),
    (field("consent.sms", "is", "subscribed"), "ada"),
    (field("consent.sms", "is_not", "subscribed"), "bob cyd dee"),
    (field("consent.email", "is", "unknown"), "ada cyd dee"),
    (field("orders.count", "at_least", 1), "ada bob"),
    (field("orders.count", "is", 0), "cyd dee"),
    (field("orders.total", "at_least", "110"), "ada"),
    (field("orders.total", "at_least", "60", within_days=90), "ada"),
    (field("orders.count", "is", 1, within_days=90), "ada bob"),
    (field("orders.average", "at_most", 40), "bob cyd dee"),
    (field("orders.first_at", "not_within_days", 90), "ada cyd dee"),
    (field("orders.last_at", "within_days", 1), "ada bob"),
    (field("orders.last_at", "is_unknown"), "cyd dee"),
    (field("engagement.delivered", "is", 0), "ada bob cyd dee"),
    (field("engagement.clicked.last_at", "is_known"), ""),
    ({"not": field("contact.country", "is", "GR")}, "cyd dee"),
    ({"not": {"not": field("orders.last_at", "within_days", 1)}}, "ada bob"),
    ({"not": field("orders.last_at", "within_days", 1)}, "cyd dee"),
    ({"all": [field("contact.country", "is", "GR"), {"any": [field("contact.tags", "has", "vip"),
              field("orders.total", "at_most", 30)]}]}, "ada bob"),
]  # fmt: skip


def test_each_condition_finds_whom_it_says(people):
    for definition, expected in CASES:
        assert found(definition) == expected.split(), definition
        assert count_contacts(compile_segment(definition)) == len(expected.split())


def test_facts_of_engagement_count_by_channel_and_time(people):
    ada = Contact.objects.get(first_name="ada")
    for days, channel in ((1, "sms"), (40, "sms"), (1, "email")):
        moment = timezone.now() - timedelta(days=days)
        Message.objects.create(
            contact=ada, channel=channel, status="done", outcome="delivered", delivered_at=moment, sent_at=moment
        )
    assert found(field("engagement.delivered", "is", 3)) == ["ada"]
    assert found(field("engagement.delivered", "is", 1, within_days=30, channel="sms")) == ["ada"]
    assert found(field("engagement.sent.last_at", "within_days", 2, channel="email")) == ["ada"]


def test_a_fact_is_gathered_once_however_often_it_is_asked_for():
    asked = [field("orders.total", "at_least", 1), field("orders.total", "at_most", 9), field("orders.count", "is", 2)]
    assert compile_segment({"all": asked}).sql.count("MATERIALIZED") == 2


@pytest.mark.parametrize(
    ("definition", "place"),
    [
        ([], "the segment"),
        ({}, "field"),
        ({"all": {}}, "all: a list"),
        ({"all": [], "any": []}, "any: not known here"),
        ({"all": [{"any": [7]}]}, r"all\[0\].any\[0\]: an object"),
        (field("contact.shoe", "is", "L"), "field: a contact has no 'shoe'"),
        (field("nothing", "is", "L"), "field: one of all"),
        (field("contact.country", "like", "L"), "op: one of"),
        (field("contact.country", "is", 5), "value: a text"),
        (field("contact.country", "is", "a\0"), "value: a text"),
        (field("contact.country", "is", "\ud800"), "value: a text"),
        *(
            (field(f"contact.attributes.{name}", "is_known"), "field: the name of an attribute is needed")
            for name in ("", "a\ud800", "\udfff", "a\0", "x" * 501)
        ),
        *(
            (field("orders.total", "at_least", text), "value: a number")
            for text in ("1e-20000", "0e99999", "-inf", "1e18")
        ),
        (field("contact.country", "in", []), "value: a list"),
        (field("contact.country", "is", "GR", extra=1), "extra: not known here"),
        (field("contact.created_at", "before", "tomorrow"), "value: a date"),
        (field("contact.created_at", "before", "9999-12-31T23:59:59-15:59"), "value: a date"),
        (field("contact.created_at", "before", "0001-01-01T00:00:00+15:59"), "value: a date"),
        (field("orders.total", "at_least", "NaN"), "value: a number"),
        (field("orders.total", "at_least", value=True), "value: a number"),
        (field("orders.total", "at_least", 1, within_days=0), "within_days: a number of days"),
        (field("orders.margin", "at_least", 1), "field: of orders"),
        (field("consent.fax", "is", "subscribed"), "field: consent is kept for"),
        (field("list", "in", "12"), "value: the id"),
        *(
            (field("contact.email", "is_known", value), "value: it is not asked for, and can't be kept")
            for value in ("\0", "\ud800", {"\udfff": 1}, [["\0"]], float("nan"))
        ),
        (field("engagement.opened", "is", 1), "field: engagement is"),
    ],
)
def test_a_bad_description_names_the_place(definition, place):
    with pytest.raises(SegmentError, match=place):
        compile_segment(definition)


@pytest.mark.parametrize("number", [0, -1, 10**18 - 1, 0.1 + 0.2, "12345.00000000000000000001", "-1e-20"])
def test_any_number_that_can_be_is_asked_for(shop, number):
    person("ada", attributes={"points": 10**15})
    for name in ("orders.total", "contact.attributes.points"):
        assert found({"any": [field(name, "at_least", number), field(name, "at_most", number)]}) == ["ada"]


@pytest.mark.parametrize("offset", ["+20:00", "-23:59", "+01:00:00.5", "+01:00:30"])
def test_a_time_of_any_offset_that_is_taken_can_be_asked_for(people, offset):
    assert found(field("contact.created_at", "after", f"2020-11-28T08:00:00{offset}")) == ["ada", "bob", "cyd", "dee"]
    assert found(field("orders.last_at", "before", f"2020-11-28T08:00:00{offset}")) == []


@pytest.mark.parametrize("number", [1e-5, 1e-7, -2.5e-9, 5e-324, -0.0, 1 / 3, 0.1 + 0.2, 1e14, 10**15 - 1, 12, 12.0])
def test_an_attribute_is_the_number_that_it_was_written_as(shop, number):
    person("ada", attributes={"rate": number})
    assert found(field("contact.attributes.rate", "is", number)) == ["ada"]
    assert found(field("contact.attributes.rate", "is_not", number)) == []


def test_too_deep_or_too_many_conditions_are_refused():
    deep = field("contact.country", "is", "GR")
    for _ in range(9):
        deep = {"not": deep}
    with pytest.raises(SegmentError, match="nested"):
        compile_segment(deep)
    with pytest.raises(SegmentError, match="more than 100"):
        compile_segment({"all": [field("contact.country", "is", "GR")] * 101})


@pytest.mark.django_db(transaction=True)
def test_lists_are_filled_with_the_tenants_own_contacts_and_stay_lists(people):
    ada, bob = (Contact.objects.get(first_name=name) for name in ("ada", "bob"))
    with tenancy.all_tenants(reason="tests look at every row"):
        eve = Contact.objects.get(first_name="eve")
    segment = save_segment(segment_id=None, name=" friends ", definition=None, actor="test")
    assert add_members(segment_id=segment.pk, contact_ids=[ada.pk, bob.pk, eve.pk, ada.pk], actor="test") == 2
    assert add_members(segment_id=segment.pk, contact_ids=[ada.pk], actor="test") == 0
    assert count_contacts(compiled(segment)) == 2
    assert found({"not": field("list", "in", segment.pk)}) == ["cyd", "dee"]
    assert remove_members(segment_id=segment.pk, contact_ids=[ada.pk, eve.pk], actor="test") == 1
    with pytest.raises(SegmentError, match="a list stays a list"):
        save_segment(segment_id=segment.pk, name="friends", definition={"all": []}, actor="test")
    described = save_segment(segment_id=None, name="all", definition={"all": []}, actor="test")
    with pytest.raises(SegmentError, match="It is described"):
        add_members(segment_id=described.pk, contact_ids=[ada.pk], actor="test")
    with pytest.raises(SegmentError, match="already"):
        save_segment(segment_id=described.pk, name="friends", definition={"all": []}, actor="test")
    with tenancy.tenant_scope(make_tenant().pk), pytest.raises(Segment.DoesNotExist):
        save_segment(segment_id=segment.pk, name="stolen", definition=None, actor="test")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("op", ["in", "not_in"])
def test_a_list_stays_while_a_description_names_it(people, op):
    listed = save_segment(segment_id=None, name="do not write to", definition=None, actor="test")
    add_members(segment_id=listed.pk, contact_ids=[Contact.objects.get(first_name="ada").pk], actor="test")
    definition = {"all": [{"not": {"any": [field("list", op, listed.pk)]}}]}
    described = save_segment(segment_id=None, name="all but those", definition=definition, actor="test")
    with pytest.raises(SegmentError, match="It is used by descriptions of segments: 'all but those'"):
        delete_segment(segment_id=listed.pk, actor="test")
    save_segment(segment_id=described.pk, name="everybody", definition={"all": []}, actor="test")
    delete_segment(segment_id=listed.pk, actor="test")
    for wanted in (listed.pk, described.pk):
        with pytest.raises(SegmentError, match=f"definition: there is no static list {wanted}"):
            save_segment(segment_id=None, name="late", definition=field("list", op, wanted), actor="test")


@pytest.mark.django_db(transaction=True)
def test_of_a_list_taken_away_and_one_who_names_it_at_once_one_is_refused(shop):
    listed = save_segment(segment_id=None, name="list", definition=None, actor="test")
    outcomes, is_named = [], threading.Event()

    def name_it():
        with tenancy.tenant_scope(shop.pk), transaction.atomic():
            save_segment(segment_id=None, name="x", definition=field("list", "not_in", listed.pk), actor="test")
            is_named.set()
            wait_until(is_waited_for, 10, "the other one to wait for the lock")
        connection.close()

    def take_away():
        is_named.wait(10)
        with tenancy.tenant_scope(shop.pk):
            try:
                delete_segment(segment_id=listed.pk, actor="test")
            except SegmentError as error:
                outcomes.append(str(error))
        connection.close()

    threads = [threading.Thread(target=one) for one in (name_it, take_away)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["It is used by descriptions of segments: 'x'. Only what nothing uses can be taken away."]


def is_waited_for():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND locktype IN ('tuple', 'transactionid'))"
        )
        return cursor.fetchone()[0]


LEAVES = st.sampled_from([definition for definition, _ in CASES if "field" in definition])
TREES = st.recursive(
    LEAVES,
    lambda children: st.one_of(
        st.builds(lambda parts: {"all": parts}, st.lists(children, max_size=3)),
        st.builds(lambda parts: {"any": parts}, st.lists(children, max_size=3)),
        st.builds(lambda part: {"not": part}, children),
    ),
    max_leaves=8,
)
EXPECTED = {str(definition): set(names.split()) for definition, names in CASES}


def expected(node):
    everybody = {"ada", "bob", "cyd", "dee"}
    if "all" in node:
        return set.intersection(everybody, *map(expected, node["all"]))
    if "any" in node:
        return set().union(*map(expected, node["any"]))
    return everybody - expected(node["not"]) if "not" in node else EXPECTED[str(node)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(tree=TREES)
def test_conditions_nest_as_sets_do(people, tree):
    assert set(found(tree)) == expected(tree)
