"""Who counts a tenant's stock: read under a lock that a hand-over waits for."""

from __future__ import annotations

from django.db import connection


def authority_of(tenant_id: int) -> str:
    """Say who counts this tenant's stock; the shared lock keeps a hand-over out until the transaction ends.

    It comes before the locks of levels: whoever waits for a hand-over holds none that it waits for.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT stock_authority FROM shopsync_tenant WHERE id = %s FOR SHARE", [tenant_id])
        (authority,) = cursor.fetchone()
    return str(authority)
