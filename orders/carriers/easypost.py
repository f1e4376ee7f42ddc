"""Buys labels through EasyPost's API (v2).

Sources: https://docs.easypost.com/docs/shipments (create, retrieve, rerate, buy), .../docs/shipments/shipping-refund
(refund_status), .../docs/easypost-objects (a `reference` may stand for an id), .../docs/authentication (the key is the
user name of HTTP Basic), .../docs/parcels (ounces and inches).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote, urlsplit

from config.infra import outbound
from config.infra.work import CallError
from orders.carriers.base import (
    LABEL_TYPES,
    MAX_LABEL_BYTES,
    CarrierAccount,
    Label,
    LabelFile,
    Parcel,
    Rate,
    RemoteShipment,
)

BASE_URL = "https://api.easypost.com"
_SERVICE = "shipping"
_GRAMS_PER_OUNCE = Decimal("28.349523125")
_MM_PER_INCH = Decimal("25.4")
_MAX_RATES = 100
_VOID_STATUSES = frozenset({"submitted", "refunded", "rejected", "not_applicable"})
_ADDRESS = {
    "name": "name",
    "company": "company",
    "address1": "street1",
    "address2": "street2",
    "city": "city",
    "province_code": "state",
    "zip": "zip",
    "country_code": "country",
    "phone": "phone",
}


class EasyPost:
    """One EasyPost account."""

    def __init__(self, account: CarrierAccount) -> None:
        self._account = account
        self._root = (account.base_url or BASE_URL).rstrip("/") + "/v2/shipments"

    def quote(self, parcel: Parcel) -> RemoteShipment:
        """Make the parcel known and get its rates (see `Carrier.quote`)."""
        wanted = {
            "reference": parcel.reference,
            "from_address": _address(parcel.from_address),
            "to_address": _address(parcel.to_address),
            "parcel": _measures(parcel),
        }
        return _shipment(self._call("POST", self._root, {"shipment": wanted}))

    def requote(self, remote_id: str) -> tuple[Rate, ...]:
        """Get fresh rates (see `Carrier.requote`)."""
        return _rates(self._call("POST", f"{self._one(remote_id)}/rerate", {}))

    def find(self, reference: str) -> RemoteShipment | None:
        """Ask for a shipment (see `Carrier.find`)."""
        try:
            answer = self._call("GET", self._one(reference), None)
        except CallError as error:
            if error.status == 404:
                return None
            raise
        return _asked(answer)

    def buy(self, remote_id: str, rate_id: str) -> RemoteShipment:
        """Buy the label (see `Carrier.buy`)."""
        bought = _shipment(self._call("POST", f"{self._one(remote_id)}/buy", {"rate": {"id": rate_id}}))
        if bought.label is None:
            raise CallError("EasyPost's answer to the purchase names no label", unknown=True)
        return bought

    def void(self, remote_id: str) -> RemoteShipment:
        """Ask for the money back (see `Carrier.void`)."""
        answer = _shipment(self._call("POST", f"{self._one(remote_id)}/refund", {}))
        if not answer.void_status:
            raise CallError("EasyPost's answer does not say what became of the refund", unknown=True)
        return answer

    def fetch_label(self, url: str) -> LabelFile:
        """Fetch a label's file; the account's key is not sent, since another host has it (see `Carrier.fetch_label`).

        Raises: CallError, permanent for what is no label of a kind and size that we keep.
        """
        answer = self._request("GET", url, headers={"Accept": ", ".join(LABEL_TYPES)})
        if answer.content_type not in LABEL_TYPES:
            raise CallError(f"the label is of the type {answer.content_type[:60]!r}", permanent=True)
        if not 0 < len(answer.body) <= MAX_LABEL_BYTES:
            raise CallError(f"the label has {len(answer.body)} bytes; {MAX_LABEL_BYTES} are kept", permanent=True)
        return LabelFile(answer.content_type, answer.body)

    def _one(self, remote_id: str) -> str:
        return f"{self._root}/{quote(remote_id, safe='')}"

    def _call(self, method: str, url: str, document: object | None) -> Any:
        answer = self._request(method, url, document=document, headers=outbound.basic_auth(self._account.api_key, ""))
        try:
            return answer.json()
        except outbound.OutboundError as error:
            raise CallError(f"EasyPost: {error}", unknown=method != "GET", status=error.status) from error

    def _request(
        self, method: str, url: str, *, document: object | None = None, headers: Mapping[str, str]
    ) -> outbound.Response:
        is_question = method == "GET"
        try:
            return outbound.call(
                service=_SERVICE,
                connection=self._account.connection_id,
                method=method,
                url=url,
                json=document,
                headers=headers,
                repeatable=is_question,
            )
        except outbound.OutboundError as error:
            raise CallError(
                f"EasyPost: {error}{_words(error.body)}",
                permanent=error.permanent,
                unknown=error.unknown and not is_question,
                retry_after_seconds=error.retry_after_seconds,
                status=error.status,
                blocker=error.blocker,
            ) from error


def _words(body: bytes) -> str:
    """Return what a refusal says: `error.code` and `error.message` (https://docs.easypost.com/docs/errors)."""
    try:
        error = _object(outbound.Response(400, {}, body).json()).get("error")
    except (outbound.OutboundError, CallError):
        return ""
    told = [str(error.get(name)) for name in ("code", "message") if error.get(name)] if isinstance(error, dict) else []
    line = " ".join(" ".join(told).encode("utf-8", "replace").decode().replace("\x00", "").split())
    return f" ({line[:200]})" if line else ""


def _address(given: Mapping[str, str]) -> dict[str, str]:
    return {theirs: given[ours] for ours, theirs in _ADDRESS.items() if given.get(ours)}


def _measures(parcel: Parcel) -> dict[str, str]:
    """Return the parcel in ounces and inches, rounded up to a tenth: an underweight label is paid for later."""
    sides = {"length": parcel.length_mm, "width": parcel.width_mm, "height": parcel.height_mm}
    measured = {name: _tenths(Decimal(side) / _MM_PER_INCH) for name, side in sides.items() if side}
    return {"weight": _tenths(Decimal(parcel.weight_grams) / _GRAMS_PER_OUNCE), **measured}


def _tenths(value: Decimal) -> str:
    return str(value.quantize(Decimal("0.1"), rounding="ROUND_CEILING"))


def _asked(answer: Any) -> RemoteShipment:
    """Read the answer to a question: what can't be read moved nothing, and may be readable later."""
    try:
        return _shipment(answer)
    except CallError as error:
        raise CallError(str(error)) from error


def _shipment(answer: Any) -> RemoteShipment:
    found = _object(answer)
    remote_id = _text(found.get("id"), 80)
    if not remote_id:
        raise CallError("EasyPost's answer names no shipment", unknown=True)
    void_status = str(found.get("refund_status") or "")
    return RemoteShipment(
        remote_id=remote_id,
        reference=_text(found.get("reference"), 80),
        rates=_rates(found),
        label=_label(found),
        void_status=void_status if void_status in _VOID_STATUSES else "",
    )


def _rates(answer: Any) -> tuple[Rate, ...]:
    listed = _object(answer).get("rates")
    found = [_rate(entry) for entry in (listed if isinstance(listed, list) else [])[:_MAX_RATES]]
    return tuple(rate for rate in found if rate is not None)


def _rate(entry: Any) -> Rate | None:
    """Read one offer; one that can't be read can't be chosen either."""
    entry = entry if isinstance(entry, dict) else {}
    rate_id, currency = _text(entry.get("id"), 80), _text(entry.get("currency"), 3)
    try:
        amount = Decimal(str(entry.get("rate")))
    except InvalidOperation:
        return None
    if not rate_id or len(currency) != 3 or not amount.is_finite() or not 0 <= amount < 10**10:
        return None
    days = entry.get("delivery_days")
    known_days = days if isinstance(days, int) and 0 <= days < 1000 else None
    company, service = _text(entry.get("carrier"), 100), _text(entry.get("service"), 100)
    return Rate(rate_id, company, service, amount, currency.upper(), known_days)


def _label(found: dict[str, Any]) -> Label | None:
    """Read the label: there is one as soon as `postage_label` is filled.

    Raises: CallError (unknown) for a label that is bought and can't be read.
    """
    label = found.get("postage_label")
    if not isinstance(label, dict):
        return None
    rate, number = _rate(found.get("selected_rate")), _text(found.get("tracking_code"), 100)
    url = _web_address(label.get("label_url"), 1000)
    if rate is None or not number or not url:
        raise CallError("EasyPost's answer names a label without its rate, number or address", unknown=True)
    tracker = found.get("tracker")
    tracking_url = _web_address(tracker.get("public_url"), 500) if isinstance(tracker, dict) else ""
    return Label(url=url, tracking_number=number, tracking_url=tracking_url, rate=rate)


def _object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise CallError("EasyPost's answer is not an object", unknown=True)
    return answer


def _text(value: Any, longest: int) -> str:
    """Return a word that can be stored; empty when it is none, or too long to be one."""
    return value if isinstance(value, str) and len(value) <= longest and value.isprintable() else ""


def _web_address(value: Any, longest: int) -> str:
    text = _text(value, longest)
    return text if urlsplit(text).scheme in {"http", "https"} else ""
