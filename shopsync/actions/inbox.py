"""The inbox: store a delivery once, work on it through its handler, replay it, forget its payload."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from audit.actions import record
from config.infra import tenancy, work
from config.infra.failpoints import failpoint
from config.infra.prepared import fetch_one
from config.infra.work.claims import ring_after_commit
from shopsync.models import RefusedDelivery, WebhookEvent
from shopsync.shopify import Delivery, UnreadablePayloadError, lane_of

Stored = Literal["stored", "quarantined", "duplicate", "unknown_tenant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A verified delivery on its way into the inbox; the tenant is named by shop domain or by id."""

    source: str
    topic: str
    webhook_id: str
    body: bytes
    digest: str
    shop_domain: str | None = None
    tenant_id: int | None = None
    connection_id: int | None = None
    sub_topic: str = ""
    subscription_name: str = ""
    event_id: str = ""
    api_version: str = ""
    is_test: bool = False
    triggered_at: datetime | None = None


# One statement finds the tenant, looks whether the same body belongs to another one (the shop's name is an unsigned
# header), and stores the row once.
_STORE = """
INSERT INTO shopsync_webhookevent (tenant_id, source, connection_id, topic, sub_topic, subscription_name, webhook_id,
    event_id, api_version, is_test, triggered_at, body, body_bytes, digest, lane, priority, attempts, blocker,
    is_foreign, status, last_error, finished_at)
SELECT t.id, %(source)s, %(connection_id)s, %(topic)s, %(sub_topic)s, %(subscription_name)s, %(webhook_id)s,
%(event_id)s,
    %(api_version)s, %(is_test)s, %(triggered_at)s, %(body)s, %(body_bytes)s, %(digest)s, %(lane)s, 1, 0, '',
    f.is_foreign, CASE WHEN %(problem)s <> '' OR f.is_foreign THEN 'quarantined' ELSE 'ready' END,
    CASE WHEN f.is_foreign THEN 'the same body was already stored for another tenant' ELSE %(problem)s END,
    CASE WHEN %(problem)s <> '' OR f.is_foreign THEN now() END
FROM shopsync_tenant t CROSS JOIN LATERAL (
    SELECT %(source)s = 'shopify' AND shopsync_body_is_foreign(%(digest)s, t.id) AS is_foreign) f
WHERE {tenant} ON CONFLICT DO NOTHING RETURNING status"""
_STORE_BY_SHOP = _STORE.format(tenant="t.shop_domain = %(shop_domain)s")
_STORE_BY_ID = _STORE.format(tenant="t.id = %(tenant_id)s")

_COUNT_DUPLICATE = """
UPDATE shopsync_webhookevent SET duplicates = duplicates + 1, last_duplicate_at = clock_timestamp() WHERE id = (
    SELECT w.id FROM shopsync_webhookevent w JOIN shopsync_tenant t ON t.id = w.tenant_id
    WHERE (t.id = %(tenant_id)s OR t.shop_domain = %(shop_domain)s) AND w.source = %(source)s AND (
        (w.webhook_id = %(webhook_id)s AND w.connection_id IS NOT DISTINCT FROM %(connection_id)s)
        OR (w.event_id = %(event_id)s AND %(event_id)s <> '' AND w.topic = %(topic)s AND w.sub_topic = %(sub_topic)s
            AND w.subscription_name = %(subscription_name)s AND w.status <> 'quarantined'))
    ORDER BY (w.webhook_id = %(webhook_id)s) DESC, w.id LIMIT 1) RETURNING id"""


def _place(incoming: Incoming) -> tuple[str, str]:
    """Find the lane, and what keeps the delivery from being worked on (empty: nothing)."""
    try:
        lane = lane_of(incoming.topic, incoming.body) if incoming.source == "shopify" else f"{incoming.webhook_id}"
    except UnreadablePayloadError as error:
        return incoming.topic, str(error)
    if incoming.topic not in settings.WEBHOOK_HANDLERS.get(incoming.source, {}):
        return lane, f"no handler takes the {incoming.source} topic {incoming.topic}"
    return lane, ""


def store_delivery(incoming: Incoming) -> Stored:
    """Store a verified delivery once and ring; a duplicate is counted on the row it repeats.

    Raises: OperationalError when PostgreSQL can't store it; the sender must then be told to try again.
    """
    lane, problem = _place(incoming)
    parameters: dict[str, Any] = {name: getattr(incoming, name) for name in Incoming.__slots__}
    parameters["body_bytes"] = len(incoming.body)
    parameters["lane"] = lane.replace("\x00", "\ufffd")[:200]
    parameters["problem"] = problem.replace("\x00", "\ufffd")[:500]
    statement = _STORE_BY_SHOP if incoming.tenant_id is None else _STORE_BY_ID
    if stored := fetch_one(statement, parameters):
        failpoint("inbox.stored")
        if stored[0] == "quarantined":
            return "quarantined"
        ring_after_commit(WebhookEvent)
        return "stored"
    return "duplicate" if fetch_one(_COUNT_DUPLICATE, parameters) else "unknown_tenant"


