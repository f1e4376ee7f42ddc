"""Products, stock and reservations."""

from inventory.models.products import InventoryItem, Location, Product, Variant
from inventory.models.reservations import HoldPush, Reservation, ReservationLine
from inventory.models.stock import STATES, StockLevel, StockMovement

__all__ = [
    "STATES",
    "HoldPush",
    "InventoryItem",
    "Location",
    "Product",
    "Reservation",
    "ReservationLine",
    "StockLevel",
    "StockMovement",
    "Variant",
]
