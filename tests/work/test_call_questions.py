"""A question about a call whose outcome nobody knows: that it is refused, in whatever way, says nothing of the call."""

from __future__ import annotations

import pytest

from config.infra import tenancy, work
from config.infra.work import calls
from shopsync.models import WebhookEvent
from tests.factories import deliver, make_tenant, reload

pytestmark = pytest.mark.django_db(transaction=True)
ERRORS = [{"permanent": True, "status": 401}, {"unknown": True}, {"retry_after_seconds": 5.0}]


@pytest.mark.parametrize("error", ERRORS, ids=["refused", "lost", "not made"])
def test_a_question_without_an_answer_leaves_the_call_unknown_and_is_asked_again(error):
    deliver("orders/create", {"id": 1, "updated_at": "2026-11-02T10:00:00Z"}, make_tenant())
    asked = []

    def ask(row):
        asked.append(row.pk)
        raise calls.CallError("not told", **error)

    def perform(row):
        raise calls.CallError("the answer was lost", unknown=True)

    nobody = lambda row, error: pytest.fail("the call was not refused")  # noqa: E731
    caller = calls.Caller(perform=perform, refuse=nobody, ask=ask, blocker=lambda row: "")
    (row,) = work.claim(WebhookEvent)
    calls.make_calls([row], caller)
    for times in (1, 2):
        with tenancy.all_tenants(reason="let the time to ask come"):
            WebhookEvent.objects.update(due_at="2000-01-01T00:00:00Z")
        assert calls.settle_unknown(WebhookEvent, caller) == 0
        assert len(asked) == times
        assert reload(row).status == "unknown"
