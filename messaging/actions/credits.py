"""Credits: topped up, set aside for messages, settled when a provider accepts, released when nothing was sent.

Whoever posts locks the tenant's accounts first, all of them, in the order of their ids: two posters never wait for each
other both ways, and what is checked stays true until it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypedDict, Unpack
from zoneinfo import ZoneInfo

from django.db.models import F
from django.utils import timezone

from audit.actions import Event, Value, record
from config.infra import tenancy
from config.infra.transactions import retrying_atomic
from messaging.models import CreditAccount, CreditDay, CreditEntry, CreditPolicy, CreditTransaction
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.models import Tenant

Kind = CreditTransaction.Kind
Account = CreditAccount.Kind
PLACES = Decimal("0.0001")
LARGEST = Decimal(10) ** 12
LOW_BALANCE = "credits.low"


class CreditError(ValueError):
    """Credits can't be moved as asked; the message says why."""


class OutOfCredits(CreditError):  # noqa: N818  (a state that a top-up ends)
    """There is less available than asked for; nothing was moved."""

    def __init__(self, wanted: Decimal, available: Decimal) -> None:
        super().__init__(f"{wanted} credits are needed, {available} are available: top up.")
        self.wanted, self.available = wanted, available


class OverDailyCap(CreditError):  # noqa: N818  (a state that the next day ends)
    """The day's cap leaves too little; nothing was moved."""

    def __init__(self, wanted: Decimal, left: Decimal) -> None:
        super().__init__(
            f"{wanted} credits are needed, {left} are left of today's cap: raise it, or wait for tomorrow."
        )
        self.wanted, self.left = wanted, left


class KeyUsed(CreditError):  # noqa: N818
    """The key was used before, for other amounts."""


class PolicyValues(TypedDict, total=False):
    """What may be said of what a tenant spends: credits a day, when it is warned, the countries that are written to."""

    daily_cap: Decimal | None
    low_balance_at: Decimal | None
    countries: list[str]


@dataclass(frozen=True, slots=True)
class Balance:
    """How a tenant's accounts stand, in credits."""

    available: Decimal
    held: Decimal
    spent: Decimal


@retrying_atomic
def top_up(*, amount: Decimal, key: str, actor: str, note: str = "") -> CreditTransaction:
    """Add credits that were paid for; the same key with the same amount adds them once.

    Raises: CreditError, KeyUsed.
    """
    amount = _positive(amount)
    accounts = lock_accounts()
    if made := _find(Kind.TOP_UP, key=key, amount=amount, account=Account.AVAILABLE):
        return made
    moves: dict[str, Decimal] = {Account.FUNDING: -amount, Account.AVAILABLE: amount}
    return _post(accounts, Kind.TOP_UP, moves, key=key, reference="", actor=actor, note=note)


@retrying_atomic
def adjust(*, amount: Decimal, key: str, actor: str, note: str) -> CreditTransaction:
    """Correct what is available, up or down, with the reason.

    Raises: CreditError without a reason, OutOfCredits below zero, KeyUsed.
    """
    amount = _exact(amount)
    if not note.strip():
        raise CreditError("Say why: an adjustment needs a note.")
    if not amount:
        raise CreditError("An adjustment by nothing changes nothing; give an amount.")
    accounts = lock_accounts()
    if made := _find(Kind.ADJUST, key=key, amount=amount, account=Account.AVAILABLE):
        return made
    if accounts[Account.AVAILABLE].balance + amount < 0:
        raise OutOfCredits(-amount, accounts[Account.AVAILABLE].balance)
    moves: dict[str, Decimal] = {Account.FUNDING: -amount, Account.AVAILABLE: amount}
    return _post(accounts, Kind.ADJUST, moves, key=key, reference="", actor=actor, note=note)


