"""How pages in English show times: with their zone, which is the tenant's where one is chosen, else UTC."""

from __future__ import annotations

DATETIME_FORMAT = "N j, Y, P T"
SHORT_DATETIME_FORMAT = "m/d/Y P T"
