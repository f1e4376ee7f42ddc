"""Contacts and consent, automations, messages and their reports."""

from messaging.models.automations import Automation, AutomationVersion
from messaging.models.contacts import ConsentEntry, ConsentState, Contact, ContactIdentity, Suppression
from messaging.models.credits import CreditAccount, CreditDay, CreditEntry, CreditPolicy, CreditTransaction
from messaging.models.forms import SignupForm
from messaging.models.imports import ContactImport, ImportChunk, ImportRow
from messaging.models.links import Click, ShortLink
from messaging.models.messages import Attempt, DeliveryReport, Message
from messaging.models.segments import Segment, SegmentMember
from messaging.models.templates import Template, TemplateVersion

__all__ = [
    "Attempt",
    "Automation",
    "AutomationVersion",
    "Click",
    "ConsentEntry",
    "ConsentState",
    "Contact",
    "ContactIdentity",
    "ContactImport",
    "CreditAccount",
    "CreditDay",
    "CreditEntry",
    "CreditPolicy",
    "CreditTransaction",
    "DeliveryReport",
    "ImportChunk",
    "ImportRow",
    "Message",
    "Segment",
    "SegmentMember",
    "ShortLink",
    "SignupForm",
    "Suppression",
    "Template",
    "TemplateVersion",
]
