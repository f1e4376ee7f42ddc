"""What follows from the set of things a gateway said of a payment (pure): any order, any repetition, one result.

The newest fact decides, by the gateway's own second; within a second the rank below. Cumulative amounts take the
largest. An answer to a question of ours is the truth of its second: older facts of intent and charge no longer count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from orders.webhooks import ASKED, Fact, from_minor

# An intent's own words, in the order in which they follow each other within a second -> the payment's status.
_INTENT = {
    "requires_payment_method": "requires_payment",
    "requires_confirmation": "requires_payment",
    "requires_action": "requires_payment",
    "processing": "processing",
    "requires_capture": "authorized",
    "canceled": "canceled",
    "succeeded": "paid",
}
_INTENT_RANKS = {word: rank for rank, word in enumerate(_INTENT)}
_FINAL = frozenset({"canceled", "succeeded"})
_CHARGE_RANKS = {"pending": 0, "failed": 1, "succeeded": 2}
_REFUND_RANKS = {"pending": 0, "requires_action": 0, "succeeded": 1, "canceled": 2, "failed": 3}
_DISPUTE_RANKS = {"charge.dispute.created": 0, "charge.dispute.closed": 2}
_OPEN_DISPUTES = frozenset({"needs_response", "under_review"})
_GIVEN_UP = frozenset({"canceled", "expired"})
_NOT_YET_PAID = frozenset({"requires_payment", "processing", "failed", "authorized", "expired"})
_ENDED = frozenset({"failed", "canceled"})
_LAST = {"intent": _FINAL, "refund": {"failed"}, "dispute": {"won", "lost", "warning_closed"}}
_ASKED_RANK = 100
_AT_ONCE = timedelta(seconds=2)  # what a gateway does at once may bear two seconds


@dataclass(frozen=True, slots=True)
class RefundState:
    """One refund, by the gateway's id; `key` is ours if we asked for it."""

    provider_id: str
    key: str
    amount: Decimal
    currency: str
    status: str
    reason: str
    failure_reason: str


@dataclass(frozen=True, slots=True)
class DisputeState:
    """One dispute."""

    provider_id: str
    amount: Decimal
    currency: str
    status: str
    reason: str
    evidence_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class PaymentState:
    """A payment, its refunds and disputes; `must_ask` says that the facts contradict each other or are too few."""

    status: str
    currency: str
    amount: Decimal
    amount_captured: Decimal
    amount_refunded: Decimal
    order_key: str
    expires_at: datetime | None
    last_error: str
    is_contradicted: bool
    is_incomplete: bool
    last_event_at: datetime
    refunds: tuple[RefundState, ...]
    disputes: tuple[DisputeState, ...]


def fold(facts: Iterable[Fact]) -> PaymentState:
    """Say what follows from all that a gateway said of one payment.

    Raises: ValueError for no facts.
    """
    known = sorted(facts, key=_version)
    if not known:
        raise ValueError("nothing is known of this payment")
    intents, charges = _since_asked(known, "intent"), _since_asked(known, "charge")
    backs, disputes = _backs(known), _newest_each(known, "dispute")
    lead = (intents or charges or known)[-1]
    captured = max((fact.values["captured"] for fact in (*intents, *charges)), default=0)
    # Of a second, the charge that counts the most was told last.
    told = max(charges, key=lambda fact: (fact.happened_at, fact.values["refunded"]), default=None)
    release = _find_release(told, backs, rest=lead.values["amount"] - captured if captured else 0)
    given_back = _given_back(told, [back for back in backs if back is not release])
    refunded = min(given_back, captured)  # a refund says nothing of what was captured: what was not, can't go back
    base = _base_status(intents, charges, captured)
    status = base
    if base == "paid" or not (intents or charges):
        status = _disputed(disputes) or _refunded(base, captured=captured, refunded=refunded)
    is_short = given_back > captured and base not in _GIVEN_UP
    currency = lead.values["currency"]
    return PaymentState(
        status=status,
        currency=currency,
        amount=from_minor(lead.values["amount"], currency),
        amount_captured=from_minor(captured, currency),
        amount_refunded=from_minor(refunded, currency),
        order_key=next((key for fact in reversed(known) if (key := fact.values.get("order_key"))), ""),
        expires_at=_expiry(charges) if status == "authorized" else None,
        last_error=lead.values.get("error", "") if status == "failed" else "",
        is_contradicted=_contradicts_itself(intents, captured) or _has_impossible_refund(known),
        is_incomplete=is_short or (not charges and (not intents or release is not None)),
        last_event_at=known[-1].happened_at,
        refunds=tuple(_refund_state(back.newest, moves_money=back is not release) for back in backs),
        disputes=tuple(_dispute_state(fact) for fact in disputes),
    )


