"""Tracking: any order of the carrier's news, each of them twice, ends in the same rows; the door lets in its own."""

from __future__ import annotations

import itertools
import json
import random
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from audit.models import AuditEvent
from config.infra import tenancy
from orders.actions.labels import buy_label, void_shipment
from orders.actions.shipments import open_units
from orders.carriers.events import HEADER, is_signed, read_envelope, read_tracker, sign
from orders.carriers.sandbox_state import Hook
from orders.carriers.tracking import RANKS, Said, standing_of
from orders.models import OrderLine, ShipmentCall, TrackingEvent
from orders.tasks import drain_shipping
from shopsync.models import Alert, RefusedDelivery, WebhookEvent
from shopsync.shopify import UnreadablePayloadError
from shopsync.tasks import drain_webhooks
from tests.factories import make_tenant
from tests.orders.shipping import SECRET, make_order, shipping_desk

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


# Pure: where a parcel stands

sayings = st.lists(
    st.builds(
        Said,
        st.integers(0, 5).map(lambda hours: START + timedelta(hours=hours)),
        st.sampled_from([*RANKS, "a_new_word"]),
        st.sampled_from(["", "arrived_at_facility"]),
    ),
    max_size=8,
)


@given(sayings, st.randoms())
def test_the_order_and_the_number_of_sayings_do_not_matter(said, chance: random.Random):
    other = said + said[:3]
    chance.shuffle(other)
    assert standing_of(said) == standing_of(other)


@given(sayings)
def test_delivered_is_final_unless_it_came_back(said):
    standing = standing_of(said)
    if any(one.status == "delivered" for one in said):
        assert standing.newest.status in {"delivered", "return_to_sender"}
        assert standing.left_at is not None
    assert (standing is None) == (said == [])


def test_the_newest_word_counts():
    said = [Said(START, "in_transit"), Said(START + timedelta(hours=1), "out_for_delivery"), Said(START, "pre_transit")]
    standing = standing_of(said)
    assert (standing.newest.status, standing.left_at) == ("out_for_delivery", START)
    assert standing_of([Said(START, "pre_transit")]).left_at is None


# Pure: the signature and the body


def test_the_signature_is_over_the_bytes_with_the_secret_in_nfkd():
    body = b'{"id": "evt_1"}'
    assert sign(body=body, secret="ﬁx") == sign(body=body, secret="fix")
    assert is_signed(body=body, signature=sign(body=body, secret="ﬁx"), secret="fix")
    assert not is_signed(body=body + b" ", signature=sign(body=body, secret="fix"), secret="fix")
    for signature in ("", "hmac-sha256-hex=", "é", sign(body=body, secret="other"), sign(body=body, secret="fix")[16:]):
        assert not is_signed(body=body, signature=signature, secret="fix")
    assert not is_signed(body=body, signature=sign(body=body, secret=""), secret="")


@pytest.mark.parametrize(
    ("result", "field"),
    [
        (None, "result:"),
        ([], "result:"),
        ({}, "result:"),
        ({"shipment_id": "shp_1", "status": "delivered"}, "result.updated_at:"),
        (
            {"shipment_id": "shp_1", "tracking_details": [{"status": "delivered"}]},
            "result.tracking_details[0].datetime:",
        ),
        (
            {"shipment_id": "shp_1", "tracking_details": [{"datetime": "2026-11-02"}]},
            "result.tracking_details[0].status:",
        ),
        ({"shipment_id": "shp_1", "tracking_details": [None]}, "result.tracking_details[0].status:"),
    ],
)
def test_a_tracker_that_can_not_be_read_names_the_field(result, field):
    body = json.dumps({"id": "evt_1", "description": "tracker.updated", "result": result}).encode()
    with pytest.raises(UnreadablePayloadError) as refused:
        read_tracker(body)
    assert str(refused.value).startswith(field)


def test_texts_are_cut_and_cleaned_for_the_database():
    detail = {"datetime": "2026-11-02T08:00:00+02:00", "status": "in_transit", "message": "a\x00b\ud800" + "x" * 999}
    body = json.dumps({"id": "e", "description": "d", "result": {"shipment_id": "s", "tracking_details": [detail]}})
    (said,) = read_tracker(body.encode()).sayings
    assert (said.message[:4], len(said.message)) == ("a\ufffdb\ufffd", 300)
    assert said.happened_at == datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
    assert read_envelope(b'{"id": "e", "description": "d", "mode": "test"}').is_test


# Through the door


@pytest.fixture
def parcel(desk):
    return labelled(desk)


def labelled(desk):
    shipment = desk.rated()
    buy_label(shipment_id=shipment.pk, rate_id=shipment.rates[0]["id"], actor="test")
    desk.work()
    shipment.refresh_from_db()
    return shipment


