"""The dead-letter office as a database view over every queue, rebuilt around each migrate.

Dropped before, so that migrations may change the tables under it; created after, from the work rows that exist by then.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate, pre_migrate

from audit.models import DeadLetter
from config.infra.work import WorkRow, queues

_SELECT = """SELECT '{queue}:' || id AS key, '{queue}'::varchar AS queue, id AS row_id, tenant_id, status, lane,
attempts,
       last_error, started_at, created_at FROM {table} WHERE status IN ('buried', 'unknown', 'quarantined')"""


def _view_sql(models: list[type[WorkRow]]) -> str:
    selects = (_SELECT.format(queue=model.queue.name, table=f'"{model._meta.db_table}"') for model in models)
    return f'CREATE VIEW "{DeadLetter._meta.db_table}" AS ' + "\nUNION ALL\n".join(selects)


def drop_view(sender: AppConfig, using: str, **_: Any) -> None:
    """Take the view away before migrations run."""
    if sender.name == "audit":
        with connections[using].cursor() as cursor:
            cursor.execute(f'DROP VIEW IF EXISTS "{DeadLetter._meta.db_table}"')


def create_view(sender: AppConfig, using: str, **_: Any) -> None:
    """Write the view over the queues whose tables exist; the last app to migrate sees them all."""
    connection = connections[using]
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        models = [model for model in queues() if model._meta.db_table in tables]
        cursor.execute(f'DROP VIEW IF EXISTS "{DeadLetter._meta.db_table}"')
        if models:
            cursor.execute(_view_sql(models))


def connect() -> None:
    """Hook both into migrate; the view is written after each app, and complete after the last."""
    pre_migrate.connect(drop_view, dispatch_uid="audit.drop_dead_letter_office")
    post_migrate.connect(create_view, dispatch_uid="audit.create_dead_letter_office")
