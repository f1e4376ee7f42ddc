"""Messaging for operators; by noun."""

from messaging.admin import automations, contacts, messages, templates

__all__ = ["automations", "contacts", "messages", "templates"]