def post(desk, body, *, signature=None, token=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {HEADER: sign(body=raw, secret=SECRET) if signature is None else signature}
    path = f"/webhooks/easypost/{token or desk.connection.token}"
    with tenancy.no_scope():
        return Client().post(
            path, raw, content_type="application/json", headers={k: v for k, v in headers.items() if v}
        )


def event(topic, result, **fields):
    return {"id": f"evt_{uuid.uuid4().hex}", "description": topic, "object": "Event", "result": result, **fields}


def travel(desk, parcel, steps):
    return event("tracker.updated", desk.sandbox.state.tracker(desk.sandbox.state.find(parcel.remote_id), steps))


def take_all(desk, events):
    for one in events:
        assert post(desk, one).status_code == 200
    with tenancy.no_scope():
        drain_webhooks()


def rows_of(parcel):
    parcel.refresh_from_db()
    said = TrackingEvent.objects.filter(shipment=parcel).order_by("happened_at", "status")
    return (
        (parcel.status, parcel.tracking_status, parcel.tracked_at, parcel.shipped_at),
        list(said.values_list("happened_at", "status", "detail", "message")),
        list(OrderLine.objects.filter(order=parcel.order_id).order_by("position").values_list("sent_quantity")),
    )


@pytest.mark.django_db(transaction=True)
def test_each_order_of_the_news_ends_in_the_same_rows(desk):
    seen = set()
    for order in itertools.permutations((1, 2, 3, 4)):
        desk.order = make_order()
        parcel = labelled(desk)
        take_all(desk, [travel(desk, parcel, steps) for steps in (*order, order[0])])
        seen.add(repr(rows_of(parcel)))
    (only,) = seen
    assert "'delivered', 'delivered'" in only
    assert "(3,), (2,)" in only


@pytest.mark.django_db(transaction=True)
def test_the_news_move_the_parcel_and_its_units_once(desk, parcel):
    take_all(desk, [travel(desk, parcel, 1)])
    assert rows_of(parcel)[0][:2] == ("labelled", "pre_transit")
    take_all(desk, [travel(desk, parcel, steps) for steps in (2, 3)])
    assert rows_of(parcel)[0][:2] == ("shipped", "out_for_delivery")
    take_all(desk, [travel(desk, parcel, steps) for steps in (4, 2)])
    assert rows_of(parcel)[0][:2] == ("delivered", "delivered")
    assert AuditEvent.objects.filter(name="shipment.shipped").count() == 1
    assert AuditEvent.objects.filter(name="shipment.delivered").count() == 1
    back = travel(desk, parcel, 4)
    back["result"]["tracking_details"].append({"datetime": "2026-11-09T08:00:00Z", "status": "return_to_sender"})
    take_all(desk, [back, travel(desk, parcel, 4)])
    assert rows_of(parcel)[0][0] == "returned"


@pytest.mark.django_db(transaction=True)
def test_news_that_are_faster_than_the_purchases_answer_wait_for_it(desk):
    shipment = desk.rated()
    desk.sandbox.behave(cut_after=1)
    buy_label(shipment_id=shipment.pk, rate_id=shipment.rates[0]["id"], actor="test")
    desk.work()
    take_all(desk, [travel(desk, shipment, 2)])
    shipment.refresh_from_db()
    assert (shipment.status, TrackingEvent.objects.count()) == ("created", 2)
    desk.settle()
    shipment.refresh_from_db()
    assert (shipment.status, shipment.tracking_status) == ("shipped", "in_transit")


@pytest.mark.django_db(transaction=True)
def test_the_same_event_is_stored_once(desk, parcel):
    body = travel(desk, parcel, 2)
    assert [post(desk, body).content for _ in range(2)] == [b"stored\n", b"already stored\n"]
    assert WebhookEvent.objects.filter(source="easypost").count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_twins_own_events_come_late_twice_and_out_of_order(desk, parcel, live_server):
    url = f"{live_server.url}/webhooks/easypost/{desk.connection.token}"
    desk.sandbox.state.hooks.append(Hook(url, SECRET))
    for how in ("out_of_order", "twice"):
        desk.sandbox.behave(events=how, event_delay_seconds=0.01)
        asked = urllib.request.Request(f"{desk.sandbox.base_url}/sandbox/travel/{parcel.remote_id}", method="POST")
        assert json.loads(urllib.request.urlopen(asked, timeout=30).read())["posted"] >= 4
    with tenancy.no_scope():
        drain_webhooks()
    assert rows_of(parcel)[0][:2] == ("delivered", "delivered")
    assert WebhookEvent.objects.filter(source="easypost", duplicates=1).count() == 4


@pytest.mark.django_db(transaction=True)
def test_the_carriers_decision_on_a_refund_frees_the_units(desk, parcel):
    void_shipment(shipment_id=parcel.pk, actor="test")
    desk.work()
    news = {"object": "Refund", "shipment_id": parcel.remote_id, "status": "refunded"}
    late = {**news, "status": "submitted"}
    take_all(desk, [event("refund.successful", news), event("refund.successful", late)])
    parcel.refresh_from_db()
    assert (parcel.status, parcel.void_status) == ("voided", "refunded")
    assert list(open_units(desk.order).values()) == [3, 2]
    take_all(desk, [travel(desk, parcel, 2)])
    parcel.refresh_from_db()
    assert parcel.status == "voided"
    assert Alert.objects.get().kind == "shipment.moves_after_void"


def voided(desk, parcel, answer):
    """Ask for the label's refund, which is answered like this."""
    desk.sandbox.behave(refund=answer)
    void_shipment(shipment_id=parcel.pk, actor="test")
    desk.work()
    parcel.refresh_from_db()


def refund_told(parcel, status, at=None):
    news = {"object": "Refund", "shipment_id": parcel.remote_id, "status": status}
    return event("refund.successful", news | ({"updated_at": at.isoformat()} if at else {}))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rejected_by", ["the answer", "the hourly question"])
def test_a_late_rejection_of_an_earlier_refund_does_not_hide_the_new_one(desk, parcel, rejected_by):
    voided(desk, parcel, "rejected" if rejected_by == "the answer" else "submitted")
    if rejected_by != "the answer":
        desk.sandbox.state.find(parcel.remote_id).document["refund_status"] = "rejected"
        ShipmentCall.objects.filter(kind="check").update(due_at="2000-01-01T00:00:00Z")
        desk.work()
    voided(desk, parcel, "submitted")
    assert parcel.void_status == "submitted"
    late = refund_told(parcel, "rejected", timezone.now() - timedelta(seconds=5))
    take_all(desk, [late])
    parcel.refresh_from_db()
    assert parcel.void_status == "submitted"
    take_all(desk, [refund_told(parcel, "rejected", timezone.now()), late])
    parcel.refresh_from_db()
    assert parcel.void_status == "rejected"
    take_all(desk, [refund_told(parcel, "refunded", timezone.now() - timedelta(days=1))])
    parcel.refresh_from_db()
    assert (parcel.void_status, parcel.status) == ("refunded", "voided")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("told", ["by a report", "by the hourly question"])
def test_while_a_new_refund_is_not_answered_the_end_of_the_one_before_says_nothing_of_it(desk, parcel, told):
    voided(desk, parcel, "submitted")
    take_all(desk, [refund_told(parcel, "rejected")])  # without a time it is believed; the hourly question still waits
    void_shipment(shipment_id=parcel.pk, actor="test")
    if told == "by a report":
        take_all(desk, [refund_told(parcel, "rejected", timezone.now())])
    else:
        ShipmentCall.objects.filter(kind="void", status="ready").update(due_at=timezone.now() + timedelta(days=1))
        desk.sandbox.state.find(parcel.remote_id).document["refund_status"] = "rejected"
        ShipmentCall.objects.filter(kind="check").update(due_at="2000-01-01T00:00:00Z")
        with tenancy.no_scope():
            drain_shipping()
        assert desk.call("check").status == "done"
    parcel.refresh_from_db()
    assert parcel.void_status == "requested"
    desk.work()
    parcel.refresh_from_db()
    assert (parcel.void_status, desk.call("check").status) == ("submitted", "ready")


@pytest.mark.django_db(transaction=True)
def test_what_is_not_its_own_is_turned_away_in_words(desk, parcel):
    body = travel(desk, parcel, 2)
    assert post(desk, body, signature="hmac-sha256-hex=00").status_code == 401
    assert post(desk, body, token="nobodys").status_code == 404
    missing = post(desk, body, signature=False)
    assert (missing.status_code, HEADER.encode() in missing.content) == (400, True)
    reasons = set(RefusedDelivery.objects.filter(source="easypost").values_list("reason", flat=True))
    assert reasons == {"bad_signature", "unknown_token", "missing_headers"}
    assert not WebhookEvent.objects.filter(source="easypost").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", b"body"),
        (b"[]", b"body"),
        (b"[" * 100_000, b"body"),
        (b'{"description": "tracker.updated"}', b"id"),
        (b'{"id": 5, "description": "tracker.updated"}', b"id"),
        (b'{"id": "\\u0000", "description": "tracker.updated"}', b"id"),
        (b'{"id": "evt_1"}', b"description"),
        (b'{"id": "evt_1", "description": "a b"}', b"description"),
    ],
)
def test_a_signed_body_that_is_no_event_is_400_and_names_the_field(desk, raw, field):
    answer = post(desk, raw)
    assert answer.status_code == 400
    assert field + b":" in answer.content


@pytest.mark.django_db(transaction=True)
def test_an_event_nobody_takes_and_one_that_can_not_be_read_are_quarantined(desk, parcel):
    assert post(desk, event("batch.created", {})).content == b"stored, quarantined\n"
    take_all(desk, [event("tracker.updated", {"shipment_id": parcel.remote_id, "status": "delivered"})])
    assert list(WebhookEvent.objects.filter(source="easypost").values_list("status", flat=True)) == ["quarantined"] * 2


@pytest.mark.django_db(transaction=True)
def test_another_tenants_connection_moves_nothing_of_ours(desk, parcel):
    body = travel(desk, parcel, 4)
    with tenancy.no_scope(), shipping_desk(make_tenant()) as stranger:
        take_all(stranger, [body])
        assert WebhookEvent.objects.get(source="easypost").status == "done"
    parcel.refresh_from_db()
    assert (parcel.status, TrackingEvent.objects.count()) == ("labelled", 0)
