"""What e-mail services tell of e-mails: delivered, bounced, reported as spam."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from django.utils import timezone

from config.infra import tenancy
from messaging.actions.reports import keep_reports
from messaging.actions.suppressions import normalise_address, suppress
from messaging.email_events import EmailEvent, parse_mailgun_event, parse_postmark_event
from messaging.webhooks import UnreadableReport
from shopsync.shopify import Delivery, UnreadablePayloadError


@transaction.atomic(savepoint=False)
def sync_postmark_event(*, delivery: Delivery) -> None:
    """Take an event of Postmark's: keep its report, move the message forward, suppress an address that it harms.

    A hard bounce fails the message. A complaint comes after delivery, which it does not undo: its report is kept, and
    the address is written to no more by the tenant whose message it was; of an unknown one, by the connection's.

    Raises: UnreadablePayloadError.
    """
    _sync(delivery, parse_postmark_event)


@transaction.atomic(savepoint=False)
def sync_mailgun_event(*, delivery: Delivery) -> None:
    """Take an event of Mailgun's, in the same way.

    Raises: UnreadablePayloadError.
    """
    _sync(delivery, parse_mailgun_event)


def _sync(delivery: Delivery, parse: Callable[[bytes], EmailEvent | None]) -> None:
    try:
        event = parse(delivery.body)
    except UnreadableReport as error:
        raise UnreadablePayloadError(str(error)) from error
    if event is not None:
        _apply(event, delivery)


def _apply(event: EmailEvent, delivery: Delivery) -> None:
    connection_id = delivery.connection_id
    assert connection_id is not None  # the view stores it with the token's connection
    whose = {delivery.tenant_id}
    if event.report is not None:
        whose = keep_reports([event.report], connection_id=connection_id, now=timezone.now())
    address = normalise_address("email", event.address)
    if event.harm and address:
        source = f"webhook_event:{delivery.id}"
        for tenant_id in sorted(whose):
            with tenancy.tenant_scope(tenant_id):
                suppress(channel="email", addresses=[address], reason=event.harm, source=source, actor="email")
