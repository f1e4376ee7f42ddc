"""Messaging for operators; by noun."""

from messaging.admin import automations, contacts, forms, imports, messages, segments, suppressions

__all__ = ["automations", "contacts", "forms", "imports", "messages", "segments", "suppressions"]
