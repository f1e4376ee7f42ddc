"""A name that is taken is refused with 400 beside its field, also when two ask for it at once: never with a 500."""

from __future__ import annotations

import functools

import pytest
from rest_framework.test import APIClient

from config.infra import tenancy
from messaging.actions.segments import save_segment
from messaging.models import Contact, QuietHours, Segment, Sender, SendingPolicy, SignupForm, Template
from orders.models import OrderWatch
from shopsync.actions.tenants import create_api_key
from shopsync.models import Connection
from tests.admin.conftest import signed_in
from tests.factories import make_tenant, run_together, while_uncommitted
from tests.world import make_person

pytestmark = pytest.mark.django_db(transaction=True)
FORM = {"name": "news", "channels": ["sms"], "text_shown": "I agree."}
HOURS = {"country": "GR", "starts_at": "08:00", "ends_at": "21:00"}
ADD = "/admin/shopsync/connection/add/"
# What is written, by whom it would be taken, and the field that is named.
TAKEN = [
    ("templates", {"name": "hello", "channel": "sms", "body": "Hi"}, Template, "name"),
    ("contacts/forms", FORM, SignupForm, "name"),
    ("contacts", {"email": "ann@example.com"}, Contact, "email"),
    ("segments", {"name": "all", "definition": {"all": []}}, Segment, "name"),
    ("senders", {"channel": "sms", "value": "Shop"}, Sender, "value"),
    ("quiet-hours", HOURS, QuietHours, "country"),
    ("orders/watches", {"kind": "unpaid", "hours": 3}, OrderWatch, "kind"),
]


@pytest.fixture
def shop():
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


@pytest.fixture
def key(shop):
    return create_api_key(name="system", actor="test").secret


def ask(key, path, body):
    return APIClient(headers={"Authorization": f"Api-Key {key}"}).post(f"/api/v1/{path}", body, format="json")


@pytest.mark.parametrize(("path", "body", "model", "field"), TAKEN, ids=[one[0] for one in TAKEN])
def test_what_is_taken_is_400_at_its_field(shop, key, path, body, model, field):
    assert ask(key, path, body).status_code == 201
    again = ask(key, path, body)
    assert (again.status_code, list(again.json()["errors"])) == (400, [field])
    assert "already" in again.json()["errors"][field][0]
    assert model.objects.count() == 1


@pytest.mark.parametrize(("path", "body", "model", "field"), TAKEN, ids=[one[0] for one in TAKEN])
def test_of_two_at_once_one_is_taken_and_one_is_400_at_its_field(shop, key, path, body, model, field):
    answers = run_together([lambda: ask(key, path, body)] * 4, threads=4)
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201, 400, 400, 400]
    assert {tuple(answer.json()["errors"]) for answer in answers if answer.status_code == 400} == {(field,)}
    assert model.objects.count() == 1


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [("senders", TAKEN[4][1], "value"), ("quiet-hours", HOURS, "country")],
)
def test_settings_that_somebody_writes_at_this_moment_are_400_at_the_field(shop, key, path, body, field):
    write = {"senders": lambda: Sender(**body).save(), "quiet-hours": lambda: QuietHours(**body).save()}[path]
    answer = while_uncommitted(write, lambda: ask(key, path, body))
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_those_who_write_the_first_policy_at_once_write_one(shop, key):
    def put(**fields):
        client = APIClient(headers={"Authorization": f"Api-Key {key}"})
        return client.put("/api/v1/sending-policy", fields, format="json")

    given = {"batch_size": 7, "cap_messages": 3, "stop_answer": "Bye", "help_answer": "Help"}
    jobs = [functools.partial(put, **{name: value}) for name, value in given.items()]
    assert [answer.status_code for answer in run_together(jobs, threads=4)] == [200] * 4
    assert SendingPolicy.objects.values(*given).get() == given


def test_a_connection_whose_name_somebody_takes_at_this_moment_is_refused_at_the_name(shop):
    owner = signed_in(make_person("owner", tenant=shop))
    asked = {"service": "segment", "name": "web", "is_active": "on"}
    answer = while_uncommitted(lambda: Connection(service="segment", name="web").save(), lambda: owner.post(ADD, asked))
    assert answer.status_code == 200
    told = answer.context["adminform"].form.errors
    assert told == {"name": ["There is a connection of this service and name already."]}
    assert Connection.objects.count() == 1


def test_a_segment_whose_name_somebody_takes_at_this_moment_is_refused_at_the_name_in_the_admin(shop):
    owner = signed_in(make_person("owner", tenant=shop))
    write = lambda: save_segment(segment_id=None, name="vip", definition=None, actor="test")  # noqa: E731
    answer = while_uncommitted(write, lambda: owner.post("/admin/messaging/segment/add/", {"name": "vip"}))
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == ["name"]
    assert Segment.objects.count() == 1
