"""A page that was opened before somebody else changed the row takes nothing back."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from config.infra import tenancy
from messaging.actions.credits import save_policy
from messaging.models import Contact, CreditPolicy, Sender, SendingPolicy
from tests.admin.conftest import signed_in
from tests.world import make_person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client(tenant):
    return signed_in(make_person("somebody", tenant=tenant))


def opened(client, path):
    """Open a page, and return what a browser would send of it."""
    page = client.get(path)
    assert page.status_code == 200
    form = page.context["adminform"].form
    found = re.search(r'name="shown" value="(\w+)"', page.content.decode())
    assert found
    filled = {name: form[name].value() for name in form.fields}
    return {"shown": found[1], **{name: value for name, value in filled.items() if value not in (None, False)}}


def refused(answer):
    return answer.status_code == 200 and "Somebody changed this since the page was opened" in answer.content.decode()


def test_an_older_page_raises_no_cap(client, tenant):
    with tenancy.tenant_scope(tenant.pk):
        row = CreditPolicy.objects.create(daily_cap=100, low_balance_at=5)
        path = f"/admin/messaging/creditpolicy/{row.pk}/change/"
        data = opened(client, path) | {"countries": "", "low_balance_at": "7"}
        save_policy(actor="other", daily_cap=Decimal(10))
        assert refused(client.post(path, data))
        row.refresh_from_db()
        assert (row.daily_cap, row.low_balance_at) == (10, 5)
        answer = client.post(path, opened(client, path) | {"countries": "", "low_balance_at": "7"})
        row.refresh_from_db()
        assert answer.status_code == 302
        assert (row.daily_cap, row.low_balance_at) == (10, 7)


def test_an_older_page_takes_back_no_address(client, tenant):
    with tenancy.tenant_scope(tenant.pk):
        row = Contact.objects.create(email="old@example.com", attributes={"size": 1})
        path = f"/admin/messaging/contact/{row.pk}/change/"
        data = opened(client, path) | {"last_name": "Smith"}
        Contact.objects.update(email="new@example.com", attributes={"size": 1, "points": 2})
        assert refused(client.post(path, data))
        row.refresh_from_db()
        assert (row.email, row.attributes, row.last_name) == ("new@example.com", {"size": 1, "points": 2}, "")


@pytest.mark.parametrize(
    ("model", "made", "changed", "sent"),
    [
        (SendingPolicy, {"cap_messages": 3, "batch_size": 100}, {"cap_messages": 1}, {"batch_size": "200"}),
        (Sender, {"channel": "sms", "value": "Shop"}, {"is_active": False}, {"recipients_per_second": "5"}),
    ],
)
def test_an_older_page_of_settings_is_refused(client, tenant, model, made, changed, sent):
    with tenancy.tenant_scope(tenant.pk):
        row = model.objects.create(**made)
        path = f"/admin/messaging/{model._meta.model_name}/{row.pk}/change/"
        data = opened(client, path) | sent
        model.objects.update(**changed)
        assert refused(client.post(path, data))
        row.refresh_from_db()
        assert {name: getattr(row, name) for name in changed} == changed
