"""Replies beside what is being sent: an opt-out before the call stops it, a later one says what was possibly sent."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.utils import timezone

from config.infra import tenancy
from messaging.actions import claiming, outcomes, questions
from messaging.actions.messages import Draft, send_single
from messaging.actions.preparing import prepare_singles
from messaging.actions.reviews import recount_possibly_sent
from messaging.models import SendQueue
from shopsync.models import Connection
from tests.messaging.replying import (
    NUMBER,
    make_ready,
    reply,
    wrote,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    return make_ready(sandbox.base_url)


def begin(tenant):
    """Begin a call of what is due, and make none."""
    with tenancy.tenant_scope(tenant.pk):
        queue = SendQueue.objects.get()
        via = Connection.objects.get(service="mitto")
        return claiming.begin_call(queue_id=queue.pk, via=via, limit=100, now=timezone.now())


def stop_beside(monkeypatch, tenant, *, where):
    """Let STOP be committed by another process while a call is being begun: before, or after consent is asked."""
    original, waiting, told = questions._ask, threading.Event(), threading.Event()

    def ask(ids, **named):
        if where == "before":
            waiting.set()
            assert told.wait(10)
        found = original(ids, **named)
        if where == "after":
            waiting.set()
            assert told.wait(10)
        return found

    monkeypatch.setattr(questions, "_ask", ask)
    calls = []

    def run():
        try:
            calls.append(begin(tenant))
        finally:
            connection.close()

    beginner = threading.Thread(target=run)
    beginner.start()
    assert waiting.wait(10)
    found = reply(tenant, "STOP")
    told.set()
    beginner.join()
    return calls[0], found


@pytest.fixture
def due(tenant):
    """A message that may be sent, prepared."""
    contact = wrote(tenant).contact
    with tenancy.tenant_scope(tenant.pk):
        message = send_single(draft=Draft(contact_id=contact.pk, channel="sms", text="Sale"), actor="test")
    prepare_singles(now=timezone.now())
    return message


def test_an_opt_out_committed_before_consent_is_asked_stops_the_message(monkeypatch, tenant, due):
    call, found = stop_beside(monkeypatch, tenant, where="before")
    assert call is None
    with tenancy.tenant_scope(tenant.pk):
        due.refresh_from_db()
        assert (due.outcome, due.reason) == ("skipped", "suppressed")
        recount_possibly_sent(now=timezone.now())
        found.refresh_from_db()
        assert found.possibly_sent == 0


def test_an_opt_out_that_comes_later_says_that_a_message_was_possibly_sent(monkeypatch, tenant, due):
    call, found = stop_beside(monkeypatch, tenant, where="after")
    assert [row.id for row in call.rows] == [due.pk]
    assert found.possibly_sent == 0  # the call had not been committed yet
    recount_possibly_sent(now=timezone.now())
    with tenancy.tenant_scope(tenant.pk):
        found.refresh_from_db()
        assert found.possibly_sent == 1


def test_an_opt_out_during_a_call_says_so_at_once(tenant, due):
    assert begin(tenant) is not None
    assert reply(tenant, "STOP").possibly_sent == 1


def test_a_call_notes_the_number_that_it_was_made_from(tenant, due):
    with tenancy.tenant_scope(tenant.pk):
        due.refresh_from_db()
        assert due.sender == ""
        call = begin(tenant)
        due.refresh_from_db()
        assert due.sender == NUMBER
        outcomes.hand_back(call, blocker="rate_limit", error="")
        due.refresh_from_db()
        assert (due.sender, due.state) == ("", "queued")  # another connection may take it, with a number of its own
