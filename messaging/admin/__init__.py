"""Messaging for operators; by noun."""

from messaging.admin import automations, campaigns, contacts, messages, policies, senders
from messaging.admin import credits as credit_pages

__all__ = ["automations", "campaigns", "contacts", "credit_pages", "messages", "policies", "senders"]
