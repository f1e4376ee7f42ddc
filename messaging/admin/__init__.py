"""Messaging for operators; by noun."""

from messaging.admin import automations, contacts, messages

__all__ = ["automations", "contacts", "messages"]
