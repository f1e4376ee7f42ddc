"""System checks: every subscriber in config/wiring.py exists and takes an event."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string


def check_subscribers(**_: Any) -> list[CheckMessage]:
    """audit.E001: a dotted path in EVENT_SUBSCRIBERS does not resolve to a callable."""
    problems: list[CheckMessage] = []
    for name, paths in settings.EVENT_SUBSCRIBERS.items():
        for path in paths:
            try:
                is_fine = callable(import_string(path))
            except ImportError:
                is_fine = False
            if not is_fine:
                hint = "mend the path in config/wiring.py"
                problems.append(Error(f"{path}, subscriber of {name}, is no action", hint=hint, id="audit.E001"))
    return problems


def register_checks() -> None:
    """Register this app's checks."""
    register(check_subscribers)
