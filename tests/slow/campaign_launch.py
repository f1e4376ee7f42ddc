"""Launches a draft in a process of its own: `python -m tests.slow.campaign_launch TENANT CAMPAIGN`."""

from __future__ import annotations

import sys

import django

django.setup()

from django.utils import timezone

from config.infra import tenancy
from messaging.actions.campaigns import schedule_campaign

if __name__ == "__main__":
    with tenancy.tenant_scope(int(sys.argv[1])):
        schedule_campaign(campaign_id=int(sys.argv[2]), at=None, actor="test", now=timezone.now())
