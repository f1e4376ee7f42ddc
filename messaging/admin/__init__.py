"""Messaging for operators; by noun."""

from messaging.admin import (
    automations,
    campaigns,
    contacts,
    forms,
    imports,
    messages,
    policies,
    replies,
    segments,
    senders,
    suppressions,
    templates,
)
from messaging.admin import credits as credit_pages

__all__ = [
    "automations",
    "campaigns",
    "contacts",
    "credit_pages",
    "forms",
    "imports",
    "messages",
    "policies",
    "replies",
    "segments",
    "senders",
    "suppressions",
    "templates",
]
