"""Typed readers for the environment; settings.py is read top to bottom with these and nothing else."""

from __future__ import annotations

import os
from typing import Literal
from urllib.parse import unquote, urlsplit

Environment = Literal["production", "local", "test"]
_DJANGO_MAIL = "django.core.mail.backends"
ENVIRONMENTS: tuple[Environment, ...] = ("production", "local", "test")


class SettingsError(RuntimeError):
    """The process can't start with this environment; the message says what to set."""


def environment() -> Environment:
    """Say which environment this is; production unless SHOPSYNC_ENV says otherwise."""
    value = os.environ.get("SHOPSYNC_ENV", "production")
    if value not in ENVIRONMENTS:
        raise SettingsError(f"SHOPSYNC_ENV is {value!r}; set it to one of {', '.join(ENVIRONMENTS)}.")
    return value


def text(name: str, default: str = "") -> str:
    """Read a string."""
    return os.environ.get(name, default)


def required(name: str, *, why: str) -> str:
    """Read a string that must be set.

    Raises: SettingsError naming the variable and what it is for.
    """
    if value := os.environ.get(name, ""):
        return value
    raise SettingsError(f"{name} is not set: {why}")


def flag(name: str, *, default: bool = False) -> bool:
    """Read a yes/no value: 1, true, yes, on (any case) are true; 0, false, no, off and empty are false."""
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise SettingsError(f"{name} is {value!r}; set it to true or false.")


def number(name: str, default: int, *, minimum: int = 0) -> int:
    """Read a whole number of at least `minimum`."""
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    if not value.isdigit() or int(value) < minimum:
        raise SettingsError(f"{name} is {value!r}; set it to a whole number of at least {minimum}.")
    return int(value)


def words(name: str, default: str = "") -> list[str]:
    """Read a comma-separated list; empty parts are dropped."""
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def database(url: str) -> dict[str, object]:
    """Turn postgresql://user:password@host:port/name into Django's dictionary.

    Raises: SettingsError for another scheme or a URL without a database name.
    """
    parts = urlsplit(url)
    name = unquote(parts.path.lstrip("/"))
    if parts.scheme not in {"postgresql", "postgres"} or not name:
        raise SettingsError("DATABASE_URL must look like postgresql://user:password@host:5432/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
    }


def mail(url: str) -> dict[str, object]:
    """Turn smtp://user:password@host:port, smtp+tls:// (STARTTLS), smtps:// or file:///folder into Django's settings.

    Empty: no e-mail can be sent, EMAIL_BACKEND is empty too.

    Raises: SettingsError for another scheme, or without a host or folder.
    """
    parts = urlsplit(url)
    if not url:
        return {"EMAIL_BACKEND": ""}
    if parts.scheme == "file" and parts.path:
        return {"EMAIL_BACKEND": f"{_DJANGO_MAIL}.filebased.EmailBackend", "EMAIL_FILE_PATH": unquote(parts.path)}
    ports = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
    if parts.scheme not in ports or not parts.hostname:
        raise SettingsError(
            "EMAIL_URL must look like smtp+tls://user:password@host:587, smtps://…, smtp://… or file:///folder."
        )
    return {
        "EMAIL_BACKEND": "config.infra.mail.SmtpBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or ports[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
    }
