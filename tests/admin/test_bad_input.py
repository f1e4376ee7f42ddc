"""What can't be is refused by the name of its field in the admin too, and no address that was made up breaks a page."""

from __future__ import annotations

import pytest
from django.urls import reverse

from audit.models import DeadLetter
from orders.models import Order, PaymentMismatch
from tests.admin.conftest import act_page, errors_of, send, signed_in
from tests.admin.pages import list_page
from tests.factories import make_tenant
from tests.world import make_person

NOT_PLAIN = ["1_0", "1e0", "1E+1", "+1", "0x1", "NaN", "Infinity", "\u0661"]
NO_TIME = "9999-12-31T23:59:59-23:59"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("model", "column"), [(Order, "cancelled_at"), (Order, "held_at"), (PaymentMismatch, "closed_at")]
)
@pytest.mark.parametrize("lookup", ["", "__exact", "__gte"])
def test_a_filter_by_a_time_out_of_the_calendar_leads_back_to_the_list(transactional_db, model, column, lookup):
    owner = signed_in(make_person("owner", tenant=make_tenant()))
    answer = owner.get(f"{list_page(model)}?{column}{lookup}={NO_TIME}")
    assert (answer.status_code, answer["Location"]) == (302, f"{list_page(model)}?e=1")
    assert owner.get(answer["Location"]).status_code == 200


def test_an_id_that_no_column_can_hold_is_of_nothing(owner):
    for model in (DeadLetter, Order):
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=["ID"])
        assert owner.get(address.replace("ID", "a%00b")).status_code == 302


@pytest.mark.parametrize("number", NOT_PLAIN)
def test_numbers_are_taken_in_plain_digits_only(shop, number):
    operator, order = shop.person("operator"), shop.place(2, is_paid=True)
    units = send(operator, act_page(shop.levels[0], "receive"), quantity=number)
    assert errors_of(units) == ["Enter a whole number."]
    money = send(operator, act_page(order, "refund"), amount=number)
    assert errors_of(money) == ["Enter a number."]
    assert shop.numbers() == [(3, 0), (5, 0)]