def _version(fact: Fact) -> tuple[datetime, int, int, str]:
    """Sort by age; within a second by rank, then by what was taken, then by what is said: any set has one order."""
    said = repr((fact.subject_id, sorted(fact.values.items())))
    return fact.happened_at, _rank(fact), fact.values.get("captured", 0), said


def _rank(fact: Fact) -> int:
    """Say how late in its second something was said: what ends a thing comes last, before that what was asked for.

    An answer is the truth of its moment; what it found open may have ended within the same second all the same.
    """
    word = fact.values.get("status", "")
    is_last = word in _LAST.get(fact.kind, ())
    return 2 * _ASKED_RANK * is_last + _ASKED_RANK * (fact.topic == ASKED) + _own_rank(fact, word)


def _own_rank(fact: Fact, word: str) -> int:
    if fact.kind == "intent":
        return 2 * _INTENT_RANKS.get(word, 0) + (fact.topic == "payment_intent.payment_failed")
    if fact.kind == "charge":
        return len(_CHARGE_RANKS) if fact.topic == "charge.expired" else _CHARGE_RANKS.get(word, 0)
    return _REFUND_RANKS.get(word, 0) if fact.kind == "refund" else _DISPUTE_RANKS.get(fact.topic, 1)


def _since_asked(known: Sequence[Fact], kind: str) -> list[Fact]:
    """Keep the facts of a kind from the gateway's newest answer on; charges that failed moved no money."""
    asked = max((_version(fact)[:2] for fact in known if fact.kind == kind and fact.topic == ASKED), default=None)
    since = [fact for fact in known if fact.kind == kind and (asked is None or _version(fact)[:2] >= asked)]
    moved = [fact for fact in since if kind != "charge" or fact.values["status"] != "failed"]
    return moved or since


def _newest_each(known: Sequence[Fact], kind: str) -> list[Fact]:
    newest = {fact.subject_id: fact for fact in known if fact.kind == kind}  # known is sorted: the last one stays
    return [newest[subject] for subject in sorted(newest)]


@dataclass(frozen=True, slots=True)
class _Back:
    """A refund by all that was said of it; `ended_at` is since when it has failed or is canceled."""

    newest: Fact
    began_at: datetime
    ended_at: datetime | None

    @property
    def amount(self) -> int:
        return int(self.newest.values["amount"])


def _backs(known: Sequence[Fact]) -> list[_Back]:
    backs: dict[str, _Back] = {}
    for fact in known:
        if fact.kind == "refund":
            was = backs.get(fact.subject_id)
            has_ended = fact.values["status"] in _ENDED
            ended_at = (was.ended_at if was else None) or fact.happened_at if has_ended else None
            backs[fact.subject_id] = _Back(fact, was.began_at if was else fact.happened_at, ended_at)
    return [backs[subject] for subject in sorted(backs)]


def _given_back(told: Fact | None, backs: Sequence[_Back]) -> int:
    """Sum what is given back: the refunds that we know, and what the charge counts beyond those that it can count.

    Which of a second's refunds a charge of that second counts can't be known. Those that it may count are taken as
    counted: then nothing is counted twice, and the sum is exact once every refund is known.
    """
    sent = sum(back.amount for back in backs if back.ended_at is None)
    if told is None:
        return sent
    counted = sum(back.amount for back in backs if _may_count(told, back))
    return int(sent + max(0, told.values["refunded"] - counted))


def _may_count(told: Fact, back: _Back) -> bool:
    """May this charge count the refund? Of one that we only know to have ended, nobody said when it began."""
    has_begun = back.began_at <= told.happened_at or back.began_at == back.ended_at
    return has_begun and (back.ended_at is None or back.ended_at >= told.happened_at)


