"""What owners say of their locations: it decides which of them an order is served from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.actions import Value, record
from config.infra.transactions import retrying_atomic
from inventory.models import Location
from inventory.rules import find_faults

CHANGEABLE = ("own_name", "country", "latitude", "longitude", "priority", "is_active")


class LocationError(Exception):
    """A location can't be as it was asked to be; `errors` says of each field what is wrong with it."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = dict(errors)


@retrying_atomic
def change_location(*, location_id: int, values: Mapping[str, Any], actor: str) -> Location:
    """Change some of a location's CHANGEABLE fields; what is held or committed there stays as it is.

    Raises: Location.DoesNotExist, LocationError when what comes out is no place, KeyError for another field.
    """
    location = Location.objects.select_for_update().get(pk=location_id)
    if unknown := sorted(set(values) - set(CHANGEABLE)):
        raise KeyError(unknown[0])
    changed = sorted(name for name, value in values.items() if getattr(location, name) != value)
    before = {name: getattr(location, name) for name in changed}
    for name in changed:
        setattr(location, name, values[name])
    faults = find_faults(country=location.country, latitude=location.latitude, longitude=location.longitude)
    if faults:
        raise LocationError(faults)
    if changed:
        location.save(update_fields=changed)
        data: dict[str, Value] = {"fields": changed}
        for name in sorted(set(changed) - {"own_name"}):  # free text stays out of the trail
            data |= {f"{name}_before": _plain(before[name]), f"{name}_after": _plain(values[name])}
        record(name="location.updated", subject=f"location:{location.pk}", actor=actor, data=data)
    return location


def _plain(value: Any) -> Value:
    return str(value) if isinstance(value, float) else value
