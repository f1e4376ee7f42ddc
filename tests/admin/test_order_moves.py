"""Orders in the admin: operators pay, hold, cancel, refund, allocate and note them, each once for a page."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.actions import record
from inventory.actions.upkeep import expire_reservations
from inventory.models import StockLevel
from orders.models import Order, OrderLine, Payment, PaymentCall, Refund, RefundLine
from shopsync.actions.tenants import connect_service
from shopsync.models import Alert
from tests.admin.conftest import Shop, act_page, errors_of, send, signed_in
from tests.admin.pages import change_page, list_page
from tests.factories import drain_all, reload, run_together
from tests.world import make_person

VERBS = ("mark-paid", "capture", "allocate", "hold", "unhold", "note", "refund", "cancel-part", "cancel")
OURS_ALONE = ("mark-paid", "capture", "allocate", "refund", "cancel-part", "cancel")


def shopifys(shop, **fields):
    with shop.open():
        return Order.objects.create(shopify_id=7, currency="USD", source_version="1", name="#7", **fields)


def lines_of(shop, order):
    with shop.open():
        return list(OrderLine.objects.filter(order=order).order_by("position"))


def committed(shop):
    with shop.open():
        return list(StockLevel.objects.order_by("pk").values_list("available", "held", "committed", "on_hand"))


def filling(shop, order):
    """Fill in every page so that only the action itself can refuse it."""
    line = next(iter(lines_of(shop, order)), None)
    units = {f"line_{line.pk}": 1} if line else {}
    return {"reason": "customer", "staff_note": "x", "amount": "1", **units}


def offered(client, order):
    page = client.get(change_page(order)).content.decode()
    return {verb for verb in VERBS if f'href="{act_page(order, verb)}"' in page}


def test_an_order_is_marked_as_paid_once_and_the_second_time_says_why_not(shop):
    order, operator = shop.place(2), shop.person("operator")
    assert "20.00 USD, was paid" in operator.get(act_page(order, "mark-paid")).content.decode()
    assert "Paid." in send(operator, act_page(order, "mark-paid")).content.decode()
    assert (reload(order).financial_status, reload(order).stock_state) == ("paid", "committed")
    assert committed(shop)[0] == (3, 0, 2, 5)
    again = send(operator, act_page(order, "mark-paid")).content.decode()
    assert "money can&#x27;t go from paid to paid" in again
    assert [event.actor.partition(":")[0] for event in shop.events("order.paid")] == ["user"]


def test_an_authorisation_is_captured_once_and_offered_only_while_it_waits(shop):
    order, operator = shop.place(2), shop.person("operator")
    assert "capture" not in offered(operator, order)
    assert "waits to be captured" in send(operator, act_page(order, "capture")).content.decode()
    with shop.open():
        account = connect_service(service="stripe", actor="test", name="main", api_key="k", signing_secret="s")
        Order.objects.filter(pk=order.pk).update(financial_status="authorized")
        Payment.objects.create(connection=account, provider_id="pi_1", order=order, status="authorized", amount=25,
                               currency="USD", last_event_at=timezone.now())  # fmt: skip
    assert "capture" in offered(operator, order)
    assert "on its way to the gateway" in send(operator, act_page(order, "capture")).content.decode()
    assert "being captured" in send(operator, act_page(order, "capture")).content.decode()
    with shop.open():
        (call,) = PaymentCall.objects.all()
    assert (call.kind, call.amount, call.actor.partition(":")[0]) == ("capture", 20, "user")


def test_an_order_is_held_with_a_reason_and_let_go(shop):
    operator = shop.person("operator")
    for order in (shop.place(1), shopifys(shop)):
        assert list(send(operator, act_page(order, "hold")).context["form"].errors) == ["reason"]
        send(operator, act_page(order, "hold"), reason="address?")
        assert (reload(order).hold_reason, reload(order).held_at is None) == ("address?", False)
        assert "address?" in operator.get(act_page(order, "unhold")).content.decode()
        refused = send(operator, act_page(order, "hold"), reason="again")
        assert "can't go from on_hold to on_hold" in errors_of(refused)[0]
        assert reload(order).hold_reason == "address?"
        send(operator, act_page(order, "unhold"))
        assert reload(order).held_at is None
        assert "can&#x27;t go from open to open" in send(operator, act_page(order, "unhold")).content.decode()


@pytest.mark.parametrize(("restock", "numbers"), [("on", (5, 0, 0, 5)), (None, (3, 0, 0, 3))])
def test_an_order_is_cancelled_and_its_units_go_back_or_not(shop, restock, numbers):
    order, operator = shop.place(2, is_paid=True), shop.person("operator")
    fields = {"reason": "fraud"} | ({"restock": restock} if restock else {})
    assert "Cancelled." in send(operator, act_page(order, "cancel"), **fields).content.decode()
    assert reload(order).is_cancelled
    assert reload(order).cancel_reason == "fraud"
    assert committed(shop)[0] == numbers
    assert shop.events("order.cancelled")[0].data["restock"] is bool(restock)
    again = send(operator, act_page(order, "cancel"), **fields)
    assert "can't go from cancelled to cancelled" in errors_of(again)[0]
    assert committed(shop)[0] == numbers


@pytest.mark.django_db(transaction=True)
def test_eight_clicks_at_once_cancel_once(transactional_db):
    shop = Shop()
    order = shop.place(2, is_paid=True)
    user = make_person("hasty", tenant=shop.tenant, role="operator")
    fields = {"key": "admin-one-page", "reason": "customer", "restock": "on"}
    clients = [signed_in(user) for _ in range(8)]
    jobs = [partial(client.post, act_page(order, "cancel"), fields) for client in clients]
    assert [answer.status_code for answer in run_together(jobs, threads=8)] == [302] * 8
    assert committed(shop)[0] == (5, 0, 0, 5)
    assert len(shop.events("order.cancelled")) == 1


def test_a_part_is_cancelled_by_line_and_a_page_sent_twice_does_it_once(shop):
    order, operator = shop.place(3, 1, is_paid=True), shop.person("operator")
    first, second = lines_of(shop, order)
    url = act_page(order, "cancel-part")
    page = operator.get(url).content.decode()
    assert "3 left" in page
    (key,) = re.findall(r'name="key" value="(admin-[^"]+)"', page)
    fields = {"key": key, f"line_{first.pk}": 2, f"line_{second.pk}": 0, "restock": "on"}
    for _ in range(2):
        answer = operator.post(url, fields, follow=True)
    assert "nothing was done a second time" in answer.content.decode()
    assert [line.current_quantity for line in lines_of(shop, order)] == [1, 1]
    assert committed(shop)[0] == (3, 0, 2, 5)
    refused = send(operator, url, **{f"line_{first.pk}": 2})
    assert f"Line {first.pk} has 1 units left that were not sent." in errors_of(refused)
    assert "Name units of one line or more." in errors_of(send(operator, url, **{f"line_{first.pk}": 0}))
    assert committed(shop)[0] == (3, 0, 2, 5)
    send(operator, url, **{f"line_{first.pk}": 1})
    assert lines_of(shop, order)[0].lost_quantity == 1
    assert f'name="line_{first.pk}"' not in operator.get(url).content.decode()  # nothing of it is left


def test_lines_are_refunded_with_where_they_go_and_what_they_cost(shop):
    order, operator = shop.place(4, 1, is_paid=True), shop.person("operator")
    first, second = lines_of(shop, order)
    with shop.open():
        OrderLine.objects.filter(pk=first.pk).update(sent_quantity=1)
        Order.objects.filter(pk=order.pk).update(fulfillment_status="partial")
    assert "50.00 USD of it can be given back" in operator.get(act_page(order, "refund")).content.decode()
    fields = {f"line_{first.pk}": 1, f"to_{first.pk}": "return", f"line_{second.pk}": 1, f"to_{second.pk}": "cancel"}
    send(operator, act_page(order, "refund"), **fields, note="broken")
    with shop.open():
        refund = Refund.objects.get()
        rows = set(RefundLine.objects.values_list("line_id", "quantity", "restock_type"))
    assert (refund.amount, refund.note) == (Decimal(20), "broken")
    assert rows == {(first.pk, 1, "return"), (second.pk, 1, "cancel")}
    assert reload(order).financial_status == "partially_refunded"
    send(operator, act_page(order, "refund"), amount="5.50")
    assert "24.50 USD of it can be given back" in operator.get(act_page(order, "refund")).content.decode()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount": "50.01"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "1.001"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "1e400"}, "amount"),
        ({"amount": "nonsense"}, "amount"),
        ({"amount": ""}, "__all__"),
        ({"amount": "0"}, "__all__"),
        ({"line": "6"}, "amount"),  # more than the order cost
        ({"line": "6", "amount": "1"}, "__all__"),
        ({"line": "-1"}, "line"),
        ({"line": str(2**63)}, "line"),
        ({"line": "1.5"}, "line"),
        ({"line": "1", "to": "legacy_restock"}, "to"),
        ({"line": "1", "to": "return"}, "__all__"),  # it was not sent
        ({"amount": "1", "note": "x" * 2001}, "note"),
        ({"amount": "1", "note": "a\x00b"}, "note"),
    ],
    ids=str,
)
def test_a_bad_refund_is_refused_beside_its_field(shop, fields, field):
    order = shop.place(5, is_paid=True)
    (line,) = lines_of(shop, order)
    named = {name if name in {"amount", "note"} else f"{name}_{line.pk}": value for name, value in fields.items()}
    answer = send(shop.person("operator"), act_page(order, "refund"), **named)
    wrong = f"{field}_{line.pk}" if field in {"line", "to"} else field
    assert list(answer.context["form"].errors) == [wrong]
    with shop.open():
        assert not Refund.objects.exists()
    assert committed(shop)[0] == (0, 0, 5, 5)


def test_an_order_that_was_not_paid_has_nothing_to_refund(shop):
    order = shop.place(1)
    answer = send(shop.person("operator"), act_page(order, "refund"), amount="1")
    assert "money can't go from pending to partially_refunded" in errors_of(answer)[0]


def test_a_paid_order_without_units_is_allocated_once_there_are_some(shop):
    order, operator = shop.place(2, now=timezone.now() - timedelta(hours=1)), shop.person("operator")
    with shop.open():
        expire_reservations(now=timezone.now())
        drain_all()
        StockLevel.objects.update(available=0, on_hand=0)
    send(operator, act_page(order, "mark-paid"))
    assert reload(order).stock_state == "paid_unallocated"
    refused = send(operator, act_page(order, "allocate")).content.decode()
    assert "still not enough stock" in refused
    send(operator, act_page(shop.levels[0], "receive"), quantity=5)
    send(operator, act_page(order, "allocate"))
    assert reload(order).stock_state == "committed"
    with shop.open():
        assert Alert.objects.get(kind="order.paid_unallocated").closed_at is not None
    again = send(operator, act_page(order, "allocate")).content.decode()
    assert "there is nothing to allocate" in again


def test_tags_and_note_are_ours_and_written_line_by_line(shop):
    operator = shop.person("operator")
    for order in (shop.place(1), shopifys(shop)):
        send(operator, act_page(order, "note"), staff_tags="vip\r\n call first \n\nvip", staff_note="one\r\ntwo")
        assert (reload(order).staff_tags, reload(order).staff_note) == (["vip", "call first"], "one\ntwo")
        page = operator.get(act_page(order, "note")).content.decode()
        assert "vip\ncall first" in page
        assert "call first" in operator.get(change_page(order)).content.decode()
        for fields in ({"staff_tags": "x" * 101}, {"staff_tags": "\n".join(map(str, range(101)))},
                       {"staff_note": "x" * 5001}, {"staff_note": "\x00"}):  # fmt: skip
            assert list(send(operator, act_page(order, "note"), **fields).context["form"].errors) == list(fields)
        send(operator, act_page(order, "note"))
        assert (reload(order).staff_tags, reload(order).staff_note) == ([], "")


def test_offered_is_what_fits_and_what_does_not_fit_is_refused_in_words(shop):
    operator = shop.person("operator")
    ours, theirs = shop.place(2), shopifys(shop, financial_status="paid")
    assert offered(operator, ours) == {"mark-paid", "hold", "note", "cancel-part", "cancel"}
    assert offered(operator, theirs) == {"hold", "note"}
    for verb in OURS_ALONE:
        answer = send(operator, act_page(theirs, verb), **filling(shop, ours))
        said = "".join(errors_of(answer)) or answer.content.decode()
        assert "Shopify" in said or "Name units of one line" in said, verb
    assert (reload(theirs).financial_status, reload(theirs).cancelled_at) == ("paid", None)
    send(operator, act_page(ours, "mark-paid"))
    send(operator, act_page(ours, "hold"), reason="?")
    assert offered(operator, ours) == {"unhold", "note", "refund", "cancel-part", "cancel"}
    send(operator, act_page(ours, "cancel"), reason="other", restock="on")
    assert "cancel" not in offered(operator, ours)


def test_viewers_see_and_do_nothing_and_strangers_find_nothing(shop):
    order = shop.place(2)
    viewer, stranger = shop.person("viewer"), Shop().person("owner")
    assert offered(viewer, order) == set()
    fields = {"key": "admin-1", **filling(shop, order)}
    for verb in VERBS:
        for call in (viewer.get, viewer.post):
            assert call(act_page(order, verb), fields).status_code == 403, verb
        for call in (stranger.get, stranger.post):
            assert call(act_page(order, verb), fields).status_code == 404, verb
    assert (reload(order).financial_status, reload(order).held_at, reload(order).staff_note) == ("pending", None, "")


def test_with_all_tenants_open_the_rows_own_tenant_is_worked_in(shop, superuser):
    order = shop.place(3)
    line = lines_of(shop, order)[0]
    superuser.post("/admin/tenant", {"tenant": "all"})
    send(superuser, act_page(order, "mark-paid"))
    send(superuser, act_page(order, "hold"), reason="?")
    send(superuser, act_page(order, "unhold"))
    send(superuser, act_page(order, "note"), staff_note="seen")
    send(superuser, act_page(order, "refund"), **{f"line_{line.pk}": 1, f"to_{line.pk}": "cancel"})
    send(superuser, act_page(order, "cancel-part"), **{f"line_{line.pk}": 1, "restock": "on"})
    send(superuser, act_page(order, "cancel"), reason="other", restock="on")
    assert committed(shop)[0] == (5, 0, 0, 5)
    names = ("paid", "held", "unheld", "noted", "refunded", "lines_cancelled", "cancelled")
    assert [len(shop.events(f"order.{name}")) for name in names] == [1] * len(names)


def test_the_page_shows_where_it_stands_what_is_odd_and_what_happened_last(shop):
    order, operator = shop.place(2), shop.person("operator")
    send(operator, act_page(order, "hold"), reason="address?")
    send(operator, act_page(shop.levels[1], "adjust"), delta=-8, reason="lost")
    page = operator.get(change_page(order)).content.decode()
    for words in ("held until it is paid", "address?", "oversold", "order.held", "reservation.created", "lines: 1"):
        assert words in page, words
    assert f"/admin/inventory/reservation/{order.reservation_id}/change/" in page
    assert "All of it" not in page
    with shop.open():
        for number in range(60):
            record(name="order.noted", subject=f"order:{order.pk}", actor=f"test-{number:02}")
    page = operator.get(change_page(order)).content.decode()
    assert page.count("order.noted") == 50
    assert "test-59" in page
    assert "test-05" not in page
    (link,) = re.findall(r'href="([^"]*auditevent/\?q=order:\d+)"', page)
    assert operator.get(link).content.decode().count("test-") >= 50


def test_lists_are_filtered_by_source_stock_and_hold(shop):
    ours, theirs, sold = shop.place(1), shopifys(shop), shop.place(1, is_paid=True)
    operator = shop.person("operator")
    send(operator, act_page(theirs, "hold"), reason="?")
    for query, rows in (
        ("source__exact=api", {ours, sold}),
        ("source__exact=shopify", {theirs}),
        ("stock_state__exact=reserved", {ours}),
        ("stock_state__exact=committed", {sold}),
        ("held_at__isempty=0", {theirs}),
        ("held_at__isempty=1", {ours, sold}),
    ):
        page = operator.get(f"{list_page(Order)}?{query}").content.decode()
        assert {int(pk) for pk in re.findall(r"/orders/order/(\d+)/change/", page)} == {row.pk for row in rows}, query


def test_more_lines_cost_no_more_queries_and_a_long_order_fits_its_page(shop):
    viewer, operator = shop.person("viewer"), shop.person("operator")
    with shop.open():
        StockLevel.objects.update(available=5_000, on_hand=5_000)
    short, long = shop.place(1, is_paid=True), shop.place(*[1] * 400, is_paid=True)

    def count(order):
        with CaptureQueriesContext(connection) as seen:
            assert viewer.get(change_page(order)).status_code == 200
        return len(seen)

    count(short)  # Django keeps content types from the first page on
    assert count(long) == count(short)
    page = operator.get(act_page(long, "refund")).content.decode()
    assert len(re.findall(r'name="line_\d+"', page)) == 200
    shown = dict.fromkeys(re.findall(r'name="(line_\d+)"', page), 1)
    send(operator, act_page(long, "refund"), **shown, **{name.replace("line", "to"): "cancel" for name in shown})
    with shop.open():
        assert RefundLine.objects.count() == 200
