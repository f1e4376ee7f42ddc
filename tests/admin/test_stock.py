"""Stock in the admin: received, adjusted and transferred after a page that asks, once for each page, by operators."""

from __future__ import annotations

import re
from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.infra import tenancy
from inventory.models import InventoryItem, Product, StockLevel, StockMovement
from tests.admin.conftest import Shop, act_page, errors_of, send, signed_in
from tests.admin.pages import change_page, list_page
from tests.factories import reload, run_together, stock_variant
from tests.world import make_person


def ledger(level):
    with tenancy.tenant_scope(level.tenant_id):
        return list(
            StockMovement.objects.filter(level=level, state="available").values_list("delta", "reason", "actor")
        )


def test_units_are_received_after_a_page_that_asks(shop):
    operator, level = shop.person("operator"), shop.levels[0]
    assert "Available now: 5" in operator.get(act_page(level, "receive")).content.decode()
    assert shop.numbers() == [(5, 0), (5, 0)]
    answer = send(operator, act_page(level, "receive"), quantity=4, reference="note 17")
    assert "Received." in answer.content.decode()
    assert shop.numbers() == [(9, 0), (5, 0)]
    (delta, reason, actor), *_ = ledger(level)
    assert (delta, reason, actor.partition(":")[0]) == (4, "received", "user")
    (event,) = shop.events("stock.received")
    assert event.data["reference"] == "note 17"


def test_what_was_on_its_way_is_no_longer_when_it_arrived(shop):
    with shop.open():
        StockLevel.objects.filter(pk=shop.levels[0].pk).update(incoming=3)
    send(shop.person("operator"), act_page(shop.levels[0], "receive"), quantity=2, from_incoming="on")
    assert (reload(shop.levels[0]).available, reload(shop.levels[0]).incoming) == (7, 1)


def test_a_page_that_is_sent_twice_is_done_once_and_with_other_values_not_at_all(shop):
    operator, url = shop.person("operator"), act_page(shop.levels[0], "receive")
    (key,) = re.findall(r'name="key" value="(admin-[^"]+)"', operator.get(url).content.decode())
    for _ in range(3):
        answer = operator.post(url, {"key": key, "quantity": 4}, follow=True)
    assert "nothing was done a second time" in answer.content.decode()
    other = operator.post(url, {"key": key, "quantity": 5})
    assert "sent before, with other values" in "".join(errors_of(other))
    assert shop.numbers() == [(9, 0), (5, 0)]


@pytest.mark.django_db(transaction=True)
def test_a_double_click_in_eight_requests_at_once_is_done_once(transactional_db):
    shop = Shop()
    user = make_person("hasty", tenant=shop.tenant, role="operator")
    url = act_page(shop.levels[0], "receive")
    clients = [signed_in(user) for _ in range(8)]
    fields = {"key": "admin-one-page", "quantity": 4}
    answers = run_together([partial(client.post, url, fields) for client in clients], threads=8)
    assert [answer.status_code for answer in answers] == [302] * 8
    assert shop.numbers() == [(9, 0), (5, 0)]
    assert len(shop.events("stock.received")) == 1


def test_a_refused_page_can_be_mended_and_sent_again(shop):
    operator, url = shop.person("operator"), act_page(shop.levels[0], "transfer")
    (key,) = re.findall(r'name="key" value="(admin-[^"]+)"', operator.get(url).content.decode())
    fields = {"key": key, "to_location_id": shop.levels[1].location_id}
    answer = operator.post(url, {**fields, "quantity": 6})
    assert list(answer.context["form"].errors) == ["quantity"]
    assert "6 were to be moved, and 5 are free to" in answer.content.decode()
    assert operator.post(url, {**fields, "quantity": 5}).status_code == 302
    assert shop.numbers() == [(0, 0), (10, 0)]


def test_the_count_is_corrected_with_a_reason_and_may_leave_a_shown_shortfall(shop):
    operator, level = shop.person("operator"), shop.levels[0]
    send(operator, act_page(level, "adjust"), delta=-7, reason="damaged", reference="flood")
    assert shop.numbers()[0] == (-2, 0)
    page = operator.get(change_page(level)).content.decode()
    assert "damaged:flood" in page
    only_short = operator.get(f"{list_page(StockLevel)}?shortfall=short").content.decode()
    assert change_page(level) in only_short
    assert change_page(shop.levels[1]) not in only_short


