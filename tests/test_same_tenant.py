"""No row of orders, inventory or messaging points to a row of another tenant: PostgreSQL itself refuses it.

Walks the models, so that a new one is asked too: one that fails here ties its keys by `tie(…)` in its migration
(inventory/migrations/0170_same_tenant.py).
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import IntegrityError, connection, models, transaction
from django.utils import timezone

from shopsync.models import TenantModel
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db
OWNED = [
    model
    for app in ("inventory", "orders", "messaging", "shopsync")
    for model in apps.get_app_config(app).get_models()
    if issubclass(model, TenantModel)
]
KEYS = [
    (model, field)
    for model in OWNED
    for field in model._meta.concrete_fields
    if field.is_relation and issubclass(field.related_model, TenantModel) and model._meta.app_label != "shopsync"
]
_numbers = itertools.count(1)


@pytest.fixture
def tenants():
    """Two tenants; all that their rows are held to are their keys: no checks, no triggers of ours, no waiting."""
    pair = make_tenant(), make_tenant()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for model in OWNED:
            table = model._meta.db_table
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            checks = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'"
            cursor.execute(checks, [table])
            for (name,) in cursor.fetchall():
                cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    return pair


def plain_value(field: Any) -> Any:
    """Return something that the column takes, another each time."""
    number = next(_numbers)
    plain: dict[Any, Any] = {
        (models.DateTimeField, models.TimeField, models.DateField): timezone.now(),
        models.BinaryField: str(number).encode(),
        ArrayField: [],
        models.UUIDField: uuid.uuid4(),
        models.JSONField: "{}",
        models.BooleanField: False,
        (models.CharField, models.TextField): str(number)[: getattr(field, "max_length", None)],
    }
    return next((value for kind, value in plain.items() if isinstance(field, kind)), number)


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def plant(model: type[TenantModel], tenant_id: int, **given: int) -> int:
    """Insert a row past Django, with parents of its own where it needs some."""
    values: dict[str, Any] = {"tenant_id": tenant_id, **given}
    for field in model._meta.concrete_fields:
        if field.column in values or field.primary_key or field.null or field.has_db_default():
            continue
        parent = field.related_model
        values[field.column] = plant(parent, tenant_id) if parent else plain_value(field)
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    with connection.cursor() as cursor:
        insert = f"INSERT INTO {model._meta.db_table} ({columns}) VALUES ({places}) RETURNING id"
        cursor.execute(insert, [*values.values()])
        return int(cursor.fetchone()[0])


def names_refusal(write: Callable[[], object]) -> str:
    """Return the name of the constraint that refuses a write; nothing where none does."""
    try:
        with transaction.atomic():
            write()
    except IntegrityError as error:
        return str(error.__cause__.diag.constraint_name)
    return ""


def refusals(model: type[TenantModel], field: Any, ours: int, theirs: int) -> list[str]:
    """Point a row of ours to one of theirs: by an insert, by an update, and by giving the row itself away."""
    own, foreign = plant(field.related_model, ours), plant(field.related_model, theirs)
    row = plant(model, ours, **{field.column: own})
    update = f"UPDATE {model._meta.db_table} SET {{}} WHERE id = {row}"
    return [
        names_refusal(lambda: plant(model, ours, **{field.column: foreign})),
        names_refusal(lambda: execute(update.format(f"{field.column} = {foreign}"))),
        names_refusal(lambda: execute(update.format(f"tenant_id = {theirs}"))),
    ]


@pytest.mark.drifts  # what it plants is held to no ledger
def test_a_raw_write_that_points_to_another_tenants_row_is_refused(tenants):
    ours, theirs = tenants
    found = {str(field): refusals(model, field, ours.pk, theirs.pk) for model, field in KEYS}
    named = {str(field): f"{model._meta.model_name}_{field.name}_is_of_its_tenant" for model, field in KEYS}
    assert {key: names[:2] for key, names in found.items()} == {key: [name] * 2 for key, name in named.items()}
    assert [key for key, names in found.items() if not names[2].endswith("_is_of_its_tenant")] == []


def test_the_walk_sees_them_all():
    assert len(KEYS) >= 36
