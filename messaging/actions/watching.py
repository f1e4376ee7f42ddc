"""The watchdog: whatever is not at its end, and names no blocker, and has not moved for a minute, is told of."""

from __future__ import annotations

from django.db import connection
from django.db.models import Q

from config.infra import tenancy
from config.infra.work.claims import in_seconds
from messaging.models import SendQueue
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.models import Tenant

STUCK, REFUSED = "messages.stuck", "messages.refused"
SUBJECT = "sending"
STUCK_AFTER_SECONDS = 60
TOLD_OF_FOR_SECONDS = 120.0

# Each line is a way to be stuck: what, how many, and since when.
_STUCK = """
WITH late AS (SELECT clock_timestamp() - make_interval(secs => %(seconds)s) AS moment)
SELECT 'queue ' || q.id || ' has messages due, no blocker, and was not served', q.served_at
FROM messaging_sendqueue q, late WHERE q.tenant_id = %(tenant)s AND q.served_at < late.moment
  AND (q.blocker = '' OR q.blocked_until < late.moment)
  AND EXISTS (SELECT FROM messaging_flow f WHERE f.queue_id = q.id AND f.blocker <> 'finished'
              AND (f.blocker = '' OR f.blocked_until < late.moment)
              AND EXISTS (SELECT FROM messaging_message m WHERE m.flow_id = f.id AND m.status = 'ready'
                          AND m.due_at < late.moment))
UNION ALL
SELECT 'message ' || m.id || ' is called for longer than a call lasts', m.lease_until
FROM messaging_message m, late WHERE m.tenant_id = %(tenant)s AND m.status = 'leased' AND m.lease_until < late.moment
UNION ALL
SELECT 'message ' || m.id || ' is queued, and its campaign is over', m.due_at
FROM late, messaging_campaign c JOIN messaging_flow f ON f.campaign_id = c.id
     JOIN messaging_message m ON m.flow_id = f.id
WHERE c.tenant_id = %(tenant)s AND c.finished_at > late.moment - interval '7 days' AND c.blocker = ''
  AND f.blocker = 'finished' AND m.status = 'ready' AND m.due_at < late.moment
UNION ALL
SELECT 'message ' || m.id || ' waits to be prepared', m.due_at FROM messaging_message m, late
WHERE m.tenant_id = %(tenant)s AND m.status = 'ready' AND m.flow_id IS NULL AND m.campaign_id IS NULL
  AND m.blocker = '' AND m.due_at < late.moment
UNION ALL
SELECT 'campaign ' || c.id || ' has no blocker, and nothing of it moved', c.updated_at FROM messaging_campaign c, late
WHERE c.tenant_id = %(tenant)s AND c.status = 'sending' AND c.blocker = '' AND c.updated_at < late.moment
  AND (EXISTS (SELECT FROM messaging_message m
               WHERE m.campaign_id = c.id AND m.status = 'ready' AND m.flow_id IS NULL)
       OR NOT EXISTS (SELECT FROM messaging_campaigntally t
                      WHERE t.campaign_id = c.id AND t.state IN ('queued', 'calling', 'waiting')
                      GROUP BY t.campaign_id HAVING sum(t.messages) > 0))
UNION ALL
SELECT 'campaign ' || c.id || ' is past its time', c.scheduled_at FROM messaging_campaign c, late
WHERE c.tenant_id = %(tenant)s AND c.status = 'scheduled' AND c.scheduled_at < late.moment
UNION ALL
SELECT 'campaign ' || c.id || ' is cancelled, and its rows are not closed', c.finished_at
FROM messaging_campaign c, late
WHERE c.tenant_id = %(tenant)s AND c.blocker = 'closing' AND c.updated_at < late.moment
ORDER BY 2 LIMIT 20"""


def find_stuck(*, after_seconds: int = STUCK_AFTER_SECONDS) -> list[str]:
    """List, in sentences, what of the tenant in scope has stood still for so long without saying why."""
    with connection.cursor() as cursor:
        cursor.execute(_STUCK, {"tenant": tenancy.current_tenant_id(), "seconds": after_seconds})
        return [f"{sentence} since {moment:%H:%M:%S} UTC" for sentence, moment in cursor.fetchall()]


def _tell_of_refusals() -> None:
    """Tell of connections that have to be mended: their key, their address or their account is refused."""
    refused = Q(blocker__startswith="refused_with_") | Q(blocker="bad_address")
    is_new = Q(blocked_until__gt=in_seconds(-TOLD_OF_FOR_SECONDS))  # one with nothing to send is not asked again
    queues = SendQueue.objects.filter(refused & is_new).order_by("pk").values_list("channel", "blocker")
    if found := [f"{channel}: {blocker}" for channel, blocker in queues]:
        sentence = "The provider refuses the connection itself; look at its key, account and address: "
        raise_alert(kind=REFUSED, subject=SUBJECT, message=sentence + ", ".join(found), severity="critical")
    else:
        close_alert(kind=REFUSED, subject=SUBJECT)


def watch_sending() -> int:
    """Tell of every tenant whose messages or campaigns are stuck, or whose provider refuses who asks, and close what
    was told of those that are not; return how many are stuck."""
    stuck = 0
    for tenant_id in Tenant.objects.order_by("pk").values_list("pk", flat=True):
        with tenancy.tenant_scope(tenant_id):
            found = find_stuck()
            if found:
                raise_alert(kind=STUCK, subject=SUBJECT, message="; ".join(found[:5]), severity="critical")
            else:
                close_alert(kind=STUCK, subject=SUBJECT)
            _tell_of_refusals()
        stuck += bool(found)
    return stuck
