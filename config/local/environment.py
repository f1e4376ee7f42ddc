"""The environment of local processes: embedded servers where none are named, and keys that stay from run to run.

Needs neither Django nor its settings, which are read after it.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from config import embedded
from config.local.state import locked, private_folder, read_json, write_private_json

SHOP_DOMAINS = ("demo-one.myshopify.com", "demo-two.myshopify.com", "demo-three.myshopify.com")
ADMIN_USERNAME = "admin"
PREFERRED_PORT = 8000


def _random() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class TenantKeys:
    """One demo tenant's secrets; the tokens are the last parts of its call-back addresses, the secrets sign events."""

    api_key: str = field(default_factory=_random, repr=False)
    write_key: str = field(default_factory=_random, repr=False)
    mitto_token: str = field(default_factory=_random, repr=False)
    stripe_token: str = field(default_factory=_random, repr=False)
    stripe_secret: str = field(default_factory=lambda: f"whsec_{_random()}", repr=False)
    easypost_token: str = field(default_factory=_random, repr=False)
    easypost_secret: str = field(default_factory=_random, repr=False)


@dataclass(frozen=True)
class LocalKeys:
    """Every random key of one checkout, kept in `.local/keys.json`."""

    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(64), repr=False)
    field_keys: str = field(default_factory=_random, repr=False)
    digest_key: str = field(default_factory=_random, repr=False)
    shopify_api_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    shopify_api_secret: str = field(default_factory=lambda: f"shpss_{secrets.token_hex(16)}", repr=False)
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    tenants: dict[str, TenantKeys] = field(default_factory=dict, repr=False)


def local_keys(state: Path) -> LocalKeys:
    """Return the checkout's keys: those kept, and new ones for what is missing.

    Raises:
        ValueError: the file is damaged; the message names it.
    """
    path = private_folder(state) / "keys.json"
    with locked(state / ".keys.lock"):
        kept: dict[str, Any] = read_json(path) or {}
        try:
            tenants = {shop: TenantKeys(**kept.get("tenants", {}).get(shop, {})) for shop in SHOP_DOMAINS}
            keys = LocalKeys(**{**kept, "tenants": tenants})
        except (TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error}): remove it and start again.") from error
        if asdict(keys) != kept:
            write_private_json(path, asdict(keys))
    return keys


def local_environment(state: Path) -> dict[str, str]:
    """Start (or find) the embedded servers, and return what child processes need in their environment.

    DATABASE_URL, REDIS_URL and any of the keys that the environment already holds are used instead.

    Raises:
        EmbeddedServerError: a server does not start.
        ValueError: the file of keys is damaged.
    """
    keys = local_keys(state)
    urls = embedded.start(state)
    values = {
        "SECRET_KEY": keys.secret_key,
        "FIELD_KEYS": keys.field_keys,
        "DIGEST_KEY": keys.digest_key,
        "SHOPIFY_API_KEY": keys.shopify_api_key,
        "SHOPIFY_API_SECRET": keys.shopify_api_secret,
        "PUBLIC_URL": f"http://127.0.0.1:{PREFERRED_PORT}",
        "MEDIA_ROOT": str(state.resolve() / "media"),
    }
    found = {name: os.environ.get(name) or value for name, value in values.items()}
    return {"SHOPSYNC_ENV": "local", "DATABASE_URL": urls.database_url, "REDIS_URL": urls.redis_url, **found}
