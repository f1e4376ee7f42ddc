"""Credits: never below zero, each key once, entries that add up whoever writes them, a cap for the day."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from config.infra import tenancy
from messaging.actions.credits import (
    CreditError,
    KeyUsed,
    OutOfCredits,
    OverDailyCap,
    adjust,
    charge_house,
    lock_accounts,
    release_credits,
    reserve_credits,
    settle_credits,
    top_up,
)
from messaging.encoding import split_sms
from messaging.models import CreditAccount, CreditDay, CreditEntry, CreditPolicy, CreditTransaction, Price
from messaging.models.policies import LARGEST_BATCH
from messaging.models.senders import LARGEST_PRICE
from messaging.queries import find_credit_drift
from messaging.rendering import MAX_TEXT
from shopsync.actions.tenants import create_api_key
from shopsync.models import Alert
from tests.factories import make_tenant, run_together, while_uncommitted

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def shop(db):
    tenant = make_tenant(timezone="Pacific/Auckland")
    with tenancy.tenant_scope(tenant.pk):
        yield tenant
        assert find_credit_drift(tenant_id=tenant.pk) == []


def balances():
    found = {row.kind: row.balance for row in CreditAccount.objects.all()}
    return [found[kind] for kind in ("funding", "available", "held", "spent", "house")]


def put_in(amount, key="top-up-1"):
    return top_up(amount=Decimal(amount), key=key, actor="test")


def move(action, amount, key, **options):
    clock = {} if action in {release_credits, charge_house} else {"now": NOON}
    return action(amount=Decimal(amount), key=key, reference="test:1", actor="test", **clock | options)


def test_credits_go_from_available_to_held_to_spent_or_back(shop):
    put_in(10)
    move(reserve_credits, 6, "r")
    assert balances() == [-10, 4, 6, 0, 0]
    move(settle_credits, "3.5", "s")
    move(release_credits, "2.5", "b")
    assert balances() == [-10, Decimal("6.5"), 0, Decimal("3.5"), 0]
    move(charge_house, 2, "h")  # delivered after all, when the hold was gone
    assert balances() == [-10, Decimal("6.5"), 0, Decimal("5.5"), -2]
    adjust(amount=Decimal("-0.5"), key="a", actor="test", note="a typing error")
    assert balances()[:2] == [Decimal("-9.5"), 6]


def test_each_key_moves_once_and_for_one_thing(shop):
    for _ in range(2):
        put_in(10)
        move(reserve_credits, 6, "r")
        move(settle_credits, 5, "s")
        move(release_credits, 1, "b")
    assert balances() == [-10, 5, 0, 5, 0]
    with pytest.raises(KeyUsed):
        put_in(11)
    with pytest.raises(KeyUsed):
        move(reserve_credits, 1, "s")


@pytest.mark.parametrize("amount", ["0", "-1", "0.00001", "NaN", "Infinity", "1e12"])
def test_amounts_that_cannot_be_are_refused(shop, amount):
    for action in (reserve_credits, settle_credits, release_credits, charge_house):
        with pytest.raises(CreditError):
            move(action, amount, "k")
    with pytest.raises(CreditError):
        put_in(amount)


def test_too_little_moves_nothing(shop):
    put_in(5)
    with pytest.raises(OutOfCredits) as caught:
        move(reserve_credits, "5.0001", "r")
    assert (caught.value.wanted, caught.value.available) == (Decimal("5.0001"), 5)
    for action in (settle_credits, release_credits):
        with pytest.raises(CreditError, match="Only 0"):
            move(action, 1, "x")
    with pytest.raises(OutOfCredits):
        adjust(amount=Decimal(-6), key="a", actor="test", note="why")
    assert balances() == [-5, 5, 0, 0, 0]


def test_the_days_cap_counts_what_is_held_and_ends_with_the_tenants_day(shop):
    put_in(100)
    CreditPolicy.objects.create(daily_cap=10)
    move(reserve_credits, 6, "r1")
    move(settle_credits, 4, "s1")  # 4 settled, 2 held
    with pytest.raises(OverDailyCap) as caught:
        move(reserve_credits, 5, "r2")
    assert caught.value.left == 4
    move(reserve_credits, 4, "r3")
    tomorrow = NOON + timedelta(hours=23)  # midnight in Auckland; what is held counts with the day it is on
    with pytest.raises(OverDailyCap):
        move(reserve_credits, 5, "r4", now=tomorrow)
    move(reserve_credits, 4, "r5", now=tomorrow)
    assert list(CreditDay.objects.values_list("day", "settled")) == [(datetime(2026, 11, 3).date(), 4)]  # noqa: DTZ001


def test_little_left_is_an_alert_that_a_top_up_closes(shop):
    CreditPolicy.objects.create(low_balance_at=3)
    put_in(5)
    move(reserve_credits, 2, "r")
    (alert,) = Alert.objects.filter(kind="credits.low", closed_at=None)
    assert "3.0000 credits are left" in alert.message
    put_in(1, "top-up-2")
    assert not Alert.objects.filter(kind="credits.low", closed_at=None).exists()


def test_a_thousand_reserves_at_once_never_overdraw(shop):
    put_in(100)

    def ask(number):
        def run():
            with tenancy.tenant_scope(shop.pk):
                try:
                    move(reserve_credits, 1, f"r{number}")
                except OutOfCredits:
                    return "refused"
                return "held"

        return run

    answers = run_together([ask(number) for number in range(1000)], threads=32)
    assert (answers.count("held"), answers.count("refused")) == (100, 900)
    assert balances() == [-100, 0, 100, 0, 0]


def test_raw_writes_cannot_make_or_hide_credits(shop):
    made = put_in(5)
    accounts = lock_accounts_now()
    with pytest.raises(IntegrityError, match="entries alone"), transaction.atomic():
        CreditAccount.objects.filter(kind="available").update(balance=500)
    with pytest.raises(IntegrityError, match="add up to"), transaction.atomic():
        lonely = CreditTransaction.objects.create(kind="top_up", key="lonely", actor="test")
        CreditEntry.objects.create(transaction=lonely, account=accounts["available"], amount=5)
    with pytest.raises(IntegrityError, match="add up to"), transaction.atomic():
        CreditTransaction.objects.create(kind="top_up", key="empty", actor="test")
    with pytest.raises(IntegrityError, match="overdrawn"), transaction.atomic():
        bad = CreditTransaction.objects.create(kind="adjust", key="bad", actor="test")
        CreditEntry.objects.create(transaction=bad, account=accounts["funding"], amount=6)
        CreditEntry.objects.create(transaction=bad, account=accounts["available"], amount=-6)
    for rows in (CreditEntry.objects.all(), CreditTransaction.objects.filter(pk=made.pk)):
        with pytest.raises((IntegrityError, ProgrammingError, Exception), match="append"), transaction.atomic():
            rows.delete() if rows.model is CreditEntry else rows.update(kind="adjust")
    assert balances() == [-5, 5, 0, 0, 0]


def lock_accounts_now():
    with transaction.atomic():
        return lock_accounts()


def test_another_tenants_account_takes_no_entry(shop):
    put_in(5)
    other = make_tenant()
    with tenancy.tenant_scope(other.pk):
        put_in(7)
        theirs = CreditAccount.objects.get(kind="available")
    mine = CreditAccount.objects.get(kind="funding")
    with pytest.raises(IntegrityError, match="is not of tenant"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO messaging_credittransaction (tenant_id, kind, key, reference, actor, note)"
            " VALUES (%s, 'adjust', 'x', '', '', '') RETURNING id",
            [shop.pk],
        )
        (made,) = cursor.fetchone()
        for account, amount in ((mine.pk, 1), (theirs.pk, -1)):
            cursor.execute(
                "INSERT INTO messaging_creditentry (tenant_id, transaction_id, account_id, amount)"
                " VALUES (%s, %s, %s, %s)",
                [shop.pk, made, account, amount],
            )


@pytest.mark.django_db(transaction=True)
def test_the_command_proves_the_ledger_or_names_what_differs():
    tenant, other = make_tenant(), make_tenant()
    for one in (tenant, other):
        with tenancy.tenant_scope(one.pk):
            put_in(5)
    out = io.StringIO()
    call_command("verify_credits", stdout=out)
    assert "2 transactions of 2 tenants are what their ledgers say" in out.getvalue()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE messaging_creditaccount DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE messaging_creditaccount SET balance = 6 WHERE kind = 'available' AND tenant_id = %s", [other.pk]
        )
        cursor.execute("ALTER TABLE messaging_creditaccount ENABLE TRIGGER USER")
    with pytest.raises(CommandError, match="1 differences in 2 transactions of 2 tenants"):
        call_command("verify_credits", stdout=out)
    assert f"{other}: account:available: 6.0000, not 5.0000" in out.getvalue()
    call_command("verify_credits", tenant=tenant.shop_domain, stdout=out)
    with pytest.raises(CommandError, match="No tenant"):
        call_command("verify_credits", tenant="nobody.myshopify.com", stdout=out)


def test_a_price_is_so_bounded_that_the_dearest_batch_can_be_paid(shop):
    parts = max(len(split_sms(character * MAX_TEXT).parts) for character in ("a", "€", "я", "😀"))
    dearest = LARGEST_BATCH * parts * LARGEST_PRICE
    top_up(amount=Decimal(dearest), key="t", actor="t")
    reserve_credits(amount=Decimal(dearest), key="r", reference="r", actor="t", now=NOON)
    Price(channel="sms", country="GR", amount=LARGEST_PRICE).full_clean()
    for amount, sentence in (("10000.0001", "less than or equal to 10000"), ("-1", "greater than or equal to 0")):
        price = Price(channel="sms", country="GR", amount=Decimal(amount))
        with pytest.raises(ValidationError, match=sentence):
            price.full_clean()
        with pytest.raises(IntegrityError, match="price_"), transaction.atomic():
            price.save()


@pytest.fixture
def api(shop):
    return APIClient(headers={"Authorization": f"Api-Key {create_api_key(name='new', actor='test').secret}"})


def test_nothing_is_left_today_once_the_cap_is_below_what_was_spent(shop, api):
    put_in(10)
    move(reserve_credits, 6, "r", now=timezone.now())
    CreditPolicy.objects.create(daily_cap=2)
    assert api.get("/api/v1/credits").json()["left_today"] == "0.0000"


def test_a_low_balance_is_told_with_what_it_means(shop):
    CreditPolicy.objects.create(low_balance_at=5)
    put_in(3)
    message = Alert.objects.get(kind="credits.low").message
    assert message.endswith(" credits are left; what costs more than that waits. Top up.")


@pytest.mark.parametrize("has_one", [True, False])
def test_of_two_who_change_the_policy_at_once_neither_loses_what_they_said(shop, api, has_one):
    if has_one:
        CreditPolicy.objects.create(countries=["GR"])

    def first():
        lock_accounts()
        CreditPolicy.objects.update_or_create(defaults={"daily_cap": 9})

    answer = while_uncommitted(first, lambda: api.put("/api/v1/credits/policy", {"low_balance_at": "3"}, format="json"))
    shown = answer.json()
    assert (answer.status_code, shown["daily_cap"], shown["low_balance_at"]) == (200, "9.0000", "3.0000")
    assert CreditPolicy.objects.get().countries == (["GR"] if has_one else [])
