"""Contacts and consent, automations, messages and their reports."""

from messaging.models.automations import Automation, AutomationVersion
from messaging.models.campaigns import Campaign, CampaignTally
from messaging.models.contacts import ConsentEntry, ConsentState, Contact, ContactIdentity, Suppression
from messaging.models.credits import CreditAccount, CreditDay, CreditEntry, CreditPolicy, CreditTransaction
from messaging.models.flows import Flow, SendQueue
from messaging.models.forms import SignupForm
from messaging.models.imports import ContactImport, ImportChunk, ImportRow
from messaging.models.links import Click, ShortLink
from messaging.models.messages import Attempt, DeliveryReport, Message, MessageBody
from messaging.models.policies import Frequency, QuietHours, SendingPolicy, SendLimit
from messaging.models.replies import InboundMessage
from messaging.models.segments import Segment, SegmentMember
from messaging.models.senders import Price, Sender
from messaging.models.templates import Template, TemplateVersion

__all__ = [
    "Attempt",
    "Automation",
    "AutomationVersion",
    "Campaign",
    "CampaignTally",
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
    "Flow",
    "Frequency",
    "ImportChunk",
    "ImportRow",
    "InboundMessage",
    "Message",
    "MessageBody",
    "Price",
    "QuietHours",
    "Segment",
    "SegmentMember",
    "SendLimit",
    "SendQueue",
    "Sender",
    "SendingPolicy",
    "ShortLink",
    "SignupForm",
    "Suppression",
    "Template",
    "TemplateVersion",
]
