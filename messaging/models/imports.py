"""Imports of contacts: the file in pieces, its rows once read, and how far the work has come."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from config.infra.work import Queue, Status, WorkRow
from messaging.models.segments import Segment
from shopsync.models import TenantModel


class ContactImport(TenantModel, WorkRow):
    """A CSV file of contacts on its way in; one at a time per tenant (the lane), in batches that each commit.

    `phase` says how far it is: its rows are read into ImportRow, then merged into contacts. The counts of a batch are
    written in its own transaction, so that a process that is killed loses nothing and counts nothing twice.
    """

    queue = Queue(
        name="imports",
        drain_task="messaging.tasks.drain_imports",
        celery_queue="maintenance",
        on_expiry="repeat",
        batch_size=1,
    )

    class Phase(models.TextChoices):
        READING = "reading", "reading the file"
        MERGING = "merging", "merging rows into contacts"
        FINISHED = "finished"

    class Duplicates(models.TextChoices):
        MERGE = "merge", "take the file's values into the contact"
        SKIP = "skip", "leave the contact as it is"

    file_name = models.CharField(max_length=200, blank=True, default="")
    file_bytes = models.BigIntegerField(default=0)
    encoding = models.CharField(max_length=20)
    delimiter = models.CharField(max_length=1)
    header = ArrayField(models.TextField())
    columns = ArrayField(models.TextField(), help_text="what each column is taken as; empty: left out")
    duplicates = models.CharField(max_length=5, choices=Duplicates, default=Duplicates.MERGE)
    country = models.CharField(max_length=2, blank=True, default="", help_text="for phones of rows without a country")
    segment = models.ForeignKey(
        Segment, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", help_text="the list that it fills"
    )
    consent_channels = ArrayField(models.CharField(max_length=10), default=list, blank=True)
    consent_source = models.CharField(max_length=200, blank=True, default="", help_text="where consent was given")
    consent_text = models.TextField(blank=True, default="", help_text="what the people agreed to, word by word")
    consent_at = models.DateTimeField(null=True, blank=True, help_text="when; a column of the file may say it per row")
    opt_in_level = models.CharField(max_length=30, blank=True, default="")
    actor = models.CharField(max_length=120)
    phase = models.CharField(max_length=8, choices=Phase, default=Phase.READING)
    read_count = models.PositiveIntegerField(default=0)
    done_count = models.PositiveIntegerField(default=0)
    created_count = models.PositiveIntegerField(default=0)
    merged_count = models.PositiveIntegerField(default=0)
    skipped_count = models.PositiveIntegerField(default=0)
    error_count = models.PositiveIntegerField(default=0, help_text="rows that were not taken")
    note_count = models.PositiveIntegerField(default=0, help_text="rows that were taken, but for something")

    class Meta(TenantModel.Meta, WorkRow.Meta):
        ordering = ("-id",)
        verbose_name = "import"
        constraints = (
            *WorkRow.Meta.constraints,
            models.CheckConstraint(
                name="contactimport_phase_is_known", condition=Q(phase__in=("reading", "merging", "finished"))
            ),
            models.CheckConstraint(
                name="contactimport_duplicates_is_known", condition=Q(duplicates__in=("merge", "skip"))
            ),
            models.CheckConstraint(
                name="contactimport_of_consent_has_proof",
                condition=Q(consent_channels=[]) | (~Q(consent_source="") & ~Q(consent_text="")),
            ),
        )
        indexes = (*WorkRow.Meta.indexes, models.Index(fields=("tenant_id", "-id"), name="contactimport_newest"))

    def __str__(self) -> str:
        return self.file_name or f"import {self.pk}"

    @property
    def state(self) -> str:
        """Say in one word where it stands: waiting, reading, merging, finished, or what went wrong."""
        if self.status in {Status.READY, Status.LEASED}:
            return self.phase if self.read_count else "waiting"
        return "finished" if self.status == Status.DONE else str(self.status)


class ImportChunk(TenantModel):
    """A piece of an import's file, kept until its rows are read."""

    source = models.ForeignKey(ContactImport, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    body = models.BinaryField()

    class Meta(TenantModel.Meta):
        ordering = ("source_id", "number")
        constraints = (models.UniqueConstraint(fields=("source", "number"), name="importchunk_has_its_place"),)


class ImportRow(TenantModel):
    """A row of an import's file as it was read: gone once it is merged, unless there is something to say of it."""

    source = models.ForeignKey(ContactImport, on_delete=models.CASCADE, related_name="rows")
    number = models.PositiveIntegerField(help_text="the place among the rows, from 1")
    line = models.PositiveIntegerField(help_text="of the file, from 1")
    problem = models.TextField(blank=True, default="")
    is_refused = models.BooleanField(default=False)
    cells = ArrayField(models.TextField(), null=True, blank=True, help_text="as they came, where there is a problem")
    shopify_id = models.CharField(max_length=20, blank=True, default="")
    external_id = models.CharField(max_length=320, blank=True, default="")
    email = models.CharField(max_length=320, blank=True, default="")
    phone = models.CharField(max_length=20, blank=True, default="")
    whatsapp = models.CharField(max_length=20, blank=True, default="")
    first_name = models.CharField(max_length=200, blank=True, default="")
    last_name = models.CharField(max_length=200, blank=True, default="")
    country = models.CharField(max_length=2, blank=True, default="")
    region = models.CharField(max_length=10, blank=True, default="")
    locale = models.CharField(max_length=20, blank=True, default="")
    timezone = models.CharField(max_length=64, blank=True, default="")
    attributes = models.JSONField(default=dict)
    tags = ArrayField(models.TextField(), default=list)
    consents = models.JSONField(default=dict, help_text="channel: state")
    consent_at = models.DateTimeField(null=True, blank=True)
    contact_id = models.BigIntegerField(null=True, blank=True, help_text="whose it is, while its batch is merged")
    action = models.CharField(max_length=6, blank=True, default="", help_text="create, merge or skip, once it is known")

    class Meta(TenantModel.Meta):
        ordering = ("source_id", "number")
        constraints = (models.UniqueConstraint(fields=("source", "number"), name="importrow_has_its_place"),)
        indexes = (models.Index(fields=("source", "number"), name="importrow_problem", condition=~Q(problem="")),)
