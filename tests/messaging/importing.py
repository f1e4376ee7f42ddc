"""Imports as tests make them, and what became of them."""

from __future__ import annotations

from messaging.actions.imports import Options, start_import
from messaging.tasks import drain_imports


def take(text, *, piece=7, **options):
    """Import a file that comes in small pieces, and return its row at the end."""
    body = text if isinstance(text, bytes) else text.encode()
    pieces = (body[at : at + piece] for at in range(0, len(body), piece))
    made = start_import(pieces=pieces, options=Options(**options), actor="user:1")
    drain_imports()
    made.refresh_from_db()
    return made


def counts(made):
    return (made.created_count, made.merged_count, made.skipped_count, made.error_count, made.note_count)


def problems(made):
    return {row.line: row.problem for row in made.rows.order_by("line")}
