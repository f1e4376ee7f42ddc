"""The demo's chapter of a campaign: a CSV of people, a report, a STOP, a pause, and what it cost.

Imported after the settings are ready.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from typing import Any

from django.core.management import call_command

from config.local.deliveries import accepted_messages, request
from config.local.samples import new_id
from config.local.selling import Seller
from messaging.models import Price

PEOPLE = 200
NUMBER = "+302105550123"  # that replies come in by
_SALE = "{{ contact.first_name }}, the new olive oil has arrived: 10 % off until Sunday. {{ tenant.name }}"


@dataclass(frozen=True)
class Told:
    """What was told of a campaign: to whom, and what was spent before it."""

    campaign_id: int
    phones: Sequence[str]
    spent_before: Decimal


def tell_campaign(seller: Seller) -> Told:
    """Import people, report on a campaign to them, launch it, pause it, let it end, and count what came of it."""
    mark = f"demo-{new_id()}"
    start = secrets.randbelow(9_000_000)
    phones = [f"+3069{50_000_000 + start + number}" for number in range(PEOPLE)]
    _import(seller, mark, phones)
    campaign_id = _write(seller, mark)
    told = seller.merchant.post(f"campaigns/{campaign_id}/preflight")["preflight"]
    seller.say(
        f"the report: {told['recipients']} of {told['contacts']} people, {told['parts']} parts,"
        f" {told['cost']} credits of {told['available']}, {told['calls']} calls"
    )
    spent = _spent(seller)
    _opt_out(seller, phones[0])
    seller.merchant.post(f"campaigns/{campaign_id}/launch", {})
    seller.merchant.post(f"campaigns/{campaign_id}/pause")
    paused = seller.merchant.get(f"campaigns/{campaign_id}")
    seller.say(f"launched, and paused at once: {paused['status']}, waits for {paused['blocker']}")
    seller.merchant.post(f"campaigns/{campaign_id}/resume")
    seller.watch(lambda: _status(seller, campaign_id), "done", "the resumed campaign")
    return Told(campaign_id, phones, spent)


def _import(seller: Seller, mark: str, phones: Sequence[str]) -> None:
    """Import a file with a person twice and a number that is none."""
    lines = ["First Name,Phone,Tags", *(f"Eleni {n},{phone},{mark}" for n, phone in enumerate(phones, 1))]
    lines += [f"Eleni once more,{phones[-1]},{mark}", f"Nobody,12,{mark}"]
    consent = {"consent_channels": "sms", "consent_source": "the till", "consent_text": "I want news by SMS."}
    consent |= {"consent_at": "2026-01-01T12:00:00Z", "opt_in_level": "single_opt_in"}
    made = _post_file(seller, "\n".join(lines).encode(), consent)
    seller.watch(lambda: _import_state(seller, made["id"]), "finished", "the file of people")
    read = seller.merchant.get(f"contacts/imports/{made['id']}")
    got = {name: read[f"{name}_count"] for name in ("created", "merged", "error")}
    seller.check("of its 202 rows", got, {"created": PEOPLE, "merged": 1, "error": 1})
    seller.narrator.expect(seller.label, contacts=PEOPLE, consent_statements=PEOPLE)


def _post_file(seller: Seller, content: bytes, fields: dict[str, str]) -> Any:
    """Send a form with a file, as a browser does."""
    boundary, line = uuid.uuid4().hex, "\r\n"
    raw = b""
    for key, text in fields.items():
        raw += f'--{boundary}{line}Content-Disposition: form-data; name="{key}"{line * 2}{text}{line}'.encode()
    raw += f'--{boundary}{line}Content-Disposition: form-data; name="file"; filename="people.csv"{line}'.encode()
    raw += f"Content-Type: text/csv{line * 2}".encode() + content + f"{line}--{boundary}--{line}".encode()
    headers = {
        "Authorization": f"Api-Key {seller.merchant.api_key}",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Idempotency-Key": f"local-{boundary}",
    }
    answer = request("POST", f"{seller.merchant.base_url}/api/v1/contacts/imports", raw=raw, headers=headers)
    if answer.status != 202:
        raise RuntimeError(f"the file was not taken: {answer}")
    return json.loads(answer.text)


def _import_state(seller: Seller, import_id: int) -> str:
    return str(seller.merchant.get(f"contacts/imports/{import_id}")["state"])


def _write(seller: Seller, mark: str) -> int:
    """Write an audience, a template and a draft; return the draft's id."""
    tagged = {"all": [{"field": "contact.tags", "op": "has", "value": mark}]}
    segment = seller.merchant.post("segments", {"name": mark, "definition": tagged})
    template = seller.merchant.post("templates", {"name": mark, "channel": "sms", "body": _SALE})
    plan = {"name": mark, "channel": "sms", "segment_id": segment["id"], "keeps_quiet_hours": False}
    plan |= {"template_version_id": template["versions"][0]["id"], "sender_id": _sender_id(seller)}
    return int(seller.merchant.post("campaigns", plan)["id"])


def _sender_id(seller: Seller) -> int:
    """Register the number, unless an earlier run did."""
    known = seller.merchant.get(f"senders?value=%2B{NUMBER[1:]}")["results"]
    wanted = {"channel": "sms", "value": NUMBER, "is_two_way": True}
    return int((known[0] if known else seller.merchant.post("senders", wanted))["id"])


def _opt_out(seller: Seller, phone: str) -> None:
    """Let a person write STOP before the launch."""
    door = f"{seller.ready.stack.base_url}/webhooks/mitto/inbound/{seller.demo.keys.mitto_token}"
    body = {"id": f"reply-{new_id()}", "from": phone, "to": NUMBER, "text": "Stop!"}
    answer = request("POST", door, raw=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    seller.say(f"{phone} replies STOP → {answer.status}")
    seller.watch(lambda: _consent(seller, phone), "unsubscribed", f"{phone}'s consent")
    seller.narrator.expect(seller.label, consent_statements=1)


def _consent(seller: Seller, phone: str) -> str:
    (contact,) = seller.merchant.get(f"contacts?phone=%2B{phone[1:]}")["results"]
    states = {consent["channel"]: consent["state"] for consent in contact["consents"]}
    return str(states.get("sms"))


def _spent(seller: Seller) -> Decimal:
    return Decimal(seller.merchant.get("credits")["spent"])


def _status(seller: Seller, campaign_id: int) -> str:
    return str(seller.merchant.get(f"campaigns/{campaign_id}")["status"])


def prove_campaign(seller: Seller, told: Told) -> None:
    """Count at the provider who got what; ask the ledger what was paid; prove every tenant's counts and ledger."""
    calls = Counter(line["destination"] for line in accepted_messages(seller.ready.stack.sandbox_url))
    got = Counter(calls[phone] for phone in told.phones)
    # Who opted out got one message: that it is done.
    seller.check("at the provider, messages a person", dict(got), {1: PEOPLE})
    progress = seller.merchant.get(f"campaigns/{told.campaign_id}")["progress"]
    seller.check("of the campaign, who got nothing", progress["skipped"], {"suppressed": 1})
    cost = sum(Decimal(one["cost"]) for state, one in progress["states"].items() if state != "skipped")
    price = Price.objects.get(channel="sms", country="").amount
    seller.check("credits spent, with the answer to STOP", _spent(seller) - told.spent_before, cost + price)
    for name in ("verify_campaigns", "verify_credits"):
        out = StringIO()
        call_command(name, stdout=out)
        seller.say(f"{name}: {out.getvalue().strip()}")
    seller.narrator.expect(seller.label, messages_delivered=PEOPLE, delivery_reports=2 * PEOPLE)
