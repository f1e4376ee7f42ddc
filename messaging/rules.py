"""What an automation does about an event (pure): facts in, a decision out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Skip:
    """Send nothing; the reason is stored on the message's row."""

    reason: str


def decide(*, address: str, text: str, problem: str) -> Send | Skip:
    """Decide about one contact: without an address, or a text, there is nothing to send.

    problem: why there is no text, where the template says so.
    """
    if not address:
        return Skip("no_address")
    if problem or not text:
        return Skip(problem or "template_error")
    return Send(text)


def decide_at_call(
    *,
    consent: str | None,
    is_suppressed: bool = False,
    is_expired: bool = False,
    needs_consent: bool = True,
    confirms_opt_out: bool = False,
    is_put_away: bool = False,
) -> Skip | None:
    """Decide once more just before the call: without known consent (state `subscribed`) no marketing is sent, and
    nothing at all to a suppressed address, too late, or from a sender that was put away.

    consent: the newest consent state on the message's channel; None when nothing is known. The one message that
    confirms an opt-out goes to a suppressed address, and only as long as it is suppressed.
    """
    if is_expired:
        return Skip("expired")
    if is_put_away:
        return Skip("sender_inactive")
    if confirms_opt_out:
        return None if is_suppressed else Skip("opted_in_again")
    if is_suppressed:
        return Skip("suppressed")
    if consent == "subscribed" or not needs_consent:
        return None
    return Skip("no_consent" if consent != "unsubscribed" else "unsubscribed")
