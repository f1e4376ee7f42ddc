"""Products, stock and reservations."""

from inventory.models.products import InventoryItem, Location, Product, Variant
from inventory.models.reservations import HoldPush, Reservation, ReservationLine
from inventory.models.stock import STATES, StockLevel, StockMovement
from inventory.models.thresholds import StockOut, StockThreshold

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
    "StockOut",
    "StockThreshold",
    "Variant",
]