_COUNT_REFUSED = """
INSERT INTO shopsync_refuseddelivery AS r (source, reason, shop_domain, day_date, count, last_topic, last_detail)
VALUES (%(source)s, %(reason)s, CASE WHEN %(is_signed)s OR EXISTS (
    SELECT 1 FROM shopsync_tenant WHERE shop_domain = %(shop_domain)s) THEN %(shop_domain)s ELSE '' END,
    (now() AT TIME ZONE 'UTC')::date, 1, %(topic)s, %(detail)s)
ON CONFLICT (source, reason, shop_domain, day_date) DO UPDATE SET count = r.count + 1, last_at = clock_timestamp(),
    last_topic = excluded.last_topic, last_detail = excluded.last_detail"""


def count_refused(
    *, source: str, reason: RefusedDelivery.Reason, shop_domain: str = "", topic: str = "", detail: str = ""
) -> None:
    """Count a delivery that was turned away, by day, reason and shop. Nothing of its body is kept."""
    parameters: dict[str, str | bool] = {
        "source": source,
        "reason": reason.value,
        "is_signed": reason == RefusedDelivery.Reason.UNKNOWN_SHOP,
        "shop_domain": shop_domain[:255],
        "topic": topic[:100],
        "detail": detail[:200],
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_REFUSED, parameters)


def handle(row: WebhookEvent) -> None:
    """Hand a stored delivery to its handler, in the tenant's scope and the caller's transaction.

    Raises: PermanentFailureError for a body that can't be understood or stored, whatever the number of attempts.
    """
    path = settings.WEBHOOK_HANDLERS.get(row.source, {}).get(row.topic)
    if path is None:
        raise work.PermanentFailureError(f"no handler takes the {row.source} topic {row.topic}")
    if row.body is None:
        raise work.PermanentFailureError("the payload was forgotten by retention; it can't be worked on again")
    delivery = Delivery(
        id=row.pk,
        tenant_id=row.tenant_id,
        source=row.source,
        topic=row.topic,
        body=bytes(row.body),
        digest=row.digest,
        triggered_at=row.triggered_at,
        received_at=row.created_at,
        connection_id=row.connection_id,
    )
    try:
        import_string(path)(delivery=delivery)
    except (UnreadablePayloadError, ValidationError, DataError) as error:
        raise work.PermanentFailureError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many deliveries were made ready again, and how many could not be: forgotten, or worked on under another
    id."""

    replayed: int
    not_replayed: int


def replay_deliveries(*, rows: QuerySet[WebhookEvent], actor: str) -> Replayed:
    """Make the chosen deliveries ready again, whatever became of them; handlers are idempotent, so done ones are
    safe too.

    Left as they are: those still on their way, those without payload, and a quarantined copy of an event that was
    stored again.
    """
    replayed = not_replayed = 0
    for row_id, tenant_id in list(rows.order_by("pk").values_list("pk", "tenant_id")):
        with tenancy.tenant_scope(tenant_id):
            if _replay_one(row_id, actor):
                replayed += 1
            else:
                not_replayed += 1
    return Replayed(replayed=replayed, not_replayed=not_replayed)


def replayable(rows: QuerySet[WebhookEvent]) -> QuerySet[WebhookEvent]:
    """Keep the deliveries that may be worked on again: with a payload, and not another tenant's."""
    return rows.filter(body__isnull=False, is_foreign=False)


def _replay_one(row_id: int, actor: str) -> bool:
    try:
        with transaction.atomic():
            if not work.replay(replayable(WebhookEvent.objects.filter(pk=row_id))):
                return False
            record(name="webhook_event.replayed", subject=f"webhook_event:{row_id}", actor=actor)
    except IntegrityError:  # webhookevent_is_worked_once_per_event_id: another copy of this event is in the inbox
        return False
    return True


_FORGET = """
UPDATE shopsync_webhookevent SET body = NULL WHERE id IN (
    SELECT id FROM shopsync_webhookevent WHERE status = 'done' AND body IS NOT NULL AND finished_at < %s
    ORDER BY finished_at LIMIT %s FOR UPDATE SKIP LOCKED)"""


def forget_payloads(*, now: datetime, batch_size: int = 500, batches: int = 100) -> int:
    """Null the payloads of deliveries that were worked on longer ago than the retention, in small transactions.

    What is buried, unknown or quarantined keeps its payload: somebody may still replay it. Returns how many were
    forgotten.
    """
    before = now - timedelta(days=settings.PAYLOAD_RETENTION_DAYS)
    forgotten = 0
    for _ in range(batches):
        with connection.cursor() as cursor:
            cursor.execute(_FORGET, [before, batch_size])
            forgotten += cursor.rowcount
            if cursor.rowcount < batch_size:
                break
    return forgotten
