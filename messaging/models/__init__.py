"""Contacts and consent, automations, messages and their reports."""

from messaging.models.automations import Automation, AutomationVersion
from messaging.models.contacts import ConsentEntry, ConsentState, Contact, ContactIdentity, Suppression
from messaging.models.credits import CreditAccount, CreditDay, CreditEntry, CreditPolicy, CreditTransaction
from messaging.models.messages import Attempt, DeliveryReport, Message

__all__ = [
    "Attempt",
    "Automation",
    "AutomationVersion",
    "ConsentEntry",
    "ConsentState",
    "Contact",
    "ContactIdentity",
    "CreditAccount",
    "CreditDay",
    "CreditEntry",
    "CreditPolicy",
    "CreditTransaction",
    "DeliveryReport",
    "Message",
    "Suppression",
]
