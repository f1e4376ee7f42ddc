"""Transactions that PostgreSQL breaks off (a deadlock, a serialisation failure) are begun again: bounded, jittered."""

from __future__ import annotations

import functools
import logging
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS = 6
FIRST_WAIT_SECONDS = 0.02
_BROKEN_OFF = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected


def retrying_atomic(function: Callable[P, T]) -> Callable[P, T]:
    """Run an action in one transaction, and begin again when PostgreSQL breaks it off; at most ATTEMPTS times.

    Nothing of a transaction that was broken off remains, so beginning again is safe. Inside an open transaction the
    action joins it: only who opened that one can begin again.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if connection.in_atomic_block:
            return function(*args, **kwargs)
        for attempt in range(1, ATTEMPTS):
            try:
                with transaction.atomic():
                    return function(*args, **kwargs)
            except OperationalError as error:
                if not is_broken_off(error):
                    raise
                logger.warning("%s was broken off (%s), attempt %d", function.__qualname__, error.__cause__, attempt)
            time.sleep(random.uniform(0, FIRST_WAIT_SECONDS * 2**attempt))  # noqa: S311  jitter, not a secret
        with transaction.atomic():
            return function(*args, **kwargs)

    return run


def is_broken_off(error: OperationalError) -> bool:
    """Did PostgreSQL break this transaction off so that another could go on?"""
    return getattr(error.__cause__, "sqlstate", None) in _BROKEN_OFF


def lock_name(name: str, *, shared: bool = False) -> None:
    """Wait until nobody else holds this name (or, to share it, holds it alone); held until the transaction ends.

    Names are the installation's: whatever is a tenant's has the tenant in its name, or an id of the tenant's.
    """
    function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [name])
