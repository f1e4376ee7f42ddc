"""Senders, hours of the day and the sending policy by API: kept by owners, refused in words, never another tenant's."""

from __future__ import annotations

import pytest

from audit.models import AuditEvent
from config.infra import tenancy
from messaging.models import Sender
from shopsync.models import Connection


def post(client, path, **fields):
    return client.post(f"/api/v1/{path}", fields, format="json")


def test_a_sender_is_registered_changed_and_on_record(owner, world):
    made = post(owner, "senders", channel="sms", value="+306912345678", is_two_way=True, country="GR")
    assert (made.status_code, made.json()["value"]) == (201, "+306912345678")
    path = f"/api/v1/senders/{made.json()['id']}"
    answer = owner.patch(path, {"recipients_per_second": 10, "is_active": False}, format="json")
    assert (answer.json()["recipients_per_second"], answer.json()["is_active"]) == (10, False)
    assert answer.json()["country"] == "GR"
    with tenancy.tenant_scope(world.tenant.pk):
        names = set(AuditEvent.objects.filter(subject=f"sender:{made.json()['id']}").values_list("name", flat=True))
    assert names == {"sender.created", "sender.updated"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"channel": "sms", "value": "ab"}, "value"),
        ({"channel": "sms", "value": "a name that is too long"}, "value"),
        ({"channel": "sms", "value": "+12"}, "value"),
        ({"channel": "email", "value": "nobody"}, "value"),
        ({"channel": "email", "value": "Shop <hello@shop.example>\nBcc: x@y.example"}, "value"),
        ({"channel": "sms", "value": "Shop", "country": "gr"}, "country"),
        ({"channel": "sms", "value": "Shop", "country": "ZZ"}, "country"),
        ({"channel": "sms", "value": "Shop", "short_link_domain": "https://go.example.com/path"}, "short_link_domain"),
        ({"channel": "sms", "value": "Shop", "short_link_domain": "javascript:alert(1)"}, "short_link_domain"),
        ({"channel": "sms", "value": "Shop", "recipients_per_second": 0}, "recipients_per_second"),
        ({"channel": "sms", "value": "Shop", "connection_id": 2**60}, "connection_id"),
        ({"channel": "smoke", "value": "Shop"}, "channel"),
        ({"channel": "sms"}, "value"),
    ],
)
def test_what_nothing_can_be_sent_from_is_refused_by_field(owner, fields, field):
    answer = post(owner, "senders", **fields)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_the_same_sender_twice_and_a_connection_that_does_not_carry_it_are_refused(owner, stranger, world):
    twice = post(owner, "senders", channel="sms", value="Shopsync")
    assert (twice.status_code, list(twice.json()["errors"])) == (400, ["value"])
    assert "change that sender instead" in twice.json()["errors"]["value"][0]
    with tenancy.tenant_scope(world.tenant.pk):
        other = Connection.objects.exclude(service="mitto").first()
    refused = post(owner, "senders", channel="sms", value="Shop", connection_id=other.pk)
    assert list(refused.json()["errors"]) == ["connection_id"]
    theirs = post(stranger, "senders", channel="sms", value="Shop", connection_id=other.pk)
    assert theirs.json()["errors"] == {"connection_id": [f"There is no connection {other.pk}."]}


def test_hours_are_set_changed_and_taken_away(owner, stranger):
    made = post(owner, "quiet-hours", country="US", region="FL", starts_at="09:00", ends_at="20:00")
    assert made.status_code == 201
    path = f"/api/v1/quiet-hours/{made.json()['id']}"
    assert made.json()["spans_midnight"] is False
    assert owner.patch(path, {"ends_at": "08:30"}, format="json").json()["spans_midnight"] is True
    assert owner.patch(path, {"ends_at": "19:30"}, format="json").json()["ends_at"] == "19:30"
    for fields, field in (
        ({"country": "US", "region": "FL"}, "country"),
        ({"region": "FL"}, "country"),
        ({"country": "usa"}, "country"),
        ({"country": "XX"}, "country"),
        ({"country": "ZZ"}, "country"),
        ({"country": "US", "region": "Florida"}, "region"),
        ({"country": "US", "region": "ZZ"}, "region"),
        ({"country": "XK", "region": "A"}, "region"),
    ):
        answer = post(owner, "quiet-hours", starts_at="08:00", ends_at="21:00", **fields)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field]), answer.json()
        assert "onstraint" not in str(answer.json())
    assert stranger.delete(path).status_code == 404
    assert owner.delete(path).status_code == 204
    assert owner.get(path).status_code == 404


def test_the_policy_is_read_and_changed_in_part(owner, stranger):
    path = "/api/v1/sending-policy"
    assert owner.get(path).json()["batch_size"] == 100
    assert owner.put(path, {"cap_messages": 3, "reply_languages": ["el"]}, format="json").status_code == 200
    shown = owner.get(path).json()
    assert (shown["batch_size"], shown["cap_messages"], shown["reply_languages"]) == (100, 3, ["el"])
    assert owner.put(path, {"reply_languages": ["xx"]}, format="json").status_code == 400
    assert owner.put(path, {"batch_size": 5001}, format="json").status_code == 400
    assert stranger.put(path, {"batch_size": 7}, format="json").json()["batch_size"] == 7
    assert owner.get(path).json()["batch_size"] == 100


def test_a_viewer_reads_senders_and_changes_nothing(staff, world):
    with tenancy.tenant_scope(world.tenant.pk):
        sender = Sender.objects.first()
    assert staff.get(f"/api/v1/senders/{sender.pk}").status_code == 200
    assert staff.patch(f"/api/v1/senders/{sender.pk}", {"value": "Other"}, format="json").status_code == 403
