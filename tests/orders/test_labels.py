"""Rates, labels and refunds through the carrier's twin: a lost answer is asked for, and nothing is bought twice."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from config.infra.breaker import Breaker
from config.infra.work import replay
from orders.actions.labels import (
    MissingField,
    NoCarrier,
    UnknownRate,
    buy_label,
    fetch_label_again,
    request_rates,
    void_shipment,
)
from orders.actions.shipments import NotNow, Tracking, mark_shipped, open_units
from orders.models import Order, Shipment, ShipmentCall
from shopsync.models import Connection
from tests.factories import run_together
from tests.orders.shipping import HOME, PARCEL

pytestmark = pytest.mark.django_db(transaction=True)


def buy(desk, shipment, rate=0):
    buy_label(shipment_id=shipment.pk, rate_id=shipment.rates[rate]["id"], actor="test")
    desk.work()
    shipment.refresh_from_db()


def ask_rates(shipment, **fields):
    given = {"from_address": HOME, "to_address": {}, "parcel": PARCEL, "actor": "test"} | fields
    return request_rates(shipment_id=shipment.pk, **given)


def test_a_label_is_rated_bought_and_kept(desk):
    shipment = desk.rated()
    assert [(rate["company"], rate["amount"]) for rate in shipment.rates] == [("USPS", "7.58"), ("UPSDAP", "41.20")]
    known = desk.sandbox.state.find(str(shipment.reference))
    assert (known.document["parcel"], known.document["to_address"]["street1"]) == ({"weight": "17.7"}, "5 Elm St")
    buy(desk, shipment)
    assert (shipment.status, shipment.company, str(shipment.cost_amount)) == ("labelled", "USPS", "7.5800")
    assert shipment.tracking_number == known.document["tracking_code"]
    with default_storage.open(shipment.label_file) as file:
        assert file.read().startswith(b"%PDF")
    assert desk.sandbox.purchases() == 1
    names = AuditEvent.objects.filter(subject=f"shipment:{shipment.pk}").order_by("id").values_list("name", flat=True)
    assert list(names) == [
        "shipment.created", "shipment.rates_requested", "shipment.purchase_requested", "shipment.labelled",
    ]  # fmt: skip


def test_the_reference_is_stored_before_the_carrier_hears_of_it(desk):
    shipment = desk.pack()
    ask_rates(shipment)
    assert desk.sandbox.state.find(str(shipment.reference)) is None
    assert Shipment.objects.get().reference == shipment.reference


def test_a_lost_answer_to_the_purchase_is_asked_for_and_not_bought_again(desk):
    shipment = desk.rated()
    desk.sandbox.behave(cut_after=1)
    buy(desk, shipment)
    assert (shipment.status, desk.call("buy").status) == ("created", "unknown")
    assert desk.settle() == 1
    desk.work()
    shipment.refresh_from_db()
    assert (shipment.status, desk.call("buy").status) == ("labelled", "done")
    assert shipment.label_file != ""
    assert desk.sandbox.purchases() == 1
    assert desk.sandbox.state.calls.count("buy") == 1


def test_a_purchase_that_surely_was_not_made_is_made_again(desk):
    shipment = desk.rated()
    desk.sandbox.behave(cut_before=1)
    buy(desk, shipment)
    assert desk.call("buy").status == "unknown"
    assert desk.settle() == 1
    desk.work()
    shipment.refresh_from_db()
    assert (shipment.status, desk.sandbox.purchases()) == ("labelled", 1)


def test_while_the_carrier_can_not_be_asked_a_lost_purchase_stays_unknown(desk):
    shipment = desk.rated()
    desk.sandbox.behave(cut_after=1)
    buy(desk, shipment)
    Connection.objects.filter(pk=desk.connection.pk).update(api_key="wrong")
    assert desk.settle() == 0
    assert desk.call("buy").status == "unknown"
    with pytest.raises(NotNow):
        buy_label(shipment_id=shipment.pk, rate_id=shipment.rates[1]["id"], actor="test")
    Connection.objects.filter(pk=desk.connection.pk).update(api_key="EZTK")
    assert desk.settle() == 1
    assert desk.sandbox.purchases() == 1


def test_a_500_is_unknown_and_a_429_waits(desk):
    shipment = desk.rated()
    desk.sandbox.behave(throttle=1, retry_after_seconds=600.0)
    buy_label(shipment_id=shipment.pk, rate_id=shipment.rates[0]["id"], actor="test")
    with tenancy.no_scope():
        from orders.tasks import drain_shipping

        drain_shipping()
    call = desk.call("buy")
    assert (call.status, call.blocker, call.attempts) == ("ready", "the carrier is unavailable", 0)
    assert (call.due_at - timezone.now()).total_seconds() > 500
    desk.sandbox.behave(error=1)
    desk.work()
    assert desk.call("buy").status == "unknown"
    desk.settle()
    desk.work()
    assert desk.sandbox.purchases() == 1


def test_a_refused_purchase_says_why_and_may_be_asked_for_again(desk):
    shipment = desk.rated()
    desk.sandbox.behave(refuse=1)
    buy(desk, shipment)
    assert (shipment.status, desk.call("buy").status) == ("created", "done")
    assert "the carrier refused" in desk.call("buy").outcome
    buy(desk, shipment, rate=1)
    assert (shipment.status, shipment.company, desk.sandbox.purchases()) == ("labelled", "UPSDAP", 1)


def test_a_refusal_of_what_was_bought_all_the_same_is_a_purchase(desk):
    shipment = desk.rated()
    desk.sandbox.behave(refuse_after=1)
    buy(desk, shipment)
    assert (shipment.status, desk.sandbox.purchases()) == ("labelled", 1)


def test_a_purchase_that_is_replayed_by_hand_buys_nothing_again(desk):
    shipment = desk.rated()
    desk.sandbox.behave(cut_after=1)
    buy(desk, shipment)
    assert replay(ShipmentCall.objects.filter(kind="buy")) == 1
    desk.work()
    shipment.refresh_from_db()
    assert (shipment.status, desk.sandbox.purchases()) == ("labelled", 1)
    assert desk.sandbox.state.calls.count("buy") == 1


def test_what_is_bought_already_is_taken_over(desk):
    shipment = desk.rated()
    known = desk.sandbox.state.find(shipment.remote_id)
    desk.sandbox.state.buy(known, shipment.rates[0]["id"])
    buy(desk, shipment)
    assert (shipment.status, shipment.tracking_number) == ("labelled", known.document["tracking_code"])
    assert (desk.sandbox.purchases(), desk.sandbox.state.calls.count("buy")) == (1, 0)


def test_twenty_purchases_at_once_are_one_label(desk):
    shipment, tenant_id = desk.rated(), desk.tenant.pk

    def job():
        with tenancy.tenant_scope(tenant_id):
            return buy_label(shipment_id=shipment.pk, rate_id=shipment.rates[0]["id"], actor="test")

    results = run_together([job] * 20, threads=10)
    assert all(isinstance(result, Shipment) for result in results), results
    assert ShipmentCall.objects.filter(kind="buy").count() == 1
    desk.work()
    assert desk.sandbox.purchases() == 1
    with pytest.raises(NotNow, match="only once"):
        job()


def test_two_workers_make_one_call(desk):
    from orders.tasks import drain_shipping

    shipment = desk.rated()
    desk.sandbox.behave(delay_seconds=0.3)
    buy_label(shipment_id=shipment.pk, rate_id=shipment.rates[0]["id"], actor="test")
    run_together([drain_shipping] * 4, threads=4)
    assert desk.sandbox.state.calls.count("buy") == 1


def test_a_lost_answer_to_the_first_rates_makes_no_second_shipment(desk):
    desk.sandbox.behave(cut_after=1)
    shipment = desk.pack()
    ask_rates(shipment)
    desk.work()
    assert desk.call("rate").status == "unknown"
    assert desk.settle() == 1
    shipment.refresh_from_db()
    assert len(desk.sandbox.state.shipments) == 1
    assert shipment.remote_id in desk.sandbox.state.shipments
    assert len(shipment.rates) == 2


def test_fresh_rates_replace_the_old_ones_and_other_measures_are_refused(desk):
    shipment = desk.rated()
    old = shipment.rates[0]["id"]
    ask_rates(shipment)
    desk.work()
    shipment.refresh_from_db()
    assert old not in {rate["id"] for rate in shipment.rates}
    with pytest.raises(UnknownRate):
        buy_label(shipment_id=shipment.pk, rate_id=old, actor="test")
    with pytest.raises(NotNow, match="other addresses"):
        ask_rates(shipment, parcel={"weight_grams": 900})


def test_what_is_missing_is_named(desk):
    shipment = desk.pack()
    Connection.objects.update(is_active=False)
    with pytest.raises(NoCarrier):
        ask_rates(shipment)
    Order.objects.update(shipping_address={})
    Shipment.objects.update(to_address={})
    with pytest.raises(MissingField) as refused:
        ask_rates(shipment)
    assert refused.value.field == "to_address"


def test_an_open_breaker_is_what_a_purchase_waits_for(desk):
    shipment = desk.rated()
    breaker = Breaker("shipping", str(desk.connection.pk))
    for _ in range(3):
        breaker.failed()
    buy(desk, shipment)
    assert (desk.call("buy").status, desk.call("buy").blocker) == ("ready", "breaker open: shipping")
    breaker.reset()
    desk.work()
    assert desk.sandbox.purchases() == 1


def test_a_refund_is_asked_for_and_decided_later(desk):
    shipment = desk.rated()
    buy(desk, shipment)
    void_shipment(shipment_id=shipment.pk, actor="test")
    desk.work()
    shipment.refresh_from_db()
    assert (shipment.status, shipment.void_status) == ("labelled", "submitted")
    with pytest.raises(NotNow, match="refund was asked for"):
        mark_shipped(shipment_id=shipment.pk, tracking=None, actor="test", now=timezone.now())
    assert set(open_units(desk.order).values()) == {0}
    desk.sandbox.state.find(shipment.remote_id).document["refund_status"] = "refunded"
    ShipmentCall.objects.filter(kind="check").update(due_at="2000-01-01T00:00:00Z")
    desk.work()
    shipment.refresh_from_db()
    assert (shipment.status, shipment.void_status, desk.call("check").status) == ("voided", "refunded", "done")
    assert list(open_units(desk.order).values()) == [3, 2]


def test_a_refund_that_is_not_decided_is_asked_about_again(desk):
    shipment = desk.rated()
    buy(desk, shipment)
    void_shipment(shipment_id=shipment.pk, actor="test")
    desk.work()
    for _ in range(10):
        ShipmentCall.objects.filter(kind="check").update(due_at="2000-01-01T00:00:00Z")
        desk.work()
    call = desk.call("check")
    assert (call.status, call.attempts, call.blocker) == ("ready", 0, "the carrier has not decided on the refund")


def test_a_refusal_of_a_refund_is_not_believed_before_the_carrier_says_so_again(desk):
    shipment = desk.rated()
    buy_label(shipment_id=shipment.pk, rate_id=shipment.rates[0]["id"], actor="test")
    desk.work()
    desk.sandbox.behave(refuse_after=1)
    void_shipment(shipment_id=shipment.pk, actor="test")
    desk.work()
    shipment.refresh_from_db()
    assert shipment.void_status == "submitted"


def test_a_lost_answer_to_a_refund_is_asked_for(desk):
    shipment = desk.rated()
    buy(desk, shipment)
    desk.sandbox.behave(cut_after=1)
    void_shipment(shipment_id=shipment.pk, actor="test")
    desk.work()
    assert desk.call("void").status == "unknown"
    assert desk.settle() == 1
    shipment.refresh_from_db()
    assert shipment.void_status == "submitted"
    assert desk.sandbox.state.calls.count("refund") == 1


def test_a_refused_refund_may_be_asked_for_again(desk):
    shipment = desk.rated()
    buy(desk, shipment)
    desk.sandbox.behave(refund="rejected")
    void_shipment(shipment_id=shipment.pk, actor="test")
    desk.work()
    shipment.refresh_from_db()
    assert (shipment.status, shipment.void_status) == ("labelled", "rejected")
    desk.sandbox.behave(refund="refunded")
    void_shipment(shipment_id=shipment.pk, actor="test")
    desk.work()
    shipment.refresh_from_db()
    assert (shipment.status, shipment.void_status) == ("voided", "refunded")


def test_a_parcel_that_has_left_is_not_refunded(desk):
    shipment = desk.rated()
    buy(desk, shipment)
    with pytest.raises(NotNow, match="own number"):
        mark_shipped(shipment_id=shipment.pk, tracking=Tracking("UPS", "1Z"), actor="test", now=timezone.now())
    mark_shipped(shipment_id=shipment.pk, tracking=None, actor="test", now=timezone.now())
    with pytest.raises(NotNow, match="shipped"):
        void_shipment(shipment_id=shipment.pk, actor="test")


@pytest.mark.parametrize("label", ["html", "missing"])
def test_what_is_no_label_is_not_kept_and_can_be_fetched_again(desk, label):
    shipment = desk.rated()
    desk.sandbox.behave(label=label)
    buy(desk, shipment)
    assert (shipment.status, shipment.label_file, desk.call("label").status) == ("labelled", "", "done")
    assert desk.call("label").outcome.startswith("refused")
    Shipment.objects.update(label_url=f"{desk.sandbox.base_url}/labels/x.png")
    fetch_label_again(shipment_id=shipment.pk, actor="test")
    desk.work()
    shipment.refresh_from_db()
    assert shipment.label_type == "image/png"


def test_a_label_waits_for_the_storage_by_name(desk, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "file"
    (tmp_path / "file").write_text("in the way of the folder")
    shipment = desk.rated()
    buy(desk, shipment)
    assert (desk.call("label").status, desk.call("label").blocker) == (
        "ready", "the storage of files is unavailable",
    )  # fmt: skip
    desk.work()
    assert desk.call("label").blocker == "breaker open: storage"
    settings.MEDIA_ROOT = tmp_path / "folder"
    Breaker("storage", "system").reset()
    desk.work()
    shipment.refresh_from_db()
    assert shipment.label_file != ""


def test_a_label_that_was_saved_before_a_crash_is_saved_under_the_same_name(desk):
    shipment = desk.rated()
    buy(desk, shipment)
    first = shipment.label_file
    fetch_label_again(shipment_id=shipment.pk, actor="test")
    desk.work()
    shipment.refresh_from_db()
    assert shipment.label_file == first
