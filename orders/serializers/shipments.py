"""What the API takes for our own parcels, and shows of them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from inventory.rules import COUNTRIES
from inventory.serializers.stock import MOST_UNITS
from orders.actions.shipments import Tracking, Units
from shopsync.serializers import IdField, Input, MoneyField, PatternField

MAX_LINES = 500
_HEAVIEST_GRAMS, _LONGEST_MM = 1_000_000, 10_000


class UnitsInput(Input):
    """Units of one line."""

    line_id = IdField()
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_UNITS)


class ShipmentInput(Input):
    """Which units of an order go into a parcel."""

    order_id = IdField()
    lines = UnitsInput(  # type: ignore[call-arg]  # of its list
        many=True, required=False, default=list, max_length=MAX_LINES, help_text="left out: all that is left to send"
    )

    def units(self) -> list[Units]:
        """Return the lines as the action takes them."""
        return [Units(line["line_id"], line["quantity"]) for line in self.validated_data["lines"]]


class ShippingAddressInput(Input):
    """Where a parcel comes from, or goes."""

    name = serializers.CharField(max_length=100, required=False)
    company = serializers.CharField(max_length=100, required=False)
    address1 = serializers.CharField(max_length=200)
    address2 = serializers.CharField(max_length=200, required=False, allow_blank=True)
    city = serializers.CharField(max_length=100)
    province_code = serializers.CharField(max_length=50, required=False, allow_blank=True)
    zip = serializers.CharField(max_length=30, required=False, allow_blank=True)
    country_code = serializers.ChoiceField(choices=COUNTRIES, help_text="ISO 3166-1, e.g. US")
    phone = serializers.CharField(max_length=30, required=False, allow_blank=True)


class ParcelInput(Input):
    """How heavy and how large a parcel is."""

    weight_grams = serializers.IntegerField(min_value=1, max_value=_HEAVIEST_GRAMS)
    length_mm = serializers.IntegerField(min_value=1, max_value=_LONGEST_MM, required=False)
    width_mm = serializers.IntegerField(min_value=1, max_value=_LONGEST_MM, required=False)
    height_mm = serializers.IntegerField(min_value=1, max_value=_LONGEST_MM, required=False)


class RatesInput(Input):
    """What a carrier needs to know for its rates."""

    from_address = ShippingAddressInput()
    to_address = ShippingAddressInput(required=False, help_text="left out: the order's shipping address")
    parcel = ParcelInput()


class BuyInput(Input):
    """At which rate to buy."""

    rate_id = PatternField(
        r"^[\x21-\x7e]{1,80}\Z",
        says="Give the id of one of the shipment's `rates`.",
        help_text="one of the shipment's `rates`",
    )


class TrackingInput(Input):
    """Under which number a parcel goes; left out for one with a label that was bought here."""

    tracking_number = PatternField(r"^[\x20-\x7e]{1,100}\Z", says="Give 1 to 100 characters of ASCII.", required=False)
    tracking_company = serializers.CharField(max_length=100, required=False)
    tracking_url = serializers.URLField(max_length=500, required=False, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Take the number and the company together, or neither."""
        if ("tracking_number" in attrs) != ("tracking_company" in attrs):
            missing = "tracking_company" if "tracking_number" in attrs else "tracking_number"
            raise serializers.ValidationError({missing: ["The number and the company are given together."]})
        return attrs

    def to_tracking(self) -> Tracking | None:
        """Return it as the action takes it."""
        given = self.validated_data
        if "tracking_number" not in given:
            return None
        return Tracking(given["tracking_company"], given["tracking_number"], given["tracking_url"])


class ShipmentLineRow(serializers.Serializer[Any]):
    """Units of one line in the parcel."""

    line_id = serializers.IntegerField(read_only=True, allow_null=True, help_text="null: the line was taken away")
    sku = serializers.CharField(read_only=True, source="line.sku", default="")
    title = serializers.CharField(read_only=True, source="line.title", default="")
    quantity = serializers.IntegerField(read_only=True)


class RateRow(serializers.Serializer[Any]):
    """An offer of the carrier's."""

    id = serializers.CharField(read_only=True)
    company = serializers.CharField(read_only=True)
    service = serializers.CharField(read_only=True)
    amount = serializers.CharField(read_only=True)
    currency = serializers.CharField(read_only=True)
    delivery_days = serializers.IntegerField(read_only=True, allow_null=True)


class CallRow(serializers.Serializer[Any]):
    """A call to the carrier, and where it stands."""

    kind = serializers.CharField(read_only=True, help_text="rate, buy, label, void or check")
    status = serializers.CharField(read_only=True, help_text="unknown: the answer was lost, and is being asked for")
    blocker = serializers.CharField(read_only=True, help_text="what a ready call waits for")
    outcome = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    finished_at = serializers.DateTimeField(read_only=True, allow_null=True)


class TrackingRow(serializers.Serializer[Any]):
    """One thing the carrier said of the parcel."""

    happened_at = serializers.DateTimeField(read_only=True)
    status = serializers.CharField(read_only=True)
    detail = serializers.CharField(read_only=True)
    message = serializers.CharField(read_only=True)


class ShipmentRow(serializers.Serializer[Any]):
    """A parcel of ours."""

    id = serializers.IntegerField(read_only=True)
    order_id = serializers.IntegerField(read_only=True)
    status = serializers.CharField(read_only=True, help_text="created, labelled, shipped, delivered, returned, voided")
    reference = serializers.UUIDField(read_only=True, help_text="the carrier knows it by this")
    lines = ShipmentLineRow(many=True, read_only=True)
    company = serializers.CharField(read_only=True)
    service = serializers.CharField(read_only=True)
    tracking_number = serializers.CharField(read_only=True)
    tracking_url = serializers.CharField(read_only=True)
    tracking_status = serializers.CharField(read_only=True, help_text="the carrier's newest word")
    tracking_detail = serializers.CharField(read_only=True)
    tracked_at = serializers.DateTimeField(read_only=True, allow_null=True)
    cost_amount = MoneyField(currency="cost_currency")
    cost_currency = serializers.CharField(read_only=True, help_text="empty: no label was bought")
    has_label = serializers.BooleanField(read_only=True, source="label_file", help_text="can its file be fetched?")
    void_status = serializers.CharField(
        read_only=True, help_text="requested, submitted, refunded, rejected or not_applicable; empty: not asked for"
    )
    created_at = serializers.DateTimeField(read_only=True)
    labelled_at = serializers.DateTimeField(read_only=True, allow_null=True)
    shipped_at = serializers.DateTimeField(read_only=True, allow_null=True)


class ShipmentDetail(ShipmentRow):
    """A parcel with the carrier's offers, its calls and its tracking."""

    rates = RateRow(many=True, read_only=True)
    calls = CallRow(many=True, read_only=True)
    tracking = TrackingRow(many=True, read_only=True)
