"""Reads that span models and files: a parcel's label."""

from __future__ import annotations

from django.core.files.storage import default_storage
from django.http import FileResponse

from orders.actions.shipments import NotNow
from orders.models import Shipment


def open_label(shipment: Shipment) -> FileResponse:
    """Send a label as a download; files are private, so this is their only way out.

    Raises: NotNow while there is no file.
    """
    if not shipment.label_file:
        raise NotNow("There is no label file yet; `calls` of the shipment says how its fetching stands.")
    try:
        opened = default_storage.open(shipment.label_file)
    except FileNotFoundError as error:
        raise NotNow("The label's file is gone; an operator can fetch it again in the admin.") from error
    name = f"label-{shipment.pk}.{shipment.label_file.rpartition('.')[2]}"
    answer = FileResponse(opened, as_attachment=True, filename=name, content_type=shipment.label_type)
    answer["Cache-Control"] = "private, no-store"
    return answer
