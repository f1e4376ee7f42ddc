"""What the API shows of stored deliveries, and the pages that every list comes in."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """Pages by cursor, newest first: page 10,000 costs what page 1 does. `page_size` is at most 200."""

    ordering = "-id"
    page_size_query_param = "page_size"
    max_page_size = 200