def _must_count(told: Fact, back: _Back) -> bool:
    """Does this charge, which counts the most of its second, count the refund?"""
    has_ended = back.ended_at is not None and back.ended_at <= told.happened_at
    return back.began_at <= told.happened_at and (not has_ended or back.began_at == told.happened_at)


def _find_release(told: Fact | None, backs: Sequence[_Back], *, rest: int) -> _Back | None:
    """Find the refund that only tells of the rest of an authorisation of which a part was captured.

    Nobody asked for it, it is there from the capture on, and the charge's own sum says less by just that.
    """
    alike = [back for back in backs if not back.newest.values["key"] and back.amount == rest and back.ended_at is None]
    if rest <= 0 or not alike:
        return None
    first = min(alike, key=lambda back: back.began_at)
    if told is None:
        return first
    others = sum(back.amount for back in backs if back is not first and _must_count(told, back))
    is_known = first.began_at <= told.happened_at + _AT_ONCE
    return first if is_known and told.values["refunded"] < others + rest else None


def _base_status(intents: Sequence[Fact], charges: Sequence[Fact], captured: int) -> str:
    """Say where the payment stands before refunds and disputes."""
    if intents:
        newest = intents[-1]
        base = _INTENT.get(newest.values["status"], "requires_payment")
        if base == "requires_payment" and newest.values["error"]:
            base = "failed"
        if base == "canceled" and newest.values["is_expired"]:
            base = "expired"
    elif charges:
        words = {"pending": "processing", "failed": "failed"}
        base = words.get(charges[-1].values["status"], "authorized")
    else:
        base = "processing"  # somebody gave it back, or wants it back: what was captured is asked for
    if any(fact.topic == "charge.expired" for fact in charges) and base in {"authorized", "canceled"}:
        base = "expired"
    return "paid" if captured and base in _NOT_YET_PAID else base


def _refunded(base: str, *, captured: int, refunded: int) -> str:
    return base if not refunded else "refunded" if refunded >= captured else "partially_refunded"


def _disputed(disputes: Sequence[Fact]) -> str:
    """Say what disputes make of a payment: a lost one weighs more than an open one, a won one nothing."""
    words = {fact.values["status"] for fact in disputes}
    return "charged_back" if "lost" in words else "disputed" if words & _OPEN_DISPUTES else ""


def _contradicts_itself(intents: Sequence[Fact], captured: int) -> bool:
    """Did the intent move on after it had come to its end? Then something that was said is not so."""
    ends = [fact for fact in intents if fact.values["status"] in _FINAL]
    if any(fact.values["status"] == "canceled" for fact in intents) and captured:
        return True
    return any(
        fact.values["status"] != end.values["status"] and fact.happened_at > end.happened_at
        for end in ends
        for fact in intents
    )


def _has_impossible_refund(known: Sequence[Fact]) -> bool:
    """Was a refund both canceled and made? Only an answer settles it."""
    words: dict[str, set[str]] = {}
    for fact in known:
        if fact.kind == "refund":
            seen = set() if fact.topic == ASKED else words.get(fact.subject_id, set())
            words[fact.subject_id] = seen | {fact.values["status"]}
    return any("canceled" in seen and seen & {"succeeded", "failed"} for seen in words.values())


def _expiry(charges: Sequence[Fact]) -> datetime | None:
    told = [fact.values["capture_before"] for fact in charges if fact.values["capture_before"]]
    return datetime.fromtimestamp(told[-1], UTC) if told else None


def _refund_state(fact: Fact, *, moves_money: bool) -> RefundState:
    values = fact.values
    word = values["status"] if values["status"] in {"succeeded", "failed", "canceled"} else "pending"
    word = word if moves_money else "canceled"
    return RefundState(
        provider_id=fact.subject_id,
        key=values["key"],
        amount=from_minor(values["amount"], values["currency"]),
        currency=values["currency"],
        status=word,
        reason=values["reason"],
        failure_reason=values["failure_reason"],
    )


def _dispute_state(fact: Fact) -> DisputeState:
    values = fact.values
    due = values["due_by"]
    return DisputeState(
        provider_id=fact.subject_id,
        amount=from_minor(values["amount"], values["currency"]),
        currency=values["currency"],
        status=values["status"],
        reason=values["reason"],
        evidence_due_at=None if due is None else datetime.fromtimestamp(due, UTC),
    )
