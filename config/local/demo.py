"""`make demo`: drive the main job through, say what happened, check it, stop everything."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from config.local.deliveries import accepted_messages, behave, request
from config.local.processes import wait_until
from config.local.session import Session, deaf, ending_by_signal, only_one, say, seconds_since
from config.local.setup import Ready, prepare
from config.local.stack import LocalStack
from config.local.story import (
    Chapter,
    Narrator,
    new_chapter,
    tell_catalogue,
    tell_lost_answer,
    tell_orders,
    tell_trouble,
)

if TYPE_CHECKING:
    from pathlib import Path

    from config.local.selling import Seller
    from config.local.tenants import DemoTenant

WORK_SECONDS = 60.0
LATE_REPORT_SECONDS = 0.6  # between the acceptance and "Sent", and again before "Delivered"


def run_demo(state: Path) -> int:
    """Run the demo and return its exit code: 0 when everything came out as expected."""
    started = time.monotonic()
    with only_one(state), ending_by_signal():
        session = Session(state)
        stack: LocalStack | None = None
        try:
            say("1. Setting up")
            stack = session.open()
            wrong = _tell(prepare(session, stack))
        except KeyboardInterrupt:
            say("\ninterrupted")
            return 130
        finally:
            with deaf():
                say("\nStopping everything")
                session.close(stack)
    if wrong:
        say(f"\nThe demo FAILED after {seconds_since(started)}:")
        for line in wrong:
            say(f"   {line}")
        say(f"   the processes' logs are in {state / 'logs'}")
        return 1
    say(f"\nThe demo succeeded: every total is as expected ({seconds_since(started)}).")
    return 0


def _tell(ready: Ready) -> list[str]:
    from config.local import account

    mirrors = [demo for demo in ready.tenants if not demo.counts_here]
    _finish_what_was_left(ready, mirrors)
    before = account.read_totals(ready.tenants)
    marks = {demo.label: account.newest_delivery(demo) for demo in ready.tenants}
    narrator = Narrator()
    chapters = [_chapter(ready, demo) for demo in mirrors]
    _tell_chapters(ready, narrator, chapters=chapters, marks=marks)
    seller = _tell_own_chapters(ready, narrator, chapters[-1], marks=marks)
    say("\n12. What is there now, of this run")
    for demo, chapter in zip(mirrors, chapters, strict=True):
        account.say_rows(demo, chapter)
    account.say_sold(seller.demo, order_id=seller.order_id, variant_ids=[good.variant_id for good in seller.goods])
    for demo in ready.tenants:
        narrator.expected[demo.label, "deliveries processed"] = narrator.expected[demo.label, "deliveries stored"]
    wrong = narrator.surprises + account.compare(before, account.read_totals(ready.tenants), narrator.expected)
    wrong += _check_pages(ready)
    say("13. Totals" + ("" if wrong else ", each checked"))
    account.say_expected(narrator.expected)
    ready.say_login()
    say("   (while something runs: `make run` keeps everything up)")
    return wrong


def _tell_chapters(ready: Ready, narrator: Narrator, *, chapters: list[Chapter], marks: dict[str, int]) -> None:
    from config.local import account

    first = dict(marks)
    say("\n2. Products, stock, customers and their consents, signed and over HTTP")
    for chapter in chapters:
        tell_catalogue(narrator, chapter)
    _await_work(ready, marks)
    say("\n3. Orders: the paid ones set off the automation 'thanks', an SMS to whom agreed to SMS")
    for chapter in chapters:
        tell_orders(narrator, chapter)
    _await_work(ready, marks)
    say("\n4. Trouble: duplicates, forgeries, nonsense")
    for chapter, other in zip(chapters, reversed(chapters), strict=True):
        tell_trouble(narrator, chapter, other)
    _await_work(ready, marks)
    for demo in ready.tenants:
        account.say_quarantined(demo, first[demo.label])
    say("\n5. The provider accepts a message, and cuts the connection before it says so")
    _lose_an_answer(ready, narrator, chapters[0])
    _await_work(ready, marks)


def _tell_own_chapters(ready: Ready, narrator: Narrator, last: Chapter, *, marks: dict[str, int]) -> Seller:
    """Tell of the tenant that counts its own stock, and of the count that is handed over."""
    from config.local import story_of_campaign, story_of_hand_over, story_of_orders, story_of_stock
    from config.local.selling import Seller

    seller = Seller(next(demo for demo in ready.tenants if demo.counts_here), ready, narrator)
    say("\n6. Stock that we count: received, promised, and two hundred buyers at once for ten units")
    story_of_stock.tell_receipts(seller)
    story_of_stock.tell_promises(seller)
    story_of_stock.tell_rush(seller)
    say("\n7. An order of our own, paid through Stripe's twin; a refund whose answer is lost")
    story_of_orders.tell_order(seller)
    story_of_orders.tell_lost_refund(seller)
    say("\n8. Its parcel, through EasyPost's twin: a label whose answer is lost, its journey, a return")
    story_of_orders.tell_journey(seller, story_of_orders.tell_label(seller))
    story_of_orders.tell_return(seller)
    _await_work(ready, marks)
    say("\n9. The count is handed over, from Shopify to us and back, while an order waits")
    demo = next(demo for demo in ready.tenants if demo.label == last.label)
    story_of_hand_over.tell_hand_over(ready, narrator, demo=demo, chapter=last)
    _await_work(ready, marks)
    say("\n10. A campaign to two hundred people: imported, reported on, launched, paused, resumed, paid")
    told = story_of_campaign.tell_campaign(seller)
    _await_work(ready, marks)
    story_of_campaign.prove_campaign(seller, told)
    say("\n11. Every level is what its ledger, its reservations and its orders say")
    story_of_hand_over.prove_stock(narrator, ready.tenants)
    return seller


def _finish_what_was_left(ready: Ready, mirrors: list[DemoTenant]) -> None:
    """Let the work of an earlier start that was killed end before anything is counted."""
    from config.local import database, story_of_hand_over

    database.wait_until_idle(WORK_SECONDS)
    for demo in mirrors:
        story_of_hand_over.ensure_shopify_counts(ready, demo)


def _chapter(ready: Ready, demo: DemoTenant) -> Chapter:
    return new_chapter(demo.label, ready.shop_of(demo), country=demo.country, currency=demo.currency)


def _await_work(ready: Ready, marks: dict[str, int]) -> None:
    """Wait until nothing is left to do and every message has its end, and say what was worked on."""
    from config.local import account, database

    def is_over() -> bool:
        ready.stack.check()
        return database.work_left().is_idle and not any(map(account.has_messages_on_their_way, ready.tenants))

    wait_until(is_over, WORK_SECONDS, "all work to be done")
    account.say_processed(ready.tenants, marks)


def _lose_an_answer(ready: Ready, narrator: Narrator, chapter: Chapter) -> None:
    """Show a call without an answer: the message is unknown, is not sent again, and a late report settles it."""
    from config.local import account

    demo = ready.tenants[0]
    behave(ready.stack.sandbox_url, cut_after_acceptance=1, report_delay_seconds=LATE_REPORT_SECONDS)
    purchase = tell_lost_answer(narrator, chapter)
    states: list[str] = []

    def is_delivered() -> bool:
        ready.stack.check()
        message = account.message_of(demo, purchase.shopify_id)
        if message is not None and message.state not in states:
            states.append(message.state)
            say(f"   {demo.label:<10}  the message to {chapter.late.name} is {message.state}")
        return message is not None and message.state == "delivered"

    wait_until(is_delivered, WORK_SECONDS, "the late delivery report")
    behave(ready.stack.sandbox_url)
    message = account.message_of(demo, purchase.shopify_id)
    reference = str(message.reference) if message else ""
    sent = [line for line in accepted_messages(ready.stack.sandbox_url) if line["reference"] == reference]
    say(f"   {demo.label:<10}  the provider accepted it {len(sent)} time(s)")
    if len(sent) != 1:
        narrator.surprises.append(f"the message whose answer was lost was accepted {len(sent)} times")


def _check_pages(ready: Ready) -> list[str]:
    """Ask for the pages that a newcomer opens first; return what is wrong with them."""
    wrong = []
    for path in ("/live", "/ready", "/health", "/health/workers", "/admin/login/"):
        answer = request("GET", ready.stack.base_url + path)
        if answer.status != 200:
            wrong.append(f"{path} answered {answer.status}: {answer.text[:200]}")
    return wrong
