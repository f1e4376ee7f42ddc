"""A row whose call was surely not made says what it waits for: the open breaker, else what its caller says."""

from __future__ import annotations

import pytest

from config.infra import work
from config.infra.services import find_service
from config.infra.work import calls
from shopsync.models import WebhookEvent
from tests.factories import deliver, make_tenant, reload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("named", "shown"), [(find_service("payments").blocker, "breaker open: payments"), ("", "the caller's word")]
)
def test_a_call_that_was_not_made_names_what_its_row_waits_for(named, shown):
    tenant = make_tenant()
    deliver("orders/create", {"id": 1, "updated_at": "2026-11-02T10:00:00Z"}, tenant)

    def perform(row):
        raise calls.CallError("not made", retry_after_seconds=30.0, blocker=named)

    nobody = lambda row, *_: pytest.fail("neither refused nor asked about")  # noqa: E731
    caller = calls.Caller(perform=perform, refuse=nobody, ask=nobody, blocker=lambda row: "the caller's word")
    (row,) = work.claim(WebhookEvent)
    calls.make_calls([row], caller)
    row = reload(row)
    assert (row.status, row.blocker, row.attempts) == ("ready", shown, 0)
