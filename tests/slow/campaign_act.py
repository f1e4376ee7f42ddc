"""Moves a campaign in a process of its own: `python -m tests.slow.campaign_act TENANT CAMPAIGN pause|resume|cancel`."""

from __future__ import annotations

import sys

import django

django.setup()

from django.utils import timezone

from config.infra import tenancy
from messaging.actions.campaigns import (
    CampaignError,
    cancel_campaign,
    pause_campaign,
    resume_campaign,
    schedule_campaign,
)

MOVES = {
    "launch": lambda pk: schedule_campaign(campaign_id=pk, at=None, actor="test", now=timezone.now()),
    "pause": lambda pk: pause_campaign(campaign_id=pk, actor="test"),
    "resume": lambda pk: resume_campaign(campaign_id=pk, actor="test", now=timezone.now()),
    "cancel": lambda pk: cancel_campaign(campaign_id=pk, actor="test"),
}

if __name__ == "__main__":
    with tenancy.tenant_scope(int(sys.argv[1])):
        try:
            MOVES[sys.argv[3]](int(sys.argv[2]))
        except CampaignError as refusal:
            sys.stdout.write(f"{refusal}\n")
