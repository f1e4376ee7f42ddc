"""Campaigns in the admin are written, launched, paused and cancelled; settings of sending are made once."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from audit.models import AuditEvent
from config.infra import tenancy
from messaging.models import (
    Campaign,
    Contact,
    CreditAccount,
    CreditPolicy,
    Message,
    Price,
    QuietHours,
    Segment,
    Sender,
    SendingPolicy,
    SendLimit,
    TemplateVersion,
)
from shopsync.models import Connection
from tests.admin.pages import change_page, list_page
from tests.factories import reload

HOURS = {"country": "", "region": "", "starts_at": "08:00", "ends_at": "20:00"}


def add_page(model):
    return reverse(f"admin:messaging_{model._meta.model_name}_add")


def act(client, row, word, **fields):
    """Open the page of an action, fill it in and send it."""
    path = change_page(row).replace("/change/", f"/{word}/")
    page = client.get(path)
    if page.status_code != 200:
        return page
    key = re.search(r'name="key" value="([^"]+)"', page.content.decode())[1]
    return client.post(path, {"key": key, **fields})


@pytest.fixture
def filled_in(world):
    """What a person fills in for a campaign."""
    with tenancy.tenant_scope(world.tenant.pk):
        return {
            "name": "By hand",
            "channel": "sms",
            "segment": Segment.objects.get(name="everybody").pk,
            "template_version": TemplateVersion.objects.get(template__name="greeting").pk,
            "sender": Sender.objects.get(value="Shopsync").pk,
            "holdout_percent": "0",
            "keeps_quiet_hours": "on",
        }


def test_an_operator_writes_reports_launches_pauses_and_cancels(operator, world, filled_in):
    assert operator.get(add_page(Campaign)).status_code == 200
    answer = operator.post(add_page(Campaign), filled_in)
    assert answer.status_code == 302, answer.content.decode()[-2000:]
    with tenancy.tenant_scope(world.tenant.pk):
        campaign = Campaign.objects.get(name="By hand")
        contacts = Contact.objects.count()
    assert operator.post(change_page(campaign), {**filled_in, "name": "By two hands"}).status_code == 302
    assert act(operator, campaign, "report").status_code == 302
    assert reload(campaign).preflight["contacts"] == contacts
    assert act(operator, campaign, "launch").status_code == 302
    assert (reload(campaign).status, reload(campaign).name) == ("sending", "By two hands")
    page = operator.get(change_page(campaign)).content.decode()
    assert f"of {contacts}" in page
    assert "<progress" in operator.get(list_page(Campaign)).content.decode()
    for word, status in (("pause", "paused"), ("resume", "sending"), ("cancel", "cancelled")):
        assert act(operator, campaign, word).status_code == 302
        assert reload(campaign).status == status


def test_what_does_not_fit_is_said_beside_its_field_and_nothing_is_written(operator, world, filled_in):
    answer = operator.post(add_page(Campaign), {**filled_in, "channel": "email", "sender": ""})
    assert answer.status_code == 200
    assert "The template is for sms, not email" in answer.content.decode()
    answer = operator.post(add_page(Campaign), {**filled_in, "holdout_percent": "91"})
    assert answer.status_code == 200
    with tenancy.tenant_scope(world.tenant.pk):
        assert not Campaign.objects.filter(name="By hand").exists()


def test_a_viewer_and_a_stranger_launch_nothing(viewer, stranger, world):
    campaign = world.rows[Campaign]
    assert viewer.post(add_page(Campaign), {}).status_code == 403
    assert act(viewer, campaign, "launch").status_code in {302, 403}
    assert act(stranger, campaign, "launch").status_code in {302, 404}
    assert reload(campaign).status == "draft"


@pytest.mark.parametrize(
    ("model", "fields", "wrong", "words"),
    [
        (SendingPolicy, {"batch_size": "50", "cap_hours": "24"}, "__all__", "change that one"),
        (SendingPolicy, {"batch_size": "0", "cap_hours": "24"}, "batch_size", "Give 1 to 5,000"),
        (SendingPolicy, {"batch_size": "5001", "cap_hours": "24"}, "batch_size", "Give 1 to 5,000"),
        (SendingPolicy, {"batch_size": "5", "cap_hours": "0"}, "cap_hours", "Give 1 to 8,784"),
        (SendingPolicy, {"batch_size": "5", "cap_hours": "1", "cap_messages": "101"}, "cap_messages", "1 to 100"),
        (QuietHours, {**HOURS, "country": "GR"}, "country", "change those"),
        (QuietHours, {**HOURS, "region": "FL"}, "country", "Name the country"),
        (QuietHours, {**HOURS, "country": "XX"}, "country", "that there is"),
        (QuietHours, {**HOURS, "country": "US", "region": "ZZ"}, "region", "no state ZZ of US: give what stands"),
        (Sender, {"channel": "sms", "value": "Shopsync", "is_active": "on"}, "value", "change that sender"),
        (Sender, {"channel": "sms", "value": "Shop", "country": "ZZ"}, "country", "that there is"),
        (
            Sender,
            {"channel": "sms", "value": "Shop", "recipients_per_second": "0"},
            "recipients_per_second",
            "1 or more",
        ),
    ],
)
def test_what_does_not_hold_is_said_beside_its_field_and_not_as_the_database_says_it(
    owner, world, model, fields, wrong, words
):
    answer = owner.post(add_page(model), fields)
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert words in errors[wrong][0]
    assert not any(word in str(errors) for word in ("onstraint", "already exists"))
    if wrong != "__all__":
        assert set(errors) <= {wrong, "__all__"}


def test_every_constraint_of_a_setting_has_words_for_a_field_of_it():
    for model in (Sender, Price, SendingPolicy, QuietHours, SendLimit, CreditPolicy):
        assert set(model.WORDS) == {constraint.name for constraint in model._meta.constraints}
        names = {field.name for field in model._meta.fields}
        assert {field for field, _ in model.WORDS.values()} <= {*names, "__all__"}


def test_a_price_is_of_a_country_that_there_is_and_one(superuser, world):
    superuser.post("/admin/tenant", {"tenant": world.tenant.pk})
    given = {"channel": "email", "country": "GR", "amount": "1"}
    assert superuser.post(add_page(Price), given).status_code == 302
    for change, field, words in (({}, "country", "change that one"), ({"country": "ZZ"}, "country", "that there is")):
        answer = superuser.post(add_page(Price), {**given, **change})
        assert words in answer.context["adminform"].form.errors[field][0]


def test_a_limit_is_of_somebody_there_is(superuser, owner, world):
    superuser.post("/admin/tenant", {"tenant": world.tenant.pk})
    given = {"level": "tenant", "subject": world.tenant.shop_domain, "requests_per_second": "7"}
    assert superuser.post(add_page(SendLimit), given).status_code == 302
    limit = SendLimit.objects.get(level="tenant")
    assert limit.subject == str(world.tenant.pk)
    assert world.tenant.shop_domain in superuser.get(list_page(SendLimit)).content.decode()
    with tenancy.tenant_scope(world.tenant.pk):
        account = f"mitto:{Connection.objects.get(service='mitto').account_id}"
    for change, field, words in (
        ({}, "subject", "change that one"),
        ({"subject": "nobody.myshopify.com"}, "subject", "There is no tenant nobody.myshopify.com"),
        ({"subject": "999999999"}, "subject", "There is no tenant 999999999"),
        ({"level": "account", "subject": "mitto:nobody"}, "subject", account),
        ({"level": "global", "subject": "x"}, "subject", "leave it empty"),
        ({"subject": "", "requests_per_second": "0"}, "requests_per_second", "Give 1 to 100,000"),
    ):
        errors = superuser.post(add_page(SendLimit), {**given, **change}).context["adminform"].form.errors
        assert words in errors[field][0], errors
        assert list(errors) == [field]
    assert superuser.post(add_page(SendLimit), {**given, "level": "account", "subject": account}).status_code == 302
    assert owner.post(add_page(SendLimit), given).status_code == 403


def test_a_limit_of_somebody_who_is_gone_can_be_changed(superuser, world):
    superuser.post("/admin/tenant", {"tenant": world.tenant.pk})
    gone = SendLimit.objects.create(level="account", subject="mitto:gone", requests_per_second=5)
    gone.refresh_from_db()
    given = {"level": "account", "subject": "mitto:gone", "requests_per_second": "6"}
    assert superuser.post(change_page(gone), given).status_code == 302
    before = gone.updated_at
    gone.refresh_from_db()
    assert (gone.requests_per_second, gone.updated_at > before) == (6, True)


def test_what_is_done_to_the_houses_rows_is_the_systems_to_remember(superuser, world):
    superuser.post("/admin/tenant", {"tenant": world.tenant.pk})
    superuser.post(add_page(Price), {"channel": "email", "country": "GR", "amount": "1"})
    price = Price.objects.get(channel="email", country="GR")
    superuser.post(change_page(price), {"channel": "email", "country": "GR", "amount": "2"})
    superuser.post(change_page(price).replace("/change/", "/delete/"), {"post": "yes"})
    assert not Price.objects.filter(pk=price.pk).exists()
    with tenancy.all_tenants(reason="test"):
        events = AuditEvent.objects.filter(subject=f"price:{price.pk}").order_by("pk")
        told = list(events.values_list("name", "tenant_id"))
    assert told == [("price.created", None), ("price.updated", None), ("price.deleted", None)]


def test_a_list_that_a_description_names_is_not_taken_away(operator, world):
    listed = {"name": "do not write to"}
    assert operator.post(add_page(Segment), listed).status_code == 302
    with tenancy.tenant_scope(world.tenant.pk):
        kept = Segment.objects.get(**listed)
    described = {"name": "all but those", "definition": f'{{"field": "list", "op": "not_in", "value": {kept.pk}}}'}
    assert operator.post(add_page(Segment), described).status_code == 302
    page = operator.post(change_page(kept).replace("/change/", "/delete/"), {"post": "yes"})
    assert (page.status_code, "all but those" in page.content.decode()) == (200, True)
    chosen = {"action": "delete_selected", "_selected_action": [kept.pk], "post": "yes"}
    assert "all but those" in operator.post(list_page(Segment), chosen).content.decode()
    assert reload(kept) == kept
    wrong = {"name": "late", "definition": '{"field": "list", "op": "not_in", "value": 999999999}'}
    page = operator.post(add_page(Segment), wrong)
    assert (page.status_code, "there is no static list 999999999" in page.content.decode()) == (200, True)


def test_an_owner_says_what_may_be_spent(owner, world):
    policy = world.rows[CreditPolicy]
    fields = {"daily_cap": "7", "low_balance_at": "", "countries": "gr, CY XK,GR"}
    assert owner.post(change_page(policy), fields).status_code == 302
    assert (reload(policy).daily_cap, reload(policy).countries) == (7, ["CY", "GR", "XK"])
    assert 'value="CY, GR, XK"' in owner.get(change_page(policy)).content.decode()
    for wrong in ("Greece", '["GR"]', "GR, QQ"):
        answer = owner.post(change_page(policy), {**fields, "countries": wrong})
        assert (answer.status_code, "Give ISO 3166-1 codes" in answer.content.decode()) == (200, True)
    assert owner.post(change_page(policy), {**fields, "countries": " "}).status_code == 302
    assert reload(policy).countries == []


def test_the_house_alone_tops_up(owner, superuser, world):
    account = world.rows[CreditAccount]
    assert act(owner, account, "top-up", amount="50", note="").status_code == 403
    superuser.post("/admin/tenant", {"tenant": world.tenant.pk})
    assert act(superuser, account, "top-up", amount="50", note="invoice 7").status_code == 302
    with tenancy.tenant_scope(world.tenant.pk):
        assert CreditAccount.objects.get(kind="available").balance == 1050


def test_an_unknown_message_is_decided_on(operator, world):
    with tenancy.tenant_scope(world.tenant.pk):
        unknown = Message.objects.get(status="unknown")
    assert act(operator, unknown, "was-not-sent").status_code == 302
    assert reload(unknown).state == "failed"
