"""Segments: audiences, described or listed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from messaging.models.contacts import Contact
from shopsync.models import TenantModel


class Segment(TenantModel):
    """An audience under a name: contacts that answer to a description whenever it is asked, or a static list."""

    class Kind(models.TextChoices):
        DYNAMIC = "dynamic", "whoever answers to the description"
        STATIC = "static", "the contacts that were put on the list"

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=7, choices=Kind, default=Kind.DYNAMIC)
    definition = models.JSONField(default=dict, blank=True, help_text="see messaging/segments.py; of dynamic ones")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=("tenant", "name"), name="segment_has_its_own_name"),
            models.CheckConstraint(name="segment_kind_is_known", condition=Q(kind__in=("dynamic", "static"))),
        )

    def __str__(self) -> str:
        return self.name


class SegmentMember(TenantModel):
    """A contact on a static list."""

    segment = models.ForeignKey(Segment, on_delete=models.CASCADE, related_name="members")
    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=("segment", "contact"), name="segmentmember_is_on_a_list_once"),)

    def __str__(self) -> str:
        return f"{self.contact_id} in {self.segment_id}"
