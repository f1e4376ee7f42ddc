"""What POST /api/v1/orders takes and refuses: amounts, currencies and places that can't be, by name of the field."""

from __future__ import annotations

import json

import pytest

from config.infra import tenancy
from inventory.models import Variant
from orders.models import Order
from tests.api.test_reservations import Shop

pytestmark = pytest.mark.django_db


def open_shop(**fields):
    shop = Shop(**fields)
    with tenancy.tenant_scope(shop.tenant.pk):
        Variant.objects.update(price_amount=10)
    return shop


def place(shop, line=(), **fields):
    return shop.post("orders", {"lines": [{"variant_id": shop.variant.pk, "quantity": 2, **dict(line)}], **fields})


def named(answer):
    """Return where the first error of a refusal stands, e.g. lines.0.tax_amount."""
    assert answer.status_code == 400, answer.content
    node, path = answer.json()["errors"], []
    while not (isinstance(node, list) and node and isinstance(node[0], str)):
        key = next(iter(node)) if isinstance(node, dict) else next(at for at, part in enumerate(node) if part)
        path.append(str(key))
        node = node[key]
    return ".".join(path)


def refused(shop, cases):
    found = [(named(place(shop, **body)), field) for body, field in cases]
    assert [path for path, _ in found] == [field for _, field in found]
    with tenancy.tenant_scope(shop.tenant.pk):
        assert not Order.objects.exists()


def test_amounts_that_can_not_be_are_refused_by_name():
    refused(
        open_shop(currency="JPY"),
        [
            ({"line": {"discount_amount": "21"}}, "lines.0.discount_amount"),
            ({"line": {"price_amount": "3", "discount_amount": "7"}}, "lines.0.discount_amount"),
            ({"line": {"discount_amount": "0.5"}}, "lines.0.discount_amount"),
            ({"line": {"tax_amount": "1.5"}}, "lines.0.tax_amount"),
            ({"shipping_amount": "5.5"}, "shipping_amount"),
            ({"shipping_amount": "5.5", "currency": "JPY"}, "shipping_amount"),
            ({"presentment_currency": "ZZZ"}, "presentment_currency"),
            ({"presentment_currency": "JPY", "presentment_rate": "1.1"}, "presentment_rate"),
            ({"presentment_rate": "2"}, "presentment_rate"),
            ({"currency": "USD"}, "currency"),
        ],
    )


def test_places_that_are_none_are_refused_by_name():
    cases = [
        ({"country": "ZZ"}, "country"),
        ({"latitude": 52.3}, "longitude"),
        ({"longitude": 4.9}, "latitude"),
        ({"latitude": "NaN", "longitude": 4.9}, "latitude"),
    ]
    shop = open_shop()
    refused(
        shop,
        [
            *(({"destination": place}, f"destination.{field}") for place, field in cases),
            ({"shipping_address": {"country_code": "ZZ"}}, "shipping_address.country_code"),
            ({"billing_address": {"country_code": "UK"}}, "billing_address.country_code"),
        ],
    )
    for destination, field in cases:
        assert named(shop.reserve(destination=destination)) == f"destination.{field}"
    assert shop.reserve(destination={"country": "NL", "latitude": 52.3, "longitude": 4.9}).status_code == 201
    address = {"address1": "1 Road", "city": "Town", "country_code": "ZZ"}
    shipment = {"from_address": address, "parcel": {"weight_grams": 1}}
    made = place(shop, is_paid=True).json()
    parcel = shop.post("shipments", {"order_id": made["id"]}).json()
    assert named(shop.post(f"shipments/{parcel['id']}/rates", shipment)) == "from_address.country_code"


def test_what_fits_is_taken_in_currencies_of_no_and_of_four_decimals():
    yen = place(open_shop(currency="JPY"), {"discount_amount": "20", "tax_amount": "3"}, presentment_rate="1").json()
    assert (yen["total_amount"], yen["presentment_total_amount"]) == ("3", "3")
    shop = open_shop(currency="CLF")
    fine = place(shop, {"price_amount": "0.1234"}, presentment_currency="UYW", presentment_rate="2").json()
    assert (fine["total_amount"], fine["presentment_total_amount"]) == ("0.2468", "0.4936")
    assert json.dumps(fine["lines"][0]["price_amount"]) == '"0.1234"'


