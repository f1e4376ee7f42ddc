"""Shopify's quantities, moved and read through the Admin API.

Sources: https://shopify.dev/docs/api/admin-graphql/2026-07/mutations/inventoryMoveQuantities (compare-and-swap by
`changeFromQuantity`, `@idempotent` required from 2026-04), .../queries/inventoryItem.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from config.infra.work import CallError
from shopsync.client import ShopifyAccount, graphql

_READ = """
query ($item: ID!, $location: ID!) {
  inventoryItem(id: $item) { inventoryLevel(locationId: $location) {
    updatedAt
    quantities(names: ["available", "reserved", "on_hand", "committed", "incoming", "damaged", "safety_stock",
                       "quality_control"]) { name quantity } } } }
"""
_MOVE = """
mutation ($input: InventoryMoveQuantitiesInput!, $key: String!) {
  inventoryMoveQuantities(input: $input) @idempotent(key: $key) {
    userErrors { field message code } inventoryAdjustmentGroup { createdAt } } }
"""


class NotThere(CallError):  # noqa: N818
    """Shopify has not so many units there, or does not know the place: there is nothing to move."""


class StaleQuantities(Exception):  # noqa: N818  (nothing was moved: the swap compared with numbers that are gone)
    """Shopify's quantities are not those that the move was to start from; read them again."""


@dataclass(frozen=True, slots=True)
class Quantities:
    """What Shopify has of an item at a location; `others` are its further states, as far as it told them."""

    available: int
    reserved: int
    others: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """An item at a location, by Shopify's ids."""

    item_id: int
    location_id: int


@dataclass(frozen=True, slots=True)
class HoldMove:
    """Units to move from one state to the other, starting from the quantities that were read."""

    place: Place
    quantity: int
    to_reserved: bool
    start: Quantities
    key: UUID
    reference: str


def read_quantities(account: ShopifyAccount, place: Place) -> Quantities:
    """Read what is available and reserved.

    Raises: CallError.
    """
    variables = {"item": _gid("InventoryItem", place.item_id), "location": _gid("Location", place.location_id)}
    try:
        data = graphql(account, _READ, variables)
        level = data["inventoryItem"]["inventoryLevel"]
        found = {entry["name"]: int(entry["quantity"]) for entry in level["quantities"]}
        return Quantities(available=found.pop("available"), reserved=found.pop("reserved"), others=found)
    except CallError as error:  # a read moves nothing, whatever became of it
        wait = error.retry_after_seconds
        raise CallError(
            str(error), permanent=error.permanent, retry_after_seconds=wait, blocker=error.blocker
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise NotThere("Shopify does not stock this item at this location", permanent=True) from error


def move_quantities(account: ShopifyAccount, move: HoldMove) -> datetime | None:
    """Move units between available and reserved; the same key moves them once. Return when it happened, if told.

    Raises: CallError, StaleQuantities.
    """
    available = {"name": "available", "changeFromQuantity": move.start.available, "ledgerDocumentUri": None}
    reserved = {"name": "reserved", "changeFromQuantity": move.start.reserved, "ledgerDocumentUri": move.reference}
    ends = [available, reserved] if move.to_reserved else [reserved, available]
    location = _gid("Location", move.place.location_id)
    source, target = ({**end, "locationId": location} for end in ends)
    change = {
        "inventoryItemId": _gid("InventoryItem", move.place.item_id),
        "quantity": move.quantity,
        "from": source,
        "to": target,
    }
    request = {"reason": "reservation_created", "referenceDocumentUri": move.reference, "changes": [change]}
    data = graphql(account, _MOVE, {"input": request, "key": str(move.key)})
    return _moved_at(data.get("inventoryMoveQuantities"))


def _moved_at(payload: Any) -> datetime | None:
    if not isinstance(payload, dict):
        raise CallError("Shopify's answer says nothing of the move", unknown=True)
    errors = [error for error in payload.get("userErrors") or [] if isinstance(error, dict)]
    if any("STALE" in str(error.get("code")) for error in errors):
        raise StaleQuantities
    if errors:
        text = "; ".join(str(error.get("message", "")) for error in errors)[:300]
        raise CallError(f"Shopify refused the move: {text}", permanent=True)
    try:
        return datetime.fromisoformat(payload["inventoryAdjustmentGroup"]["createdAt"])
    except (KeyError, TypeError, ValueError):
        return None


def _gid(kind: str, shopify_id: int) -> str:
    return f"gid://shopify/{kind}/{shopify_id}"
