"""Reads that span messaging's models."""

from messaging.queries.campaigns import Count, Tally, count_rows, find_campaign_drift, held_up, tally_of, waits_for
from messaging.queries.contacts import consent_on, find_contacts, marketing_address
from messaging.queries.credits import find_credit_drift
from messaging.queries.finding import find_link, find_unsubscriber
from messaging.queries.previews import Preview, postal_address, preview_of

__all__ = [
    "Count",
    "Preview",
    "Tally",
    "consent_on",
    "count_rows",
    "find_campaign_drift",
    "find_contacts",
    "find_credit_drift",
    "find_link",
    "find_unsubscriber",
    "held_up",
    "marketing_address",
    "postal_address",
    "preview_of",
    "tally_of",
    "waits_for",
]