@retrying_atomic
def reserve_credits(*, amount: Decimal, key: str, reference: str, actor: str, now: datetime) -> CreditTransaction:
    """Set credits aside for messages that are about to be sent.

    Raises: OutOfCredits, OverDailyCap, KeyUsed, CreditError.
    """
    amount = _positive(amount)
    accounts = lock_accounts()
    if made := _find(Kind.RESERVE, key=key, amount=amount, account=Account.HELD):
        return made
    if accounts[Account.AVAILABLE].balance < amount:
        raise OutOfCredits(amount, accounts[Account.AVAILABLE].balance)
    left = left_today(accounts[Account.HELD].balance, now=now)
    if left is not None and amount > left:
        raise OverDailyCap(amount, left)
    moves: dict[str, Decimal] = {Account.AVAILABLE: -amount, Account.HELD: amount}
    return _post(accounts, Kind.RESERVE, moves, key=key, reference=reference, actor=actor)


@retrying_atomic
def settle_credits(*, amount: Decimal, key: str, reference: str, actor: str, now: datetime) -> CreditTransaction:
    """Pay what was set aside for messages that a provider accepted.

    Raises: CreditError when less is held, KeyUsed.
    """
    amount = _positive(amount)
    accounts = lock_accounts()
    if made := _find(Kind.SETTLE, key=key, amount=amount, account=Account.SPENT):
        return made
    _ensure_held(accounts, amount)
    moves: dict[str, Decimal] = {Account.HELD: -amount, Account.SPENT: amount}
    made = _post(accounts, Kind.SETTLE, moves, key=key, reference=reference, actor=actor)
    day, _ = CreditDay.objects.get_or_create(day=_today(now))
    CreditDay.objects.filter(pk=day.pk).update(settled=F("settled") + amount)
    return made


@retrying_atomic
def release_credits(*, amount: Decimal, key: str, reference: str, actor: str) -> CreditTransaction:
    """Give back what was set aside for messages that surely were not sent.

    Raises: CreditError when less is held, KeyUsed.
    """
    amount = _positive(amount)
    accounts = lock_accounts()
    if made := _find(Kind.RELEASE, key=key, amount=amount, account=Account.AVAILABLE):
        return made
    _ensure_held(accounts, amount)
    moves: dict[str, Decimal] = {Account.HELD: -amount, Account.AVAILABLE: amount}
    return _post(accounts, Kind.RELEASE, moves, key=key, reference=reference, actor=actor)


@retrying_atomic
def charge_house(*, amount: Decimal, key: str, reference: str, actor: str) -> CreditTransaction:
    """Let the house pay for messages that turn out to be delivered after their hold was given up.

    Raises: CreditError, KeyUsed.
    """
    amount = _positive(amount)
    accounts = lock_accounts()
    if made := _find(Kind.HOUSE, key=key, amount=amount, account=Account.SPENT):
        return made
    moves: dict[str, Decimal] = {Account.HOUSE: -amount, Account.SPENT: amount}
    return _post(accounts, Kind.HOUSE, moves, key=key, reference=reference, actor=actor)


def open_accounts(*, event: Event) -> None:
    """Make a new tenant's accounts, so that there is something to top up (subscriber of tenant.created)."""
    lock_accounts()


def lock_accounts() -> dict[str, CreditAccount]:
    """Lock the accounts of the tenant in scope, in the order of their ids; by kind. Those that are missing are made."""
    rows = CreditAccount.objects.select_for_update().order_by("pk")
    accounts = {row.kind: row for row in rows}
    if len(accounts) < len(Account):
        CreditAccount.objects.bulk_create([CreditAccount(kind=kind) for kind in Account], ignore_conflicts=True)
        accounts = {row.kind: row for row in rows.all()}
    return accounts


@retrying_atomic
def save_policy(*, actor: str, **values: Unpack[PolicyValues]) -> CreditPolicy:
    """Set what is given of what the tenant in scope lets itself spend; what is left out stays as it is by then."""
    accounts = lock_accounts()  # there are some before there is a policy: who saves the first one waits here too
    policy = CreditPolicy.objects.first() or CreditPolicy()
    for name, value in values.items():
        setattr(policy, name, value)
    policy.countries, policy.updated_at = sorted(set(policy.countries)), timezone.now()
    policy.save()
    data: dict[str, Value] = {
        "daily_cap": str(policy.daily_cap),
        "low_balance_at": str(policy.low_balance_at),
        "countries": len(policy.countries),
    }
    record(name="credit_policy.saved", subject=f"tenant:{policy.tenant_id}", actor=actor, data=data)
    _watch_balance(accounts[Account.AVAILABLE])
    return policy