def test_what_is_finer_than_can_be_paid_names_its_field_and_the_step():
    shop = open_shop(currency="KWD")
    faulty = place(shop, {"tax_amount": "0.005"}, presentment_rate="1")
    assert (named(faulty), "steps of 0.010" in str(faulty.json())) == ("lines.0.tax_amount", True)
    made = place(shop, {"price_amount": "1.2345"}, presentment_rate="1").json()
    assert made["total_amount"] == "2.470"


def test_unknown_reservations_and_lines_are_bad_input_and_conflicts_stay_conflicts():
    shop, other = open_shop(), open_shop()
    theirs = other.reserve(2).json()["id"]
    strange = [place(shop, reservation_id=number) for number in (theirs, 10**6)]
    assert [named(answer) for answer in strange] == ["reservation_id"] * 2
    assert strange[0].json()["detail"].replace(str(theirs), "N") == strange[1].json()["detail"].replace("1000000", "N")
    mine = shop.reserve(2).json()["id"]
    made = place(shop, reservation_id=mine, is_paid=True)
    assert (made.status_code, place(shop, reservation_id=mine).status_code) == (201, 409)
    their_line = place(other).json()["lines"][0]["id"]
    path = f"orders/{made.json()['id']}"
    for act in ("cancel", "refunds"):
        for number in (their_line, 10**6):
            assert named(shop.post(f"{path}/{act}", {"lines": [{"line_id": number, "quantity": 1}]})) == "lines"
    line = made.json()["lines"][0]["id"]
    assert shop.post(f"{path}/cancel", {"lines": [{"line_id": line, "quantity": 3}]}).status_code == 409
    parcel = {"order_id": made.json()["id"], "lines": [{"line_id": their_line, "quantity": 1}]}
    assert named(shop.post("shipments", parcel)) == "lines"


VAT = {"title": "VAT", "rate": "0.21", "price": "3.78"}


def test_lists_are_kept_as_shopifys_are_and_their_sums_are_worked_out():
    shop = open_shop()
    lines = [{"variant_id": shop.variant.pk, "quantity": 1, "tax_lines": [VAT, {"title": "Town", "price": "0.22"}]},
             {"variant_id": shop.variant.pk, "quantity": 2, "tax_lines": [VAT]}]  # fmt: skip
    ways = [{"title": "Courier", "code": "X", "price": "4"}, {"title": "Insurance", "price": "1.50"}]
    codes = [{"code": "SPRING", "amount": "2.00", "type": "fixed_amount"}, {"code": "AGAIN", "amount": "0.01"}]
    body = shop.post("orders", {"lines": lines, "shipping_lines": ways, "discount_codes": codes}).json()
    sums = [body[f"{name}_amount"] for name in ("subtotal", "discount", "tax", "shipping", "total")]
    assert sums == ["27.99", "2.01", "7.78", "5.50", "41.27"]
    assert [(line["discount_amount"], line["tax_amount"]) for line in body["lines"]] == [
        ("0.67", "4.00"),
        ("1.34", "3.78"),
    ]
    assert body["taxes"] == [VAT | {"price": "7.56"}, {"title": "Town", "price": "0.22"}]
    assert body["shipping_lines"] == [ways[0] | {"price": "4.00"}, ways[1]]
    assert body["discounts"] == codes
    given = {"line": {"discount_amount": "3", "tax_amount": "3.78", "tax_lines": [VAT]}, "shipping_amount": "5.5"}
    open_code = [{"code": "A", "amount": "1"}, {"code": "B"}]
    body = place(shop, **given, shipping_lines=ways, discount_codes=open_code).json()
    assert [code["amount"] for code in body["discounts"]] == ["1.00", "2.00"]
    assert body["total_amount"] == "26.28"
    body = place(shop, {"discount_amount": "1"}, discounts=[{"code": "OLD", "amount": "9"}]).json()  # for the record
    assert ([code["code"] for code in body["discounts"]], body["total_amount"]) == (["OLD"], "19.00")


