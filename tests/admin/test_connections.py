"""Connections are kept only as they can be of use, and what there may be one of in a tenant is refused at its field."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db.models import UniqueConstraint
from django.urls import reverse

from config.infra import tenancy
from messaging.models import CreditPolicy
from shopsync.actions.tenants import InvalidConnection, connect_service
from shopsync.checks import check_connection_services
from shopsync.models import Connection
from tests.admin.conftest import signed_in
from tests.admin.pages import MODELS, change_page
from tests.factories import make_tenant, reload
from tests.world import make_person

ADD = "/admin/shopsync/connection/add/"
FILLED_IN = {"service": "email", "name": "shop", "account_id": "postmark", "sender": "Shop <hello@shop.example>",
             "is_active": "on", "new_api_key": "key"}  # fmt: skip


def errors_at(answer):
    """Return what is wrong by field."""
    assert answer.status_code == 200, answer
    return {name: [str(one) for one in told] for name, told in answer.context["adminform"].form.errors.items()}


def connections_of(world):
    with tenancy.tenant_scope(world.tenant.pk):
        return list(Connection.objects.order_by("pk").values_list("service", "name"))


def test_a_second_connection_of_a_name_is_refused_at_the_name(owner, world):
    before = connections_of(world)
    assert ("mitto", "main") in before
    answer = owner.post(ADD, {"service": "mitto", "name": "main", "is_active": "on"})
    assert errors_at(answer) == {"name": ["There is a connection of this service and name already."]}
    assert connections_of(world) == before


def test_a_connection_is_not_renamed_to_another_ones_name(owner, world):
    owner.post(ADD, {"service": "mitto", "name": "second", "is_active": "on"})
    with tenancy.tenant_scope(world.tenant.pk):
        second = Connection.objects.get(service="mitto", name="second")
    answer = owner.post(change_page(second), {"service": "mitto", "name": "main", "is_active": "on"})
    assert list(errors_at(answer)) == ["name"]
    assert owner.post(change_page(second), {"service": "mitto", "name": "second"}).status_code == 302
    assert reload(second).is_active is False


def test_another_tenants_names_are_no_hindrance(owner, world, other_world):
    with tenancy.tenant_scope(other_world.tenant.pk):
        connect_service(service="mitto", name="theirs", actor="test")
    assert owner.post(ADD, {"service": "mitto", "name": "theirs", "is_active": "on"}).status_code == 302
    assert ("mitto", "theirs") in connections_of(world)


OF_THE_TENANT = [
    model
    for model in MODELS
    if getattr(admin.site.get_model_admin(model), "may_add", False)
    and any(isinstance(one, UniqueConstraint) and "tenant" in one.fields for one in model._meta.constraints)
]


def as_sent(bound):
    """Write the value of a field as a browser would send it."""
    value, widget = bound.value(), bound.field.widget
    if hasattr(widget, "decompress"):
        return {f"{bound.html_name}_{n}": str(one or "") for n, one in enumerate(widget.decompress(value))}
    if value is True:
        return {bound.html_name: "on"}
    if value is None or value is False:
        return {}
    return {bound.html_name: value if isinstance(value, list | str) else str(value)}


def test_the_models_to_try_are_found():
    assert {model.__name__ for model in OF_THE_TENANT} >= {"Connection", "Segment", "Sender", "SendingPolicy"}


@pytest.mark.parametrize("model", OF_THE_TENANT, ids=lambda model: model._meta.label)
def test_a_row_that_is_there_is_refused_a_second_time_in_its_tenant_alone(owner, world, model):
    with tenancy.tenant_scope(world.tenant.pk):
        row, before = model.objects.order_by("pk").first(), model.objects.count()
    add = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
    shown = owner.get(change_page(row)).context["adminform"].form
    given = {}
    for name, field in owner.get(add).context["adminform"].form.fields.items():
        known = {name: field.prepare_value(getattr(row, name, None)) or ""}  # locked once the row is there
        given |= as_sent(shown[name]) if name in shown.fields else known
    answer = owner.post(add, given)
    if model is not CreditPolicy:  # which is set anew
        assert errors_at(answer) != {}
    with tenancy.tenant_scope(world.tenant.pk):
        assert model.objects.count() == before
    elsewhere = signed_in(make_person("elsewhere", tenant=make_tenant()))
    answer = elsewhere.post(add, given)
    assert answer.status_code == 302, errors_at(answer)


@pytest.mark.parametrize(
    ("fields", "named", "sentence"),
    [
        ({"service": "fax"}, "service", "No service is called 'fax'; known: easypost, email, mitto, segment, stripe."),
        ({"sender": "nonsense"}, "sender", "Give an e-mail address"),
        ({"account_id": "bogus"}, "account_id", "Begin with the e-mail service: mailgun or postmark"),
        ({"account_id": ""}, "account_id", "Begin with the e-mail service"),
        ({"service": "mitto", "account_id": "modern:1", "sender": "Shop"}, "account_id", "Give the id of a traffic"),
    ],
)
def test_nonsense_is_refused_at_its_field_and_by_the_action(owner, world, fields, named, sentence):
    before = connections_of(world)
    told = errors_at(owner.post(ADD, FILLED_IN | fields))
    assert list(told) == [named]
    assert told[named][0].startswith(sentence)
    assert connections_of(world) == before
    given = {name: value for name, value in (FILLED_IN | fields).items() if name not in {"is_active", "new_api_key"}}
    with tenancy.tenant_scope(world.tenant.pk), pytest.raises(InvalidConnection) as refusal:
        connect_service(actor="test", **given)
    assert list(refusal.value.wrong) == [named]
    assert connections_of(world) == before


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"account_id": "Mailgun:m.shop.example"},
        {"sender": ""},
        {"service": "mitto", "account_id": "", "sender": "Shop"},
        {"service": "mitto", "account_id": "7f1b0b0e-3c1d-4a53-9d0c-0e5c1e7a9f10", "sender": "Shop"},
        {"service": "mitto", "account_id": "classic:house", "sender": "Shop"},
        {"service": "segment", "account_id": "", "sender": "", "new_api_key": ""},
    ],
)
def test_what_can_be_of_use_is_kept(owner, world, fields):
    answer = owner.post(ADD, FILLED_IN | fields, follow=True)
    assert ((FILLED_IN | fields)["service"], "shop") in connections_of(world)
    assert "no API key" not in answer.content.decode()


def test_whoever_leaves_the_key_out_is_told_so(owner, world):
    answer = owner.post(ADD, FILLED_IN | {"new_api_key": ""}, follow=True)
    assert "It has no API key yet" in answer.content.decode()


def test_a_connection_of_old_that_is_nonsense_can_be_switched_off(owner, world):
    with tenancy.tenant_scope(world.tenant.pk):
        row = Connection.objects.create(service="fax", name="old", account_id="bogus")
    form = {"service": "fax", "name": "old", "account_id": "bogus"}
    assert list(errors_at(owner.post(change_page(row), {**form, "is_active": "on"}))) == ["service"]
    assert owner.post(change_page(row), form).status_code == 302
    assert reload(row).is_active is False


def test_what_looks_at_connections_is_proved_at_the_start(settings):
    assert check_connection_services() == []
    settings.CONNECTION_SERVICES = {"fax": "messaging.accounts.wrong_with_fax", "segment": ""}
    assert [problem.id for problem in check_connection_services()] == ["shopsync.E005"]
