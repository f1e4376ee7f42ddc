"""What tests of e-mail send, and through which account."""

from __future__ import annotations

import secrets

from messaging.providers.base import OutgoingMessage, ProviderAccount


def account_at(base_url: str, **fields: str) -> ProviderAccount:
    own = {"account_id": "postmark:broadcast", "sender": "The Shop <hello@shop.example>"}
    return ProviderAccount(
        service="email",
        connection_id=f"test-{secrets.token_hex(8)}",
        base_url=base_url,
        api_key="top-secret",
        **own | fields,
    )


def message(number: int = 1, **fields: str) -> OutgoingMessage:
    own = {
        "reference": f"r{number}",
        "to": f"c{number}@x.example",
        "subject": f"News {number}",
        "html": f"<p>Γειά {number}</p>",
        "text": f"Γειά {number}",
        "unsubscribe_url": f"https://m.example.com/u/{number}",
    }
    return OutgoingMessage(**own | fields)