def test_units_go_to_a_location_that_never_had_any(shop):
    operator = shop.person("operator")
    send(operator, act_page(shop.levels[0], "transfer"), to_location_id=shop.third.pk, quantity=2)
    assert shop.numbers() == [(3, 0), (5, 0), (2, 0)]
    page = operator.get(act_page(shop.levels[0], "transfer")).content.decode()
    assert f'value="{shop.levels[0].location_id}"' not in page  # not to where they are


def test_the_first_units_of_a_variant_are_received_from_its_product(shop):
    with shop.open():
        product = Product.objects.get()
    operator = shop.person("operator")
    fields = {"variant_id": shop.variant.pk, "location_id": shop.third.pk}
    send(operator, act_page(product, "receive"), quantity=3, **fields)
    assert shop.numbers() == [(5, 0), (5, 0), (3, 0)]
    foreign = Shop()
    for name, value in (("variant_id", foreign.variant.pk), ("location_id", foreign.third.pk)):
        answer = send(operator, act_page(product, "receive"), quantity=3, **{**fields, name: value})
        assert list(answer.context["form"].errors) == [name]
    assert foreign.numbers() == [(5, 0), (5, 0)]


BAD_UNITS = ["0", "-1", "1.5", "", "many", "\x00", str(2**63), "1" * 400, "٣.٥", "NaN"]


@pytest.mark.parametrize("value", BAD_UNITS, ids=repr)
def test_bad_numbers_are_refused_by_field(shop, value):
    operator = shop.person("operator")
    for verb, field, rest in (
        ("receive", "quantity", {}),
        ("transfer", "quantity", {"to_location_id": shop.third.pk}),
        ("adjust", "delta", {"reason": "lost"}),
    ):
        if (verb, value) == ("adjust", "-1"):
            continue
        answer = send(operator, act_page(shop.levels[0], verb), **{field: value, **rest})
        assert list(answer.context["form"].errors) == [field], (verb, value)
    for verb, field, rest in (
        ("adjust", "reason", {"delta": 1, "reason": "boredom"}),
        ("adjust", "reference", {"delta": 1, "reason": "lost", "reference": "a\x00b"}),
        ("receive", "reference", {"quantity": 1, "reference": "x" * 121}),
        ("transfer", "to_location_id", {"quantity": 1, "to_location_id": shop.levels[0].location_id}),
        ("transfer", "to_location_id", {"quantity": 1, "to_location_id": "x"}),
    ):
        answer = send(operator, act_page(shop.levels[0], verb), **rest)
        assert list(answer.context["form"].errors) == [field], (verb, field)
    assert shop.numbers() == [(5, 0), (5, 0)]


@pytest.mark.django_db
def test_where_shopify_counts_it_is_said_beforehand_and_refused():
    shop = Shop("shopify")
    operator = shop.person("operator")
    with shop.open():
        product = Product.objects.get()
    words = "Shopify counts this tenant&#x27;s stock: change it there"
    fields = {"quantity": 1, "delta": 1, "reason": "lost", "to_location_id": shop.third.pk}
    fields |= {"variant_id": shop.variant.pk, "location_id": shop.third.pk}
    for row, verb in ((shop.levels[0], "receive"), (shop.levels[0], "adjust"), (shop.levels[0], "transfer"),
                      (product, "receive")):  # fmt: skip
        assert words in operator.get(act_page(row, verb)).content.decode()
        answer = send(operator, act_page(row, verb), **fields)
        assert "Shopify counts this tenant's stock" in errors_of(answer)[0]
    assert shop.numbers() == [(5, 0), (5, 0)]


def test_an_item_that_nothing_is_sold_from_is_refused_in_words(shop):
    with shop.open():
        item = InventoryItem.objects.create(shopify_id=77)
        level = StockLevel.objects.create(item=item, location=shop.third)
    answer = send(shop.person("operator"), act_page(level, "receive"), quantity=1)
    assert "Nothing is sold from this item yet" in errors_of(answer)[0]


def test_viewers_see_and_do_nothing_and_strangers_find_nothing(shop):
    viewer, stranger = shop.person("viewer"), Shop().person("owner")
    with shop.open():
        product, movement = Product.objects.get(), StockMovement.objects.first()
    fields = {"key": "admin-1", "quantity": 1, "delta": 1, "reason": "lost", "to_location_id": shop.third.pk}
    pages = [act_page(shop.levels[0], verb) for verb in ("receive", "adjust", "transfer")]
    for url in [*pages, act_page(product, "receive")]:
        for call in (viewer.get, viewer.post):
            assert call(url, fields).status_code == 403, url
        for call in (stranger.get, stranger.post):
            assert call(url, fields).status_code == 404, url
    page = viewer.get(change_page(shop.levels[0])).content.decode()
    assert "/receive/" not in page
    assert "/ledger/" in page
    assert viewer.get(change_page(movement)).status_code == 200
    assert stranger.get(act_page(shop.levels[0], "ledger")).status_code == 404
    assert str(movement.pk) not in re.findall(
        r"stockmovement/(\d+)/", stranger.get(list_page(StockMovement)).content.decode()
    )
    assert shop.numbers() == [(5, 0), (5, 0)]


