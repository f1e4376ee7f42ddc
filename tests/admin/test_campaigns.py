"""Campaigns in the admin are written, launched, paused and cancelled; settings of sending are made once."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from config.infra import tenancy
from messaging.models import (
    Campaign,
    Contact,
    CreditAccount,
    CreditPolicy,
    Message,
    QuietHours,
    Segment,
    Sender,
    SendingPolicy,
    TemplateVersion,
)
from tests.admin.pages import change_page, list_page
from tests.factories import reload


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
    ("model", "fields"),
    [
        (SendingPolicy, {"batch_size": "50", "cap_hours": "24"}),
        (QuietHours, {"country": "GR", "region": "", "starts_at": "08:00", "ends_at": "20:00"}),
        (Sender, {"channel": "sms", "value": "Shopsync", "country": "", "is_active": "on"}),
    ],
)
def test_what_there_is_one_of_is_not_made_twice_and_says_so(owner, world, model, fields):
    answer = owner.post(add_page(model), fields)
    assert answer.status_code == 200
    assert "already exists" in answer.content.decode()


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
