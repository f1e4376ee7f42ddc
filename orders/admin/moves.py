"""What operators do to orders: pay, capture, hold, cancel, refund, allocate, note; each after a page that asks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from orders.actions import moves
from orders.actions.authorisations import CaptureRequest, request_capture
from orders.actions.dues import by_hand_amount, left_to_refund
from orders.actions.gateway_refunds import RefundError
from orders.actions.own_stock import counted_still, holds_stock
from orders.actions.refunds import refund_order
from orders.actions.sent_stock import note_counted
from orders.actions.stock import counts_here
from orders.admin.forms import CancelForm, CancelLinesForm, CaptureForm, HoldForm, NoteForm, RefundOrderForm
from orders.models import Order, OrderLine, Payment
from orders.rules import LIFE_MOVES, MONEY_MOVES, IllegalMove
from shopsync.admin.base import actor_of
from shopsync.admin.forms import ActingAdmin, KeyedForm, Page, row_action
from shopsync.money import format_amount


def fitting_moves(order: Order) -> set[str]:
    """Say which moves fit an order as it stands; the others are not offered, and refused by their actions."""
    lives, money = LIFE_MOVES[moves.life_of(order)], MONEY_MOVES.get(order.financial_status, frozenset())
    fits = {"hold": "on_hold" in lives, "unhold": order.held_at is not None, "note": True}
    if order.source == Order.Source.API:
        is_open = "cancelled" in lives
        fits |= {
            "mark_paid": "paid" in money,
            "capture": is_open and Payment.objects.filter(order=order, status=Payment.Status.AUTHORIZED).exists(),
            "counted": _has_sent_beside(order),
            "allocate": order.stock_state == Order.StockState.PAID_UNALLOCATED,
            "refund": "refunded" in money,
            "cancel": is_open and order.fulfillment_status == "unfulfilled",
            "cancel_part": is_open and order.fulfillment_status in {"unfulfilled", "partial"},
        }
    return {name for name, fit in fits.items() if fit}


def _has_sent_beside(order: Order) -> bool:
    is_beside = holds_stock(order) and not counts_here(order.tenant_id)
    return is_beside and any(counted_still(_lines_of(order)).values())


def _lines_of(order: Order) -> list[OrderLine]:
    return list(OrderLine.objects.filter(order=order).order_by("position", "pk"))


class OrderMoves(ActingAdmin):
    """The actions of an order's page. Shopify's orders are held and noted here, and changed in Shopify."""

    refusals = (moves.OrderError, IllegalMove, RefundError)
    actions_detail = (
        *("mark_paid", "capture", "allocate", "counted", "hold", "unhold", "note"),
        {"title": "Take back", "icon": "undo", "items": ["refund", "cancel_part", "cancel"]},
    )

    def offered(self, row: Order) -> Collection[str]:
        """Offer the moves that fit."""
        return fitting_moves(row)

    @row_action("Mark as paid", path="mark-paid", icon="paid")
    def mark_paid(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask, then note that it is paid in full."""
        rest = f"{format_amount(by_hand_amount(order), order.currency)} {order.currency}"
        page = Page(
            title=f"Mark {order} as paid?",
            sentences=(
                f"What is due of it, {rest}, was paid by hand. Its units are sold: they leave what others can buy.",
            ),
            button="Mark as paid",
            done="Paid.",
            form=KeyedForm(request.POST),
            run=self._by(request, moves.mark_paid, order),
        )
        return self.ask(request, order, page)

    @row_action("Capture", path="capture", icon="credit_score")
    def capture(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask, then queue the capture of what is authorised."""
        waiting = Payment.objects.filter(order=order, status=Payment.Status.AUTHORIZED).order_by("pk")
        form, actor = CaptureForm(request.POST, payments=waiting), actor_of(request)
        page = Page(
            title=f"Capture the payment of {order}?",
            sentences=("What is due of the order is taken of its authorisation; the rest is let go, for good.",),
            button="Capture",
            done="The capture is on its way to the gateway.",
            form=form,
            run=lambda: request_capture(
                request=CaptureRequest(order_id=order.pk, payment_id=form.payment_id()),
                idempotency_key=form.cleaned_data["key"],
                actor=actor,
            ),
        )
        return self.ask(request, order, page)

    @row_action("Allocate", path="allocate", icon="inventory")
    def allocate(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask, then try again to find the units of a paid order."""
        page = Page(
            title=f"Find stock for {order}?",
            sentences=("It is paid and has no units. All of them are taken if they are there now, or none.",),
            button="Allocate",
            done="Allocated: it has its units.",
            form=KeyedForm(request.POST),
            run=self._by(request, moves.allocate, order),
        )
        return self.ask(request, order, page)

    @row_action("Counted in Shopify", path="counted", icon="fact_check")
    def counted(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask, then hold what was sent no longer beside Shopify's count."""
        page = Page(
            title=f"Is what was sent of {order} off Shopify's count?",
            sentences=("Shopify does not know this order. Until its count is corrected for what was sent, the units are"
                       " held beside it; confirm once it is.",),
            button="It is corrected",
            done="What was sent is held no longer.",
            form=KeyedForm(request.POST),
            run=self._by(request, note_counted, order),
        )  # fmt: skip
        return self.ask(request, order, page)

    @row_action("Hold", path="hold", icon="pause")
    def hold(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask why, then keep it from being worked on."""
        form = HoldForm(request.POST)
        act = self._by(request, moves.hold_order, order)
        page = Page(
            title=f"Hold {order}?",
            sentences=("Nobody works on it until the hold ends. The hold is ours: Shopify is not told.",),
            button="Hold",
            done="Held.",
            form=form,
            run=lambda: act(**form.given()),
        )
        return self.ask(request, order, page)

    @row_action("End the hold", path="unhold", icon="play_arrow")
    def unhold(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask, then let it go on."""
        actor = actor_of(request)
        page = Page(
            title=f"End the hold of {order}?",
            sentences=(f"It was held because: {order.hold_reason}",) if order.hold_reason else (),
            button="End the hold",
            done="The hold has ended.",
            form=KeyedForm(request.POST),
            run=lambda: moves.unhold_order(order_id=order.pk, actor=actor),
        )
        return self.ask(request, order, page)

    @row_action("Tags and note", path="note", icon="edit_note")
    def note(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask for our own tags and note."""
        form = NoteForm(
            request.POST, initial={"staff_tags": "\n".join(order.staff_tags), "staff_note": order.staff_note}
        )
        actor = actor_of(request)
        page = Page(
            title=f"Our tags and note of {order}",
            sentences=("They are ours, beside Shopify's, and no customer sees them.",),
            button="Save",
            done="Saved.",
            form=form,
            run=lambda: moves.note_order(order_id=order.pk, values=form.given(), actor=actor),
        )
        return self.ask(request, order, page)

    @row_action("Refund", path="refund", icon="undo")
    def refund(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask which units and how much, then refund them."""
        lines = _lines_of(order)
        left = {line.pk: line.unsent_quantity + line.sent_quantity - line.refunded_quantity for line in lines}
        form = RefundOrderForm(request.POST, order=order, lines=lines, left=left)
        act = self._by(request, refund_order, order)
        rest = f"{format_amount(left_to_refund(order), order.currency)} {order.currency}"
        page = Page(
            title=f"Refund {order}",
            sentences=(f"{rest} of it can be given back.",
                       "Money that came through a gateway goes back through it, and can't be called back."),
            button="Refund",
            done="Refunded.",
            form=form,
            run=lambda: act(backs=form.backs(), amount=form.cleaned_data["amount"], note=form.cleaned_data["note"]),
        )  # fmt: skip
        return self.ask(request, order, page)

    @row_action("Cancel a part", path="cancel-part", icon="remove_shopping_cart")
    def cancel_part(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask which units, then take them off."""
        lines = _lines_of(order)
        form = CancelLinesForm(request.POST, lines=lines, left={line.pk: line.unsent_quantity for line in lines})
        act = self._by(request, moves.cancel_lines, order)
        page = Page(
            title=f"Cancel a part of {order}",
            sentences=("Only units that were not sent. Money is not given back by this: refund it.",),
            button="Cancel these units",
            done="Cancelled: these units are off the order.",
            form=form,
            run=lambda: act(quantities=form.units(), restock=form.cleaned_data["restock"]),
        )
        return self.ask(request, order, page)

    @row_action("Cancel all of it", path="cancel", icon="cancel")
    def cancel(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask why, then cancel all of it."""
        form = CancelForm(request.POST)
        act = self._by(request, moves.cancel_order, order)
        page = Page(
            title=f"Cancel {order}?",
            sentences=("All of it, for good. Money is not given back by this: refund it.",),
            button="Cancel the order",
            done="Cancelled.",
            form=form,
            run=lambda: act(**form.given()),
        )
        return self.ask(request, order, page)

    def _by(self, request: HttpRequest, act: Callable[..., object], order: Order) -> Callable[..., object]:
        """Bind an action to the order, the operator, and the time."""
        return partial(act, order_id=order.pk, actor=actor_of(request), now=timezone.now())