def test_with_all_tenants_open_the_rows_own_tenant_is_worked_in(shop, superuser):
    other = Shop()
    superuser.post("/admin/tenant", {"tenant": "all"})
    with shop.open():
        product = Product.objects.get()
    send(superuser, act_page(shop.levels[0], "receive"), quantity=2)
    send(superuser, act_page(product, "receive"), quantity=1, variant_id=shop.variant.pk, location_id=shop.third.pk)
    page = superuser.get(act_page(shop.levels[0], "transfer")).content.decode()
    assert f'value="{shop.third.pk}"' in page
    assert f'value="{other.third.pk}"' not in page
    assert shop.numbers() == [(7, 0), (5, 0), (1, 0)]
    assert [event.tenant_id for event in shop.events("stock.received")] == [shop.tenant.pk] * 2


def test_a_level_shows_the_newest_of_its_ledger_and_links_to_all_of_it(shop):
    level = shop.levels[0]
    with shop.open():
        for number in range(60):
            StockLevel.objects.filter(pk=level.pk).update(available=100 + number)
    viewer = shop.person("viewer")

    def queries():
        with CaptureQueriesContext(connection) as seen:
            page = viewer.get(change_page(level)).content.decode()
        return len(seen), page

    queries()  # Django keeps content types from the first page on
    many, page = queries()
    rows = re.findall(r"movements-(\d+)", page)
    assert len(set(rows)) == 50
    assert page.index(">159<") < page.index(">158<")
    assert ">105<" not in page
    with shop.open():
        few = shop.levels[1]
    with CaptureQueriesContext(connection) as seen:
        viewer.get(change_page(few))
    assert many == len(seen)
    answer = viewer.get(act_page(level, "ledger"))
    assert answer["Location"] == f"{list_page(StockMovement)}?level={level.pk}"
    whole = viewer.get(answer["Location"]).content.decode()
    assert f"level {level.pk}" in whole
    assert len(set(re.findall(r"stockmovement/(\d+)/change/", whole))) == 50  # a page of them; more follow
    rest = viewer.get(f"{answer['Location']}&p=2").content.decode()
    with shop.open():
        total = StockMovement.objects.filter(level=level).count()
    assert len(set(re.findall(r"stockmovement/(\d+)/change/", rest))) == total - 50


@pytest.mark.parametrize("object_id", ["abc", "0", "9" * 30, "-1", "1.5", "%C2%B2", "1/x"])
def test_what_is_no_row_is_not_there(shop, object_id):
    operator = shop.person("operator")
    for verb in ("receive", "adjust", "transfer", "ledger"):
        url = act_page(shop.levels[0], verb).replace(f"/{shop.levels[0].pk}/", f"/{object_id}/")
        assert operator.get(url).status_code == 404
        assert operator.post(url, {"key": "admin-1", "quantity": 1}).status_code == 404
    page = change_page(shop.levels[0]).replace(f"/{shop.levels[0].pk}/", f"/{object_id}/")
    assert operator.get(page).status_code in {302, 404}


@pytest.mark.parametrize("value", ["x", "%C2%B2", "9" * 30, "-1", "1.5"])
def test_a_ledger_of_no_level_is_empty(shop, value):
    answer = shop.person("viewer").get(f"{list_page(StockMovement)}?level={value}")
    assert answer.status_code == 200
    assert not re.findall(r"stockmovement/(\d+)/change/", answer.content.decode())


@pytest.mark.parametrize(
    "query", ["shortfall=none", "shortfall=untracked", "location__id__exact=1", "shortfall=x", "q=SKU-1"]
)
def test_levels_are_filtered(shop, query):
    assert shop.person("viewer").get(f"{list_page(StockLevel)}?{query}").status_code == 200


@pytest.mark.parametrize("model", [StockLevel, StockMovement])
def test_more_rows_cost_no_more_queries(shop, model):
    viewer = shop.person("viewer")

    def count():
        with CaptureQueriesContext(connection) as seen:
            assert viewer.get(list_page(model)).status_code == 200
        return len(seen)

    before = count()
    with shop.open():
        for _ in range(5):
            stock_variant(3, locations=2)
    assert count() == before
