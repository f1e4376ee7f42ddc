"""Loads orders by COPY, as many as wanted: the rows that deliveries would leave, without the work of taking them in."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from django.db import models
from psycopg import sql

CHUNK = 20_000
LINES = 2


def load_orders(tenant_id: int, count: int) -> None:
    """Add so many orders of two lines each, with their commitments, and look at the tables as autovacuum would."""
    from orders.models import Commitment, Order, OrderLine

    # A database of our own: what the rows refer to is there, so nothing needs to be checked row by row.
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        order, line, commitment = (_last_id(connection, model) for model in (Order, OrderLine, Commitment))
        _copy(
            connection,
            Order(tenant_id=tenant_id, currency="EUR", presentment_currency="EUR", source_version="1"),
            count,
            lambda n: {
                "id": order + n,
                "shopify_id": 10**12 + order + n,
                "name": f"#{order + n}",
                "email": f"buyer-{(order + n) % 50_000}@example.com",
                "total_amount": f"{n % 500}.50",
                "financial_status": "paid",
                "placed_at": "2026-11-02T10:00:00Z",
            },
        )
        _copy(
            connection,
            OrderLine(tenant_id=tenant_id, quantity=2, current_quantity=2, title="A thing", price_amount="9.90"),
            count * LINES,
            lambda n: {
                "id": line + n,
                "shopify_id": 10**12 + line + n,
                "order_id": order + (n + LINES - 1) // LINES,
                "position": n % LINES,
                "variant_shopify_id": 10**6 + n % 20_000,
                "sku": f"SKU-{n % 20_000}",
            },
        )
        _copy(
            connection,
            Commitment(tenant_id=tenant_id, quantity=0),
            count * LINES,
            lambda n: {"id": commitment + n, "line_id": line + n},
        )
    _settle()


def load_products(tenant_id: int, count: int) -> None:
    """Add so many products of one variant each."""
    from inventory.models import Product, Variant

    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        product, variant = _last_id(connection, Product), _last_id(connection, Variant)
        _copy(
            connection,
            Product(tenant_id=tenant_id, title="A product", source_version="1", status="active"),
            count,
            lambda n: {"id": product + n, "shopify_id": 10**9 + product + n},
        )
        _copy(
            connection,
            Variant(tenant_id=tenant_id, title="A variant", policy="deny"),
            count,
            lambda n: {"id": variant + n, "shopify_id": 10**9 + n, "product_id": product + n, "sku": f"SKU-{n}"},
        )
    _settle()


def _last_id(connection: psycopg.Connection[Any], model: type[models.Model]) -> int:
    table = sql.Identifier(model._meta.db_table)
    return int(connection.execute(sql.SQL("SELECT coalesce(max(id), 0) FROM {}").format(table)).fetchone()[0])


def _copy(
    connection: psycopg.Connection[Any], pattern: models.Model, count: int, own: Callable[[int], dict[str, Any]]
) -> None:
    """Write `count` rows like the pattern, each with columns of its own (numbered from 1), and move the sequence on."""
    given = own(1)
    fields = [
        field
        for field in pattern._meta.concrete_fields
        if field.attname in given or not _is_left_to_database(pattern, field)
    ]
    template = "\t".join(
        "%(" + field.column + ")s" if field.attname in given else _text(pattern, field) for field in fields
    )
    table = sql.Identifier(pattern._meta.db_table)
    columns = sql.SQL(", ").join(sql.Identifier(field.column) for field in fields)
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk in _chunks(template + "\n", count, own):
            copy.write(chunk)
    name = pattern._meta.db_table
    connection.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), (%s))", [name, own(count)["id"]])


def _is_left_to_database(pattern: models.Model, field: models.Field[Any, Any]) -> bool:
    return field.db_default is not models.NOT_PROVIDED and field.default is models.NOT_PROVIDED


def _text(pattern: models.Model, field: models.Field[Any, Any]) -> str:
    """Write a constant as COPY reads it; per cent signs are the template's."""
    value = field.pre_save(pattern, True) if field.attname != "id" else None
    if value is None:
        return "\\N"
    if isinstance(field, models.JSONField):
        return str(value).replace("'", '"')
    return str({True: "t", False: "f"}.get(value, value) if isinstance(value, bool) else value).replace("%", "%%")


def _chunks(template: str, count: int, own: Callable[[int], dict[str, Any]]) -> Iterator[str]:
    buffer = io.StringIO()
    for number in range(1, count + 1):
        buffer.write(template % own(number))
        if number % CHUNK == 0:
            yield buffer.getvalue()
            buffer = io.StringIO()
    yield buffer.getvalue()


def _settle() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
