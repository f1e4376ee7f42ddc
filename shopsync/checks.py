"""System checks: what config/wiring.py names exists, and addresses (of ourselves, of ops) can be used."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.module_loading import import_string

from config.infra.tasks import SystemTask


def check_handlers(**_: Any) -> list[CheckMessage]:
    """shopsync.E001: a dotted path in WEBHOOK_HANDLERS does not resolve to a callable."""
    problems: list[CheckMessage] = []
    for source, handlers in settings.WEBHOOK_HANDLERS.items():
        for topic, path in handlers.items():
            try:
                is_fine = callable(import_string(path))
            except ImportError:
                is_fine = False
            if not is_fine:
                message = f"{path}, handler of {source} {topic}, is no action"
                problems.append(Error(message, hint="mend the path in config/wiring.py", id="shopsync.E001"))
    return problems


def check_connection_services(**_: Any) -> list[CheckMessage]:
    """shopsync.E005: a dotted path in CONNECTION_SERVICES does not resolve to a callable."""
    problems: list[CheckMessage] = []
    for service, path in settings.CONNECTION_SERVICES.items():
        try:
            is_fine = not path or callable(import_string(path))
        except ImportError:
            is_fine = False
        if not is_fine:
            message = f"{path}, which looks at connections to {service}, is no function"
            problems.append(Error(message, hint="mend the path in config/wiring.py", id="shopsync.E005"))
    return problems


def check_schedules(**_: Any) -> list[CheckMessage]:
    """shopsync.E003: a scheduled task does not resolve to a SystemTask, or two schedules have one name."""
    hint = "mend SCHEDULES in config/wiring.py"
    names = [schedule.name for schedule in settings.SCHEDULES]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems: list[CheckMessage] = [
        Error(f"{name} is scheduled twice", hint=hint, id="shopsync.E003") for name in twice
    ]
    for schedule in settings.SCHEDULES:
        try:
            is_fine = isinstance(import_string(schedule.task), SystemTask)
        except ImportError:
            is_fine = False
        if not is_fine:
            message = f"{schedule.task}, of schedule {schedule.name}, is no SystemTask"
            problems.append(Error(message, hint=hint, id="shopsync.E003"))
    return problems


def check_public_url(**_: Any) -> list[CheckMessage]:
    """shopsync.E002: production must be reached by https, or providers' call-backs and links go astray."""
    if not settings.IS_PRODUCTION or settings.PUBLIC_URL.startswith("https://"):
        return []
    hint = "set PUBLIC_URL to the address that Shopify and the providers reach, e.g. https://ops.example.com"
    return [Error("PUBLIC_URL is not an https address", hint=hint, id="shopsync.E002")]


def check_ops_emails(**_: Any) -> list[CheckMessage]:
    """shopsync.E004: OPS_EMAILS holds what is no e-mail address."""
    problems: list[CheckMessage] = []
    for address in settings.OPS_EMAILS:
        try:
            validate_email(address)
        except ValidationError:
            hint = "write addresses alone, separated by commas"
            problems.append(Error(f"OPS_EMAILS: {address!r} is no e-mail address", hint=hint, id="shopsync.E004"))
    return problems


def register_checks() -> None:
    """Register this app's checks."""
    register(check_handlers)
    register(check_connection_services)
    register(check_schedules)
    register(check_public_url)
    register(check_ops_emails)
