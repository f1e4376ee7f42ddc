"""manage.py replay: by numbers and by filter, said and counted, never without a choice."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEvent
from config.infra import tenancy
from config.infra.work import Status
from shopsync.models import WebhookEvent
from tests.factories import make_inbox_rows, reload

pytestmark = pytest.mark.django_db(transaction=True)


def replay(*args: object, **options: object) -> str:
    out = io.StringIO()
    call_command("replay", *args, stdout=out, **options)
    return out.getvalue().strip()


def make_finished(tenant, *lanes, status=Status.DONE, **fields):
    return make_inbox_rows(tenant, *lanes, status=status, attempts=3, **fields)


def statuses(*rows):
    return [reload(row).status for row in rows]


def test_numbers_are_replayed_and_the_trail_says_by_whom(tenant):
    first, second, kept = make_finished(tenant, "a", "b", "c")
    assert replay(first.pk, second.pk) == "2 replayed, 0 not."
    assert statuses(first, second, kept) == ["ready", "ready", "done"]
    assert reload(first).attempts == 0
    with tenancy.tenant_scope(tenant.pk):
        actors = AuditEvent.objects.filter(name="webhook_event.replayed").values_list("actor", flat=True)
        assert list(actors) == ["manage.py replay"] * 2


def test_filters_choose_together(tenant, other_tenant):
    (wanted,) = make_finished(tenant, "a", status=Status.BURIED, topic="orders/create")
    others = [
        *make_finished(tenant, "b", status=Status.BURIED, topic="orders/paid"),
        *make_finished(tenant, "c", topic="orders/create"),
        *make_finished(other_tenant, "a", status=Status.BURIED, topic="orders/create"),
    ]
    chosen = {"tenant": tenant.shop_domain, "topic": "orders/create", "status": "buried"}
    assert replay(**chosen) == "1 replayed, 0 not."
    assert statuses(wanted) == ["ready"]
    assert "ready" not in statuses(*others)


@pytest.mark.parametrize(("since", "count"), [("2100-01-01", 0), ("2020-01-01T00:00:00+02:00", 1), ("2020-01-01", 1)])
def test_since_is_read_as_utc_unless_it_says_otherwise(tenant, since, count):
    make_finished(tenant, "a")
    assert replay(since=since) == f"{count} replayed, 0 not."


def test_a_dry_run_changes_nothing(tenant):
    (row,) = make_finished(tenant, "a")
    assert replay(status="done", dry_run=True) == "1 chosen; nothing was changed."
    assert statuses(row) == ["done"]


def test_what_cannot_be_replayed_is_counted(tenant):
    (forgotten,) = make_finished(tenant, "a")
    (waiting,) = make_inbox_rows(tenant, "b")
    with tenancy.tenant_scope(tenant.pk):
        WebhookEvent.objects.filter(pk=forgotten.pk).update(body=None)
    assert replay(tenant=tenant.shop_domain).startswith("0 replayed, 2 not (still on their way, without payload")
    assert statuses(forgotten, waiting) == ["done", "ready"]


@pytest.mark.parametrize(
    ("args", "options", "sentence"),
    [
        ((), {}, "Say which"),
        ((), {"tenant": "nobody.myshopify.com"}, "No tenant has the shop domain"),
        ((), {"since": "yesterday"}, "neither a date nor"),
        ((987654321,), {}, "No such delivery"),
    ],
)
def test_a_choice_that_means_nothing_is_refused_in_a_sentence(db, args, options, sentence):
    with pytest.raises(CommandError, match=sentence):
        replay(*args, **options)
