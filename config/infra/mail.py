"""The one way out for e-mail: Django's mail framework behind a breaker, never inside a transaction.

What is not accepted is a MailError, and its flags say what is known of the message:

    MailError                                                    permanent  unknown
    ├── surely not sent: breaker open, no connection, greeting
    │   or sign-in refused, a 4xx answer                           False      False
    ├── refused: a 5xx answer to sender, recipients or content     True       False
    └── cannot be known: the connection broke off or timed out
        once the message was under way                             False      True
"""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.smtp import EmailBackend

from config.infra.breaker import Breaker, BreakerOpen
from config.infra.outbound import refuse_inside_transaction

logger = logging.getLogger(__name__)


class _TellsRefusals:
    """A session that keeps which recipients were refused while others were taken: code and words, by address."""

    refused: dict[str, tuple[int, bytes]] = {}

    def sendmail(self, *args: Any, **options: Any) -> dict[str, tuple[int, bytes]]:
        """Send as smtplib does."""
        self.refused = super().sendmail(*args, **options)  # type: ignore[misc]
        return self.refused


class _Smtp(_TellsRefusals, smtplib.SMTP):
    pass


class _SmtpOverTls(_TellsRefusals, smtplib.SMTP_SSL):
    pass


class SmtpBackend(EmailBackend):
    """Django's, which forgets the recipients that were refused while others were taken; this one's session knows."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """Name the kind of session."""
        return _SmtpOverTls if self.use_ssl else _Smtp


class MailError(Exception):
    """An e-mail without a good answer; the module's drawing says what the flags mean."""

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        unknown: bool = False,
        retry_after_seconds: float | None = None,
        blocker: str = "",
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.unknown = unknown
        self.retry_after_seconds = retry_after_seconds
        self.blocker = blocker


def is_configured() -> bool:
    """Is there a way out at all (EMAIL_URL)?"""
    return bool(settings.EMAIL_BACKEND)


def send_mail(*, recipients: Sequence[str], subject: str, text: str, message_id: str) -> dict[str, int]:
    """Send one e-mail to all its recipients in one go; `message_id` stays the same however often it is sent.

    Returns the recipients that were refused while others were taken, with the server's code.

    Raises:
        MailError: it was not accepted, or nobody knows.
        RuntimeError: a database transaction is open.
    """
    refuse_inside_transaction()
    message = EmailMessage(subject, text, to=list(recipients), headers={"Message-ID": message_id})
    breaker = Breaker("email", str(settings.EMAIL_HOST or "local"))
    try:
        breaker.before_call()
    except BreakerOpen as error:
        wait = error.retry_after_seconds
        raise MailError(str(error), retry_after_seconds=wait, blocker=error.blocker) from error
    connection = get_connection()
    try:
        _open(connection, breaker)
        _send(connection, message, breaker)
        refused = getattr(getattr(connection, "connection", None), "refused", {})
    finally:
        _close(connection)
    breaker.succeeded()
    return {address: code for address, (code, _) in refused.items()}


def _open(connection: Any, breaker: Breaker) -> None:
    try:
        connection.open()
    except (smtplib.SMTPException, OSError) as error:
        breaker.failed()
        raise MailError(f"not sent: {type(error).__name__}: {error}") from error


def _send(connection: Any, message: EmailMessage, breaker: Breaker) -> None:
    try:
        connection.send_messages([message])
    except smtplib.SMTPRecipientsRefused as error:
        breaker.succeeded()  # it answers
        codes = [code for code, _ in error.recipients.values()]
        is_final = all(code >= 500 for code in codes)
        raise MailError(f"every recipient was refused ({codes[0]})", permanent=is_final) from error
    except smtplib.SMTPResponseException as error:  # sender or content refused: answered, so surely not sent
        breaker.succeeded()
        raise MailError(f"refused with {error.smtp_code}", permanent=error.smtp_code >= 500) from error
    except (smtplib.SMTPException, OSError) as error:
        breaker.failed()
        raise MailError(f"the outcome is unknown: {type(error).__name__}", unknown=True) from error


def _close(connection: Any) -> None:
    """Say good-bye; an error here says nothing about the message, which was accepted or refused before."""
    try:
        connection.close()
    except (smtplib.SMTPException, OSError) as error:
        logger.info("e-mail: the connection did not end in order: %s", error)
