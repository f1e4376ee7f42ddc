"""What demo, run and the flow tests ask of the database: migrations, and whether any work is left.

Imported after the settings are ready.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import RedisError

from config.infra import tenancy
from config.infra.cache import redis_client
from config.infra.heartbeat import HEARTBEATS
from config.infra.ratelimit import Level, grant
from config.infra.work import queues
from config.local.processes import wait_until
from messaging.models import Message
from messaging.queries import held_up


def migrate() -> int:
    """Apply what is missing, with a line for each step; return how many steps that were."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        call_command("migrate", interactive=False, verbosity=1)
    return len(plan)


def prepare_redis() -> None:
    """Forget the heartbeats of earlier workers, so that /health speaks of this start's, and wake the limiter.

    After a restart of Redis the limiter lets a window pass before its first grant: that time runs while we set up.

    Raises:
        RuntimeError: Redis does not answer.
    """
    try:
        redis_client().delete(HEARTBEATS)
    except RedisError as error:
        raise RuntimeError(f"Redis does not answer: {error}") from error
    grant([Level("local:set-up", 1)])


@dataclass(frozen=True)
class Left:
    """Work of every queue that is due, and work that somebody holds. A message that waits for a person or for the hours
    of the day is neither."""

    due: int
    held: int

    @property
    def is_idle(self) -> bool:
        """Is there neither?"""
        return not self.due and not self.held


def work_left() -> Left:
    """Count the work left, in one statement: work that makes more work is done in one step with it."""
    names = [connection.ops.quote_name(model._meta.db_table) for model in queues()]
    with tenancy.all_tenants(reason="count the work that is left"):
        waiting, parameters = Message.objects.filter(held_up(), status="ready").values("pk").query.sql_with_params()
    counted = [
        "SELECT count(*) FILTER (WHERE status = 'ready' AND due_at <= clock_timestamp()) AS due, "  # noqa: S608  our names
        f"count(*) FILTER (WHERE status = 'leased') AS held FROM {name} WHERE status IN ('ready', 'leased')"
        + (f" AND id NOT IN ({waiting})" if model is Message else "")
        for name, model in zip(names, queues(), strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT sum(due), sum(held) FROM ({' UNION ALL '.join(counted)}) AS counted", parameters)  # noqa: S608
        due, held = cursor.fetchone()
    return Left(int(due), int(held))


def wait_until_idle(timeout_seconds: float) -> None:
    """Return once no work is due and none is held; work that waits for a later time does not count.

    Raises:
        TimeoutError: the message says what is left.
    """
    try:
        wait_until(lambda: work_left().is_idle, timeout_seconds, "all work to be done")
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {work_left()}") from None
