"""Models of tenants: who they are and who sees them, the inbox, and what needs a person (alerts)."""

from shopsync.models.alerts import Alert
from shopsync.models.digests import Digest, DigestPlan
from shopsync.models.inbox import IdempotentRequest, RefusedDelivery, WebhookEvent
from shopsync.models.schedules import ScheduleWatch
from shopsync.models.tenants import (
    ApiKey,
    Connection,
    Membership,
    Tenant,
    TenantModel,
    User,
    hash_secret,
    new_token,
)

__all__ = [
    "Alert",
    "ApiKey",
    "Connection",
    "Digest",
    "DigestPlan",
    "IdempotentRequest",
    "Membership",
    "RefusedDelivery",
    "ScheduleWatch",
    "Tenant",
    "TenantModel",
    "User",
    "WebhookEvent",
    "hash_secret",
    "new_token",
]
