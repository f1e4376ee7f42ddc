"""One e-mail per tenant and slot, by a real SMTP server; what may have been sent is never sent again by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import caches
from django.db import IntegrityError, transaction

from audit.models import AuditEvent, DeadLetter
from config.infra import mail, tenancy, work
from config.infra.breaker import Breaker
from config.local.processes import free_port
from config.local.stack import CHECKOUT
from shopsync.actions.alerts import acknowledge_alerts, close_alert, raise_alert
from shopsync.actions.dead_letters import replay_dead_letters
from shopsync.actions.digests import collect_digests
from shopsync.models import Alert, Digest, DigestPlan, Tenant
from shopsync.models.digests import SYSTEM
from shopsync.tasks import drain_digests
from tests.factories import database_url, make_tenant, reload
from tests.smtp import smtp_server

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 21, 12, 20, tzinfo=UTC)


@pytest.fixture
def mailbox(settings):
    with smtp_server() as (mailbox, port):
        use_smtp(settings, port)
        yield mailbox


@pytest.fixture(autouse=True)
def _closed_breaker():
    caches["system"].clear()
    Breaker("email", "127.0.0.1").reset()
    yield
    Breaker("email", "127.0.0.1").reset()


def use_smtp(settings, port):
    settings.EMAIL_BACKEND = "config.infra.mail.SmtpBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port


def plan_for(tenant, *recipients, **fields):
    with tenancy.tenant_scope(tenant.pk):
        DigestPlan.objects.create(recipients=list(recipients or ["ops@example.com"]), **fields)


@pytest.fixture
def ours():
    tenant = make_tenant()
    plan_for(tenant, "ops@example.com", "boss@example.com")
    return tenant


def raise_in(tenant, number=1, **fields):
    with tenancy.tenant_scope(tenant.pk):
        raise_alert(kind="stock.low", subject=f"level:{number}", message=f"{number} left", **fields)


def digests(tenant_id):
    with tenancy.tenant_scope(tenant_id):
        return list(Digest.objects.order_by("id"))


def due():
    with tenancy.all_tenants(reason="tests look at every row"):
        Digest.objects.update(due_at=NOON - timedelta(days=300))


def test_a_days_alerts_come_in_one_email_and_the_slot_is_taken(ours, mailbox):
    raise_in(ours, 1)
    raise_in(ours, 2)
    raise_in(ours, 2)
    assert collect_digests(now=NOON) == 1
    assert collect_digests(now=NOON + timedelta(minutes=5)) == 0
    drain_digests()
    (email,) = mailbox.emails
    assert mailbox.envelopes[0].rcpt_tos == ["ops@example.com", "boss@example.com"]
    assert email["Subject"] == f"2 alerts of {ours.shop_domain}"
    text = email.get_payload(decode=True).decode()
    assert "stock.low level:2\r\n2 left\r\n(open, seen 2 times" in text
    (digest,) = digests(ours.pk)
    assert (digest.status, digest.slot, digest.alert_count) == ("done", "daily:2026-11-21", 2)
    assert f"digest-{digest.pk}@" in email["Message-ID"]
    with tenancy.tenant_scope(ours.pk):
        assert AuditEvent.objects.filter(name="digest.sent").count() == 1
        assert set(Alert.objects.values_list("digested_at", flat=True)) == {NOON}


def test_the_next_day_tells_what_is_still_open_or_new_and_not_what_is_over(ours, mailbox):
    for number in (1, 2):
        raise_in(ours, number)
    collect_digests(now=NOON)
    with tenancy.tenant_scope(ours.pk):
        close_alert(kind="stock.low", subject="level:1")
    raise_in(ours, 3)
    with tenancy.tenant_scope(ours.pk):
        close_alert(kind="stock.low", subject="level:3")  # opened and over between two digests: told once
    collect_digests(now=NOON + timedelta(days=1))
    text = digests(ours.pk)[1].text
    assert ["level:1" in text, "level:2" in text, "level:3" in text] == [False, True, True]
    assert "closed, seen" in text


def test_a_quiet_day_sends_nothing_and_takes_its_slot(ours, mailbox):
    assert collect_digests(now=NOON) == 0
    raise_in(ours)
    assert collect_digests(now=NOON + timedelta(hours=3)) == 0  # tomorrow's
    drain_digests()
    assert mailbox.emails == []
    assert [(one.status, one.alert_count) for one in digests(ours.pk)] == [("done", 0)]


@pytest.mark.parametrize(
    ("zone", "slots"),
    [("Asia/Tokyo", ["daily:2026-11-21"]), ("America/New_York", []), ("Pacific/Auckland", []),
     ("No/Where", ["daily:2026-11-21"])],
)  # fmt: skip
def test_the_hour_is_of_the_tenants_own_clock(zone, slots):
    tenant = make_tenant(timezone=zone)
    plan_for(tenant, daily_hour=9)
    raise_in(tenant)
    collect_digests(now=NOON)  # 21:20 in Tokyo, 07:20 in New York, 01:20 of the next day in Auckland
    assert [one.slot for one in digests(tenant.pk)] == slots


def test_critical_alerts_come_within_the_hour_and_again_until_somebody_takes_them_on(mailbox):
    tenant = make_tenant()
    plan_for(tenant, daily_hour=23)
    raise_in(tenant, 1)
    raise_in(tenant, 2, severity="critical")
    assert [collect_digests(now=NOON + timedelta(minutes=minutes)) for minutes in (0, 20, 60)] == [1, 0, 1]
    assert digests(tenant.pk)[0].subject == f"1 alert of {tenant.shop_domain} (1 critical)"
    with tenancy.tenant_scope(tenant.pk):
        acknowledge_alerts(rows=Alert.objects.all(), actor="user:1")
    assert collect_digests(now=NOON + timedelta(hours=2)) == 0


def test_the_systems_alerts_go_to_ops_and_no_tenant_hears_of_them(ours, mailbox, settings):
    settings.OPS_EMAILS = ["oncall@example.com"]
    raise_alert(kind="schedule.missed", subject="schedule:sweep", message="late", severity="critical")
    collect_digests(now=NOON.replace(hour=3))
    drain_digests()
    assert [envelope.rcpt_tos for envelope in mailbox.envelopes] == [["oncall@example.com"]]
    assert digests(SYSTEM)[0].slot == "critical:2026-11-21T03"
    assert digests(ours.pk) == []


def test_the_systems_digest_is_replayed_and_recorded_as_the_systems(mailbox, settings):
    settings.OPS_EMAILS = ["oncall@example.com"]
    mailbox.after_data = "554 spam"
    raise_alert(kind="schedule.missed", subject="schedule:sweep", message="late", severity="critical")
    collect_digests(now=NOON.replace(hour=3))
    drain_digests()
    mailbox.after_data = "accept"
    with tenancy.all_tenants(reason="tests look at every row"):
        letters = list(DeadLetter.objects.filter(queue="digests"))
        assert replay_dead_letters(letters=letters, actor="user:1").replayed == 1
        assert AuditEvent.objects.get(name="dead_letter.replayed").tenant_id is None
    drain_digests()
    assert len(mailbox.emails) == 1


def test_tenants_get_their_own_only(ours, mailbox):
    stranger = make_tenant()
    plan_for(stranger, "stranger@example.com")
    raise_in(ours, 1)
    collect_digests(now=NOON)
    drain_digests()
    assert [envelope.rcpt_tos[0] for envelope in mailbox.envelopes] == ["ops@example.com"]


def test_inactive_plans_and_uninstalled_tenants_get_nothing(ours):
    raise_in(ours)
    Tenant.objects.update(status="uninstalled")
    assert collect_digests(now=NOON) == 0
    Tenant.objects.update(status="active")
    with tenancy.tenant_scope(ours.pk):
        DigestPlan.objects.update(is_active=False)
    assert collect_digests(now=NOON) == 0


def test_without_a_way_out_it_waits_and_says_so(ours, settings):
    settings.EMAIL_BACKEND = ""
    raise_in(ours)
    collect_digests(now=NOON)
    drain_digests()
    (digest,) = digests(ours.pk)
    assert (digest.status, digest.blocker, digest.attempts) == ("ready", "no_email_url", 0)


def test_a_refused_connection_is_tried_again_and_arrives_once(ours, settings):
    port = free_port()
    use_smtp(settings, port)
    raise_in(ours)
    collect_digests(now=NOON)
    drain_digests()
    (digest,) = digests(ours.pk)
    assert (digest.status, digest.attempts, digest.started_at) == ("ready", 1, None)
    assert "ConnectionRefusedError" in digest.last_error
    with smtp_server(port) as (mailbox, _):
        due()
        drain_digests()
        assert len(mailbox.emails) == 1
    assert reload(digest).status == "done"


def test_an_answer_lost_after_the_data_is_unknown_and_only_a_person_sends_it_again(ours, mailbox):
    raise_in(ours)
    collect_digests(now=NOON)
    mailbox.after_data = "cut"
    drain_digests()
    (digest,) = digests(ours.pk)
    assert (digest.status, len(mailbox.emails)) == ("unknown", 1)
    due()
    work.sweep(Digest)
    drain_digests()
    assert len(mailbox.emails) == 1
    mailbox.after_data = "accept"
    with tenancy.tenant_scope(ours.pk):
        letters = list(DeadLetter.objects.filter(queue="digests"))
        assert replay_dead_letters(letters=letters, actor="user:1").replayed == 0
        assert replay_dead_letters(letters=letters, actor="user:1", is_confirmed=True).replayed == 1
    drain_digests()
    assert [email["Message-ID"] for email in mailbox.emails] == [mailbox.emails[0]["Message-ID"]] * 2
    assert reload(digest).status == "done"


def test_a_recipient_who_is_refused_beside_others_is_told_to_the_others(ours, mailbox):
    mailbox.unknown = {"boss@example.com"}
    raise_in(ours)
    collect_digests(now=NOON)
    drain_digests()
    assert [one.status for one in digests(ours.pk)] == ["done"]
    with tenancy.tenant_scope(ours.pk):
        refused = Alert.objects.get(kind="digest.refused")
    assert "boss@example.com (550)" in refused.message
    mailbox.unknown = set()
    collect_digests(now=NOON + timedelta(days=1))
    drain_digests()
    assert "boss@example.com (550)" in mailbox.emails[-1].get_payload(decode=True).decode()
    assert reload(refused).closed_at is not None


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [({"after_data": "451 later"}, "ready"), ({"after_data": "554 spam"}, "buried"),
     ({"to_recipients": "450 greylisted"}, "ready"), ({"to_recipients": "550 nobody"}, "buried")],
)  # fmt: skip
def test_what_the_server_answers_decides(ours, mailbox, behaviour, status):
    vars(mailbox).update(behaviour)
    raise_in(ours)
    collect_digests(now=NOON)
    drain_digests()
    assert [one.status for one in digests(ours.pk)] == [status]
    assert mailbox.emails == []


def test_an_open_breaker_costs_no_attempt(ours, settings):
    use_smtp(settings, free_port())
    breaker = Breaker("email", "127.0.0.1")
    while breaker.state() == "closed":
        breaker.failed()
    raise_in(ours)
    collect_digests(now=NOON)
    drain_digests()
    (digest,) = digests(ours.pk)
    assert (digest.status, digest.blocker, digest.attempts) == ("ready", "breaker open: email", 0)


def test_a_process_lost_during_the_call_leaves_it_unknown(ours, mailbox):
    raise_in(ours)
    collect_digests(now=NOON)
    (row,) = work.claim(Digest)
    work.start([row])
    with tenancy.all_tenants(reason="tests look at every row"):
        Digest.objects.update(lease_until=NOON - timedelta(days=1))
    assert work.sweep(Digest).parked == 1
    assert reload(row).status == "unknown"


def test_no_email_is_sent_inside_a_transaction(mailbox):
    with transaction.atomic(), pytest.raises(RuntimeError, match="commit first"):
        mail.send_mail(recipients=["a@example.com"], subject="x", text="x", message_id="<x@example.com>")
    assert mailbox.emails == []


def test_the_database_holds_one_plan_a_tenant_one_digest_a_slot_and_somebody_to_send_to(ours):
    raise_in(ours)
    collect_digests(now=NOON)
    with pytest.raises(IntegrityError, match="digestplan_is_one_per_tenant"):
        plan_for(ours)
    with tenancy.tenant_scope(make_tenant().pk), pytest.raises(IntegrityError, match="digestplan_has_recipients"):
        DigestPlan.objects.create(recipients=[])
    with tenancy.tenant_scope(ours.pk), pytest.raises(IntegrityError, match="digest_is_written_once_per_slot"):
        fields = {"recipients": ["a@example.com"], "subject": "x", "text": "x", "alert_count": 1}
        Digest.objects.bulk_create([Digest(tenant_id=ours.pk, slot="daily:2026-11-21", **fields)])


def test_a_process_killed_after_the_call_sends_nothing_twice(ours, mailbox, settings, tmp_path):
    raise_in(ours)
    collect_digests(now=NOON)
    (tmp_path / "digests.called").touch()
    code = "import django; django.setup(); from shopsync.tasks import drain_digests; drain_digests()"
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "EMAIL_URL": f"smtp://127.0.0.1:{settings.EMAIL_PORT}",
        "SHOPSYNC_FAILPOINTS": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=CHECKOUT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (digest,) = digests(ours.pk)
    assert (digest.status, len(mailbox.emails)) == ("leased", 1)
    with tenancy.tenant_scope(ours.pk):
        Digest.objects.update(lease_until=NOON - timedelta(days=1))
    assert work.sweep(Digest).parked == 1
    drain_digests()
    assert (reload(digest).status, len(mailbox.emails)) == ("unknown", 1)
