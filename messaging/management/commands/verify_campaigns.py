"""`manage.py verify_campaigns`: prove that campaigns' counts are their rows', and that credits are the messages'."""

from __future__ import annotations

from messaging.models import Campaign
from messaging.queries import find_campaign_drift
from shopsync.management.proofs import ProofCommand
from shopsync.models import Tenant


class Command(ProofCommand):
    """Compare the counts of campaigns with their rows, and what is held and spent with the messages it is for."""

    help = "Prove that campaigns' counts equal their rows, and credits their messages; exits 1 and names what differs."
    counted, proved = "campaigns", "are what their messages say"

    def find(self, tenant: Tenant) -> tuple[int, list[str]]:
        """Compare a tenant's campaigns."""
        drifts = find_campaign_drift(tenant_id=tenant.pk)
        return Campaign.objects.count(), [f"{drift.subject}: {drift.found}, not {drift.expected}" for drift in drifts]
