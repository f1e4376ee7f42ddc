"""Keys of writes: what was asked for under a key is done once, also when it is asked for twice at the same time."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection, transaction

from config.infra import tenancy
from config.infra.transactions import lock_name, retrying_atomic
from shopsync.models import IdempotentRequest


class KeyUsed(Exception):  # noqa: N818
    """The key stands for another request already."""

    def __init__(self) -> None:
        super().__init__("This was sent before, with other values: see what it did, and open the page anew.")


_CLAIM = """
INSERT INTO shopsync_idempotentrequest (tenant_id, scope, key, request_digest) VALUES (%s, %s, %s, %s)
ON CONFLICT (tenant_id, scope, key) DO NOTHING RETURNING id"""


def claim_key(*, scope: str, key: str, digest: str) -> int | None:
    """Claim a key in the caller's transaction; return its row's id, or None where the key was claimed before.

    Whoever comes second waits here until the first has committed, or takes over the key of one that was refused.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [tenancy.current_tenant_id(), scope, key, digest])
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def lock_key(*, scope: str, key: str) -> None:
    """Wait until nobody else works under this key of the tenant's; held until the transaction ends.

    Taken before anything else: who reuses a key for another thing finds the first one's row, and not its constraint.
    """
    lock_name(f"key:{tenancy.current_tenant_id()}:{scope}:{key}")


@retrying_atomic
def run_once(*, scope: str, key: str, digest: str, run: Callable[[], object]) -> bool:
    """Run a write under a key, in one transaction with it; False where the same was done under this key before.

    A write that is refused leaves its key free.

    Raises: KeyUsed where the key stands for something else, and whatever `run` raises.
    """
    with transaction.atomic():  # within a caller's transaction too, a refusal takes the key back
        claimed = claim_key(scope=scope, key=key, digest=digest)
        if claimed is None:
            if IdempotentRequest.objects.get(scope=scope, key=key).request_digest != digest:
                raise KeyUsed
            return False
        run()
        IdempotentRequest.objects.filter(pk=claimed).update(status_code=204)
        return True
