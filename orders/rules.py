"""Which moves an order may make, and what its lines ask of the stock (pure).

One table for money, one for fulfilment. Shopify jumps as it likes, and what it says is written as it is; whoever else
asks for a move that is not in the table is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

Moves = Mapping[str, frozenset[str]]


def _table(**moves: str) -> Moves:
    return MappingProxyType({name: frozenset(targets.split()) for name, targets in moves.items()})


# Shopify's words: https://shopify.dev/docs/api/admin-graphql/latest/enums/OrderDisplayFinancialStatus
MONEY_MOVES: Moves = _table(
    pending="authorized partially_paid paid voided expired",
    authorized="partially_paid paid voided expired",
    partially_paid="paid partially_refunded refunded voided",
    paid="partially_refunded refunded",
    partially_refunded="refunded",
    expired="pending authorized paid voided",
    refunded="",
    voided="",
)
# https://shopify.dev/docs/api/admin-graphql/latest/enums/OrderDisplayFulfillmentStatus; ours are these four
FULFILLMENT_MOVES: Moves = _table(
    unfulfilled="partial fulfilled restocked",
    partial="fulfilled restocked",
    fulfilled="restocked",
    restocked="",
)
LIFE_MOVES: Moves = _table(open="cancelled closed on_hold", on_hold="open cancelled", closed="open", cancelled="")
TABLES: Mapping[str, Moves] = MappingProxyType(
    {"money": MONEY_MOVES, "fulfilment": FULFILLMENT_MOVES, "life": LIFE_MOVES}
)


class IllegalMove(ValueError):  # noqa: N818  (the API's word for it)
    """The order can't go from where it stands to where it was asked to go; `allowed` says where it can."""

    def __init__(self, table: str, source: str, target: str) -> None:
        self.table, self.source, self.target = table, source, target
        self.allowed = sorted(TABLES[table].get(source, frozenset()))
        ways = ", ".join(self.allowed) or "nowhere"
        super().__init__(f"The order's {table} can't go from {source} to {target}; from there it can go to: {ways}.")


def ensure_move(table: str, source: str, target: str) -> None:
    """Let a legal move pass.

    Raises: IllegalMove, also for a state that the table does not know.
    """
    if target not in TABLES[table].get(source, frozenset()):
        raise IllegalMove(table, source, target)


@dataclass(frozen=True, slots=True)
class LineFacts:
    """What is known of a line: units bought, still to be sent, sent, and refunded by where they went."""

    quantity: int
    fulfillable: int
    sent: int
    cancelled: int = 0  # refund lines with restock type cancel
    returned: int = 0  # return
    not_restocked: int = 0  # no_restock
    legacy: int = 0  # legacy_restock: cancelled or returned, whichever it was


@dataclass(frozen=True, slots=True)
class StockTarget:
    """What a line's units are to be: `committed` wait to be sent, `gone` have left the stock for good.

    `counted_before` of them had left before our count began, so it has them off already; `counted_gross` is what that
    is worked out from. None: as it was.
    """

    committed: int
    gone: int
    counted_before: int | None = None
    counted_gross: int | None = None


def target_of(line: LineFacts, *, is_cancelled: bool) -> StockTarget:
    """Decide what a line asks of the stock from its newest facts alone, so that their order of arrival can't matter.

    Units sent are gone unless they came back. Units taken off before they were sent go back to the stock, unless a
    refund says that they don't.
    """
    committed = 0 if is_cancelled else max(0, min(line.fulfillable, line.quantity - line.sent))
    taken_off = max(0, line.quantity - line.sent - committed)
    legacy_back = max(0, line.legacy - max(0, taken_off - line.cancelled - line.not_restocked))
    back = min(line.sent, line.returned + legacy_back)
    lost = min(line.not_restocked, max(0, taken_off - line.cancelled))
    return StockTarget(committed=committed, gone=line.sent - back + lost)


def gross_of(line: LineFacts, *, current: int) -> int:
    """Count a line's units without those that edits took off: what is missing of `current` and was not refunded."""
    refunded = line.cancelled + line.returned + line.not_restocked + line.legacy
    return line.quantity - max(0, line.quantity - current - refunded)


def counted_before(gross: int, early: LineFacts, *, was_cancelled: bool) -> int:
    """Say how many of a line's units were out of `available` at a moment: what Shopify's count of then has off.

    gross: the line's units, see gross_of; early: of its facts, those from before that moment; was_cancelled: was the
    order, by then?
    """
    if was_cancelled:
        return target_of(early, is_cancelled=True).gone
    return max(0, gross - early.cancelled - early.returned - early.legacy)


def fulfillment_of(quantities: Mapping[int, tuple[int, int]]) -> str:
    """Name an order's fulfilment from its lines' (current quantity, units sent): the table's words."""
    asked = sum(current for current, _ in quantities.values())
    sent = sum(min(current, sent) for current, sent in quantities.values())
    if asked == 0:
        return "restocked"
    if sent == 0:
        return "unfulfilled"
    return "fulfilled" if sent >= asked else "partial"
