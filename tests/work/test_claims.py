"""Claim, start, complete and the other moves, one at a time."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

from config.infra import tenancy, work
from config.infra.work.claims import quarantine
from config.local.processes import wait_until
from shopsync.models import WebhookEvent
from tests.factories import make_inbox_rows, make_tenant, move_lease_into_the_past, reload

pytestmark = pytest.mark.django_db(transaction=True)


def claimed_ids(**options):
    return [row.pk for row in work.claim(WebhookEvent, **options)]


def test_a_claim_takes_the_oldest_first_and_leases_them_with_one_token():
    tenant = make_tenant()
    rows = make_inbox_rows(tenant, "a", "b", "a")
    claimed = work.claim(WebhookEvent)
    assert [row.pk for row in claimed] == [row.pk for row in rows]
    assert len({row.token for row in claimed}) == 1
    assert all(row.status == "leased" and row.lease_until for row in claimed)


def test_a_lane_that_is_held_is_not_claimed_again():
    tenant = make_tenant()
    first, other = make_inbox_rows(tenant, "a", "b")
    assert set(claimed_ids(limit=2)) == {first.pk, other.pk}
    late, free = make_inbox_rows(tenant, "a", "c")
    assert claimed_ids() == [free.pk]
    assert reload(late).status == "ready"


def test_equal_lanes_of_two_tenants_are_two_lanes():
    one, two = make_tenant(), make_tenant()
    rows = [*make_inbox_rows(one, "order:1"), *make_inbox_rows(two, "order:1")]
    make_inbox_rows(one, "order:1")
    assert set(claimed_ids(limit=2)) == {row.pk for row in rows}


def test_what_is_not_due_is_left_alone():
    tenant = make_tenant()
    (row,) = make_inbox_rows(tenant, "a")
    with tenancy.tenant_scope(tenant.pk):
        WebhookEvent.objects.filter(pk=row.pk).update(due_at="2100-01-01T00:00:00Z")
    assert claimed_ids() == []


def test_a_row_that_waits_for_a_retry_does_not_block_its_lane():
    tenant = make_tenant()
    first, second = make_inbox_rows(tenant, "a", "a")
    rows = work.claim(WebhookEvent, limit=1)
    work.start(rows)
    work.retry(rows[0], error="try later")
    with tenancy.tenant_scope(tenant.pk):
        WebhookEvent.objects.filter(pk=first.pk).update(due_at="2100-01-01T00:00:00Z")
    assert claimed_ids() == [second.pk]


def test_tenants_are_served_in_turn_and_a_flood_of_one_leaves_room_for_the_other():
    noisy, quiet = make_tenant(), make_tenant()
    make_inbox_rows(noisy, *[f"n:{i}" for i in range(500)])
    mine = make_inbox_rows(quiet, "q:1", "q:2")
    assert {row.pk for row in mine} <= set(claimed_ids(limit=10))


def test_priority_goes_first_within_a_tenant():
    tenant = make_tenant()
    make_inbox_rows(tenant, "slow:1", "slow:2", priority=2)
    (urgent,) = make_inbox_rows(tenant, "fast", priority=0)
    assert claimed_ids(limit=1) == [urgent.pk]


def test_only_rows_still_held_are_started_and_the_attempt_is_counted():
    tenant = make_tenant()
    make_inbox_rows(tenant, "a", "b")
    kept, taken = work.claim(WebhookEvent)
    move_lease_into_the_past(taken)
    work.sweep(WebhookEvent)
    assert [row.pk for row in work.start([kept, taken])] == [kept.pk]
    assert reload(kept).attempts == 1
    assert reload(taken).attempts == 0


def test_completing_needs_the_token():
    tenant = make_tenant()
    make_inbox_rows(tenant, "a")
    (row,) = work.claim(WebhookEvent)
    work.start([row])
    move_lease_into_the_past(row)
    work.sweep(WebhookEvent)
    (again,) = work.claim(WebhookEvent)
    with pytest.raises(work.LeaseLostError):
        work.complete(row)
    work.start([again])
    work.complete(again)
    assert reload(row).status == "done"
    with pytest.raises(work.LeaseLostError):
        work.complete(again)


def test_an_expired_lease_that_was_not_started_goes_back_uncounted():
    tenant = make_tenant()
    make_inbox_rows(tenant, "a")
    (row,) = work.claim(WebhookEvent)
    move_lease_into_the_past(row)
    assert work.sweep(WebhookEvent).returned == 1
    assert (reload(row).status, reload(row).attempts, reload(row).token) == ("ready", 0, None)


def test_a_started_row_that_lost_its_holder_comes_back_alone():
    tenant = make_tenant()
    make_inbox_rows(tenant, "suspect")
    (suspect,) = work.claim(WebhookEvent)
    work.start([suspect])
    move_lease_into_the_past(suspect)
    assert work.sweep(WebhookEvent).repeated == 1
    make_inbox_rows(tenant, "a", "b", "c")
    assert claimed_ids() == [suspect.pk]
    assert len(claimed_ids()) == 3


def test_a_row_that_kills_its_holder_every_time_is_buried_without_its_neighbours():
    tenant = make_tenant()
    poison, *neighbours = make_inbox_rows(tenant, "poison", "a", "b", "c")
    for _ in range(WebhookEvent.queue.max_attempts):
        rows = [row for row in work.claim(WebhookEvent) if row.pk == poison.pk]
        work.start(rows)  # and here the process dies, with whatever else it held
        with tenancy.tenant_scope(tenant.pk):
            held = list(WebhookEvent.objects.filter(status="leased"))
        move_lease_into_the_past(*held)
        work.sweep(WebhookEvent)
    assert reload(poison).status == "buried"
    assert {(reload(row).status, reload(row).attempts) for row in neighbours} == {("ready", 0)}


def test_failures_wait_longer_each_time_and_end_buried():
    tenant = make_tenant()
    (row,) = make_inbox_rows(tenant, "a")
    for attempt in range(1, WebhookEvent.queue.max_attempts + 1):
        with tenancy.tenant_scope(tenant.pk):
            WebhookEvent.objects.filter(pk=row.pk).update(due_at="2000-01-01T00:00:00Z")
        (held,) = work.claim(WebhookEvent)
        work.start([held])
        work.retry(held, error=f"failure {attempt}")
    assert (reload(row).status, reload(row).last_error) == ("buried", "failure 8")


def test_handing_back_started_rows_needs_the_word_that_nothing_was_done():
    tenant = make_tenant()
    make_inbox_rows(tenant, "a")
    rows = work.claim(WebhookEvent)
    work.start(rows)
    assert work.hand_back(rows, blocker="rate_limit", wait_seconds=0) == 0
    assert work.hand_back(rows, blocker="rate_limit", wait_seconds=0, surely_not_done=True) == 1
    assert (reload(rows[0]).status, reload(rows[0]).attempts, reload(rows[0]).blocker) == ("ready", 0, "rate_limit")


def test_replay_makes_final_rows_ready_with_fresh_attempts_and_leaves_the_others():
    tenant = make_tenant()
    make_inbox_rows(tenant, "done", "buried", "quarantined", "unknown")
    rows = work.claim(WebhookEvent)
    work.start(rows)
    work.complete(rows[0])
    work.bury(rows[1], error="x")
    quarantine(rows[2], error="x")
    work.park(rows[3], error="x")
    make_inbox_rows(tenant, "leased")
    work.claim(WebhookEvent)
    with tenancy.tenant_scope(tenant.pk):
        assert work.replay(WebhookEvent.objects.all()) == 4
        assert WebhookEvent.objects.filter(status="ready", attempts=0, last_error="").count() == 4


def test_a_late_answer_still_completes_what_was_parked_with_the_same_token():
    tenant = make_tenant()
    make_inbox_rows(tenant, "a")
    (row,) = work.claim(WebhookEvent)
    work.start([row])
    work.park(row, error="no answer")
    work.complete(row)
    assert reload(row).status == "done"


def in_thread(function):
    """Run a claim on a connection of its own; returns the thread and where its result will be."""
    result = []

    def run():
        try:
            result.extend(function())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def waiting_claims():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]


def test_a_row_that_arrives_while_a_claim_of_its_lane_is_committing_waits_for_it():
    """The race that serialising claims closes: without the advisory lock the second claim takes the late row."""
    tenant = make_tenant()
    first, held = make_inbox_rows(tenant, "order:1", "other")
    with transaction.atomic():
        with connection.cursor() as cursor:  # keeps the first claim from committing
            cursor.execute("SELECT 1 FROM shopsync_webhookevent WHERE id = %s FOR UPDATE", [held.pk])
        claim_one, got_one = in_thread(lambda: work.claim(WebhookEvent))
        wait_until(lambda: waiting_claims() == 1, 10, "the first claim to wait for the held row")
        late, got_late = in_thread(lambda: make_inbox_rows(tenant, "order:1"))
        late.join()
        claim_two, got_two = in_thread(lambda: work.claim(WebhookEvent))
        wait_until(lambda: waiting_claims() == 2, 10, "the second claim to wait for the first")
    claim_one.join()
    claim_two.join()
    assert {row.pk for row in got_one} == {first.pk, held.pk}
    assert got_two == []
    assert reload(got_late[0]).status == "ready"
