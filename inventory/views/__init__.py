"""The API's doors to products, stock and reservations."""

from inventory.views.products import Products, Variants
from inventory.views.reservations import Reservations
from inventory.views.stock import Locations, Movements, Stock
from inventory.views.thresholds import Thresholds

__all__ = ["Locations", "Movements", "Products", "Reservations", "Stock", "Thresholds", "Variants"]