def test_lists_that_do_not_agree_with_their_sums_are_refused_by_name():
    way, code = {"title": "Courier", "price": "4"}, {"code": "A", "amount": "2"}
    refused(
        open_shop(),
        [
            ({"shipping_amount": "5", "shipping_lines": [way]}, "shipping_amount"),
            ({"shipping_lines": [way, way | {"price": "0.005"}]}, "shipping_lines.1.price"),
            ({"line": {"tax_amount": "3", "tax_lines": [VAT]}}, "lines.0.tax_amount"),
            ({"line": {"tax_lines": [VAT | {"price": "0.001"}]}}, "lines.0.tax_lines.0.price"),
            ({"line": {"discount_amount": "3"}, "discount_codes": [code]}, "discount_codes"),
            ({"line": {"discount_amount": "1"}, "discount_codes": [code, {"code": "B"}]}, "discount_codes"),
            ({"line": {"discount_amount": "1"}, "discount_codes": [{"code": "A"}, {"code": "B"}]}, "discount_codes"),
            ({"discount_codes": [code | {"amount": "20.01"}]}, "discount_codes"),
            ({"discount_codes": [code | {"amount": "0.001"}]}, "discount_codes.0.amount"),
            ({"discount_codes": [code], "discounts": [code]}, "discounts"),
        ],
    )


LARGE = "999999999999.99"  # the largest that one amount can be


def test_sums_that_no_column_can_hold_are_refused_by_the_part_that_is_too_much():
    shop = open_shop()
    taxes = [{"title": "VAT", "price": LARGE}] * 50
    ways = [{"title": "Courier", "price": LARGE}] * 50
    in_yen = {"presentment_currency": "JPY", "presentment_rate": "9999999999.5"}
    refused(
        shop,
        [
            ({"shipping_lines": ways, **in_yen}, "shipping_lines.0.price"),
            ({"shipping_lines": [{"title": "Free", "price": "0"}, *ways[1:]], **in_yen}, "shipping_lines.1.price"),
            ({"shipping_amount": LARGE, **in_yen}, "shipping_amount"),
            ({"line": {"tax_lines": taxes}, **in_yen}, "lines.0.tax_lines.0.price"),
            ({"line": {"tax_amount": LARGE}, **in_yen}, "lines.0.tax_amount"),
            ({"line": {"price_amount": "60000"}, **in_yen}, "lines.0.price_amount"),
            ({"line": {"price_amount": LARGE, "quantity": 2}}, "lines.0.price_amount"),
        ],
    )
    with tenancy.tenant_scope(shop.tenant.pk):
        Variant.objects.update(price_amount="9999999999999999")
    line = {"variant_id": shop.variant.pk, "quantity": 10**9}
    assert named(shop.post("orders", {"lines": [line] * 500})) == "lines.0.quantity"
    lines = [{"variant_id": shop.variant.pk, "quantity": 1, "price_amount": "1", "tax_lines": taxes}] * 500
    assert named(shop.post("orders", {"lines": lines})) == "lines.19.tax_lines.49.price"


NOT_PLAIN = ["1_0", "1e3", "1E-2", "+1", " 1", "1 ", ".5", "5.", "\u0661", "0x1", "NaN", "Infinity"]


def test_amounts_and_rates_are_written_in_plain_digits():
    shop = open_shop()
    order = place(shop, is_paid=True).json()["id"]
    for number in NOT_PLAIN:
        tax = {"title": "VAT", "price": "1", "rate": number}
        refused_by = [
            (place(shop, shipping_amount=number), "shipping_amount"),
            (place(shop, {"tax_lines": [tax]}), "lines.0.tax_lines.0.rate"),
            (place(shop, presentment_currency="JPY", presentment_rate=number), "presentment_rate"),
            (shop.post(f"orders/{order}/refunds", {"amount": number}), "amount"),
            (shop.post(f"orders/{order}/capture", {"amount": number}, **{"Idempotency-Key": "a"}), "amount"),
        ]
        assert [named(answer) for answer, _ in refused_by] == [field for _, field in refused_by]


def test_a_rate_may_be_a_number_and_nothing_has_no_sign():
    tax = {"title": "VAT", "price": "0.5", "rate": 0.21}
    order = place(open_shop(), {"tax_lines": [tax]}, shipping_lines=[{"title": "Free", "price": "-0"}]).json()
    assert order["taxes"][0]["rate"] == "0.21"
    assert order["shipping_lines"][0]["price"] == "0.00"
