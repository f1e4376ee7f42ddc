"""The bell: one Celery message for a burst, and never a lost wake-up."""

from __future__ import annotations

import pytest
from django.db import transaction
from redis import Redis

from config.infra import work
from config.infra.cache import redis_client
from config.infra.work import bell, claims
from config.infra.work.claims import ring_after_commit
from shopsync.models import WebhookEvent
from tests.factories import make_inbox_rows, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
QUEUE = WebhookEvent.queue


@pytest.fixture(autouse=True)
def quiet_bell():
    """Start with no bell rung and no message waiting, and leave none."""
    bell._quiet_until = 0.0
    redis_client().delete("bell:webhooks", QUEUE.celery_queue)
    yield
    redis_client().delete("bell:webhooks", QUEUE.celery_queue)
    bell._quiet_until = 0.0


def published() -> int:
    return redis_client().llen(QUEUE.celery_queue)


def test_a_burst_of_commits_costs_one_message():
    tenant = make_tenant()
    for _ in range(50):
        with transaction.atomic():
            make_inbox_rows(tenant, "a")
            ring_after_commit(WebhookEvent)
    assert published() == 1


def test_one_transaction_registers_one_ring_per_queue():
    with transaction.atomic():
        for _ in range(10):
            ring_after_commit(WebhookEvent)
        assert len(transaction.get_connection().run_on_commit) == 1


def test_a_ring_registered_in_a_rolled_back_savepoint_does_not_swallow_the_next():
    with transaction.atomic():
        try:
            with transaction.atomic():
                ring_after_commit(WebhookEvent)
                raise LookupError
        except LookupError:
            ring_after_commit(WebhookEvent)
    assert published() == 1


def test_nothing_rings_for_a_transaction_that_rolls_back():
    with pytest.raises(LookupError), transaction.atomic():
        ring_after_commit(WebhookEvent)
        raise LookupError
    assert published() == 0


def drain_that_silences_last(handle) -> None:
    """The wrong drain: the bell comes down at the end."""
    while rows := claims.claim(WebhookEvent):
        handle(rows)
    bell.silence(QUEUE)


def rows_woken_for(drain) -> bool:
    """Commit and ring a row after the drain's last look; say whether anybody will come for it."""
    tenant = make_tenant()
    make_inbox_rows(tenant, "first")
    bell.ring(QUEUE)
    redis_client().delete(QUEUE.celery_queue)  # the worker took the message
    real_claim, looks = claims.claim, []

    def claim_then_commit(model, **options):
        rows = real_claim(model, **options)
        if not rows and not looks:  # the last look found nothing; now the late row is committed and rung
            looks.append("late")
            make_inbox_rows(tenant, "late")
            bell.ring(QUEUE)
        return rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "claim", claim_then_commit)  # the only way to stand between a drain's look and its end
        drain(lambda rows: work.run_each(rows, lambda row: None))
    assert looks
    return published() == 1


def test_a_row_committed_after_the_last_look_is_woken_for():
    assert rows_woken_for(lambda handle: work.drain(WebhookEvent, handle))


def test_the_same_row_would_be_lost_if_the_bell_came_down_at_the_end():
    assert not rows_woken_for(drain_that_silences_last)


def test_without_redis_a_ring_is_skipped_at_once_and_not_tried_again_for_a_while(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert not bell.ring(QUEUE)
    assert bell._quiet_until > 0
    tried = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Redis, "set", lambda *a, **k: tried.append(1))
        assert not bell.ring(QUEUE)
    assert tried == []


def test_a_message_that_was_lost_is_made_up_for_by_the_sweep():
    make_inbox_rows(make_tenant(), "a")
    bell.ring(QUEUE)
    redis_client().delete(QUEUE.celery_queue)
    assert not bell.ring(QUEUE)  # the bell hangs, so nobody else rings
    assert work.sweep(WebhookEvent).rang
    assert published() == 1


def test_the_sweep_does_not_ring_where_nothing_is_due():
    assert not work.sweep(WebhookEvent).rang
    assert published() == 0
