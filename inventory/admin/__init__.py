"""Products, stock, reservations and locations for operators, by noun."""

from inventory.admin import ledger, locations, products, reservations, stock, thresholds

__all__ = ["ledger", "locations", "products", "reservations", "stock", "thresholds"]
