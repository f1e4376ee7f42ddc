"""Signatures of incoming webhooks (pure): raw bytes in, yes or no out, in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable


def shopify_signature(secret: str, body: bytes) -> str:
    """Sign a body as Shopify does: base64 of HMAC-SHA256 with the app's secret.

    Source: shopify.dev/docs/apps/build/webhooks/verify-deliveries
    """
    return base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()


def is_signed_by_shopify(*, body: bytes, signature: str, secrets: Iterable[str]) -> bool:
    """Does one of the secrets (current, previous) give this signature? Empty secrets never do.

    All secrets are tried and digests are compared in constant time. The signature must be strict base64 of 32 bytes.
    """
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    if not body or len(given) != hashlib.sha256().digest_size:
        return False  # Shopify never signs an empty body; its own library refuses one
    matches = [hmac.compare_digest(hmac.digest(secret.encode(), body, "sha256"), given) for secret in secrets if secret]
    return any(matches)


def body_digest(key: str, body: bytes) -> str:
    """Digest a body with our own key: recognises it again without keeping it. 64 hexadecimal characters."""
    return hmac.digest(key.encode(), body, "sha256").hex()