def read_balance() -> Balance:
    """Read how the accounts of the tenant in scope stand, waiting for nobody."""
    balances = dict(CreditAccount.objects.values_list("kind", "balance"))
    available, held, spent = (
        balances.get(kind, Decimal(0)) for kind in (Account.AVAILABLE, Account.HELD, Account.SPENT)
    )
    return Balance(available, held, spent)


def left_today(held: Decimal, *, now: datetime) -> Decimal | None:
    """Say how many credits the day's cap leaves beside what is held and was settled today, 0 where that is more than
    the cap by now; None without a cap."""
    policy = CreditPolicy.objects.first()
    if policy is None or policy.daily_cap is None:
        return None
    settled = CreditDay.objects.filter(day=_today(now)).values_list("settled", flat=True).first() or Decimal(0)
    left: Decimal = policy.daily_cap - settled - held
    return max(left, Decimal(0))


def _today(now: datetime) -> date:
    zone = Tenant.objects.values_list("timezone", flat=True).get(pk=tenancy.current_tenant_id())
    return now.astimezone(ZoneInfo(zone)).date()


def _ensure_held(accounts: Mapping[str, CreditAccount], amount: Decimal) -> None:
    held = accounts[Account.HELD].balance
    if held < amount:
        raise CreditError(f"Only {held} credits are held; {amount} can't be taken from them.")


def _find(kind: Kind, *, key: str, amount: Decimal, account: str) -> CreditTransaction | None:
    """Find what was made under this key before.

    Raises: KeyUsed when it was something else.
    """
    made = CreditTransaction.objects.filter(key=key).first()
    if made is None:
        return None
    gained = made.entries.filter(account__kind=account).values_list("amount", flat=True).first()
    if made.kind != kind or gained != amount:
        raise KeyUsed(f"The key {key!r} was used before: {made.kind} of {gained}. Send a new key.")
    return made


def _post(
    accounts: Mapping[str, CreditAccount],
    kind: Kind,
    moves: Mapping[str, Decimal],
    *,
    key: str,
    reference: str,
    actor: str,
    note: str = "",
) -> CreditTransaction:
    """Write a transaction of locked accounts; the trigger writes their balances."""
    made = CreditTransaction.objects.create(kind=kind, key=key, reference=reference[:120], actor=actor, note=note[:300])
    ordered = sorted(moves.items(), key=lambda move: accounts[move[0]].pk)
    CreditEntry.objects.bulk_create(
        [CreditEntry(transaction=made, account=accounts[name], amount=gain) for name, gain in ordered]
    )
    for name, gain in moves.items():
        accounts[name].balance += gain
    if kind in {Kind.TOP_UP, Kind.ADJUST}:
        data = {"kind": kind.value, "amount": str(moves[Account.AVAILABLE]), "key": key}
        record(name="credits.changed", subject=f"tenant:{made.tenant_id}", actor=actor, data=data)
    if Account.AVAILABLE in moves:
        _watch_balance(accounts[Account.AVAILABLE])
    return made


def _watch_balance(available: CreditAccount) -> None:
    """Raise an alert when little is left, and close it once there is more."""
    policy = CreditPolicy.objects.first()
    subject = f"tenant:{available.tenant_id}"
    if policy is not None and policy.low_balance_at is not None and available.balance <= policy.low_balance_at:
        message = f"{available.balance} credits are left; what costs more than that waits. Top up."
        raise_alert(kind=LOW_BALANCE, subject=subject, message=message)
    else:
        close_alert(kind=LOW_BALANCE, subject=subject)


def _positive(amount: Decimal) -> Decimal:
    amount = _exact(amount)
    if amount <= 0:
        raise CreditError("The amount is more than nothing.")
    return amount


def _exact(amount: Decimal) -> Decimal:
    if not amount.is_finite() or abs(amount) >= LARGEST or amount != amount.quantize(PLACES):
        raise CreditError(f"An amount is below {LARGEST:f}, with four decimals at most.")
    return amount
