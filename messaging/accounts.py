"""What a connection has to say so that messages can be sent by it, in the words of whoever fills it in."""

from __future__ import annotations

from messaging.providers.email import EMAIL_SERVICES
from messaging.senders import wrong_with_sender
from messaging.webhooks import is_classic_mitto
from shopsync.models import Connection


def wrong_with_email(connection: Connection) -> dict[str, str]:
    """Say by field why no e-mail can be sent by this; a sender may be left out where each has a row of its own."""
    wrong: dict[str, str] = {}
    if connection.account_id.partition(":")[0].strip().lower() not in EMAIL_SERVICES:
        known = " or ".join(sorted(EMAIL_SERVICES))
        wrong["account_id"] = f"Begin with the e-mail service: {known}; behind a colon its stream or domain."
    if connection.sender and (sentence := wrong_with_sender("email", connection.sender)):
        wrong["sender"] = sentence
    return wrong


def wrong_with_mitto(connection: Connection) -> dict[str, str]:
    """Say by field why no SMS can be sent by this: an id without a colon is a traffic account's."""
    if ":" in connection.account_id and not is_classic_mitto(connection.account_id):
        return {"account_id": "Give the id of a traffic account, or classic:NAME for the classic SMS API."}
    return {}
