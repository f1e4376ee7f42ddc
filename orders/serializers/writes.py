"""What the API takes to place an order, cancel, refund and note it."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inventory.actions.reservations import DEFAULT_TTL, LONGEST_TTL, MAX_LINES
from inventory.rules import COUNTRIES, Destination
from inventory.serializers.reservations import DestinationInput
from inventory.serializers.stock import MOST_UNITS
from orders.actions.moves import CANCEL_REASONS
from orders.actions.placing import NewOrder
from orders.actions.refunds import Back
from orders.models import RefundLine
from orders.money import DiscountCode, NewLine, ShippingLine, TaxLine
from shopsync.identity import normalise_email, normalise_phone
from shopsync.money import CURRENCIES
from shopsync.serializers import IdField, Input, PatternField

LARGEST_AMOUNT = Decimal(10**12)
ISO_4217 = r"^[A-Z]{3}\Z"
MAX_PARTS = 50
_PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?")
# Shopify's words: https://shopify.dev/docs/api/admin-rest/latest/resources/order
CODE_TYPES = ("fixed_amount", "percentage", "shipping")


class PlainDecimalField(serializers.DecimalField):
    """A decimal on its way in: a number, or digits with a point; not `1e3` or `1_0`, which Python reads as well."""

    def to_internal_value(self, data: Any) -> Decimal:
        """Read the number."""
        if isinstance(data, str) and not _PLAIN.fullmatch(data):
            raise serializers.ValidationError('Write it in plain digits, e.g. "12.5".')
        return super().to_internal_value(data) + 0  # "-0" is 0


@extend_schema_field({"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,4})?$", "example": "129.00"})
class AmountField(PlainDecimalField):
    """An amount on its way in: a string with a point, zero or more, below 10^12."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=16, decimal_places=4, min_value=Decimal(0), **options)

    def to_internal_value(self, data: Any) -> Decimal:
        """Read the amount; numbers are refused, since JSON's lose digits."""
        if not isinstance(data, str):
            raise serializers.ValidationError('Send amounts as text, e.g. "129.00".')
        return super().to_internal_value(data)


class AddressInput(Input):
    """A postal address."""

    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    company = serializers.CharField(max_length=200, required=False, allow_blank=True)
    address1 = serializers.CharField(max_length=300, required=False, allow_blank=True)
    address2 = serializers.CharField(max_length=300, required=False, allow_blank=True)
    city = serializers.CharField(max_length=200, required=False, allow_blank=True)
    province_code = serializers.CharField(max_length=20, required=False, allow_blank=True)
    zip = serializers.CharField(max_length=30, required=False, allow_blank=True)
    country_code = serializers.ChoiceField(choices=COUNTRIES, required=False, help_text="ISO 3166-1, e.g. CA")
    phone = serializers.CharField(max_length=40, required=False, allow_blank=True)


class TaxLineInput(Input):
    """A tax on a whole line."""

    title = serializers.CharField(max_length=200)
    rate = PlainDecimalField(
        max_digits=8, decimal_places=6, min_value=Decimal(0), required=False, help_text="0.21 is 21 percent"
    )
    price = AmountField(help_text="what it is in money")


class ShippingLineInput(Input):
    """A way of shipping, and what it costs."""

    title = serializers.CharField(max_length=200)
    code = serializers.CharField(max_length=200, required=False)
    price = AmountField()


class DiscountCodeInput(Input):
    """A discount's code and what it took off the lines, all the codes together what the lines say."""

    code = serializers.CharField(max_length=200)
    amount = AmountField(required=False, help_text="may be left out of one: what the others leave")
    type = serializers.ChoiceField(choices=CODE_TYPES, required=False, help_text="how its amount came about")


class OrderLineInput(Input):
    """A line to buy; without a price, the variant's."""

    variant_id = IdField()
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_UNITS)
    price_amount = AmountField(required=False, allow_null=True, default=None, help_text="for one unit")
    discount_amount = AmountField(
        required=False, help_text="on the whole line; left out of all of them: its share of the discount codes"
    )
    tax_amount = AmountField(required=False, help_text="on the whole line; left out: the sum of its tax lines, or none")
    tax_lines = TaxLineInput(many=True, required=False, max_length=MAX_PARTS)  # type: ignore[call-arg]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse amounts that no column can hold."""
        price = attrs.get("price_amount")
        if price is not None and price * attrs["quantity"] >= LARGEST_AMOUNT:
            raise serializers.ValidationError({"price_amount": ["Price times quantity must stay below 10^12."]})
        return attrs


class DiscountInput(Input):
    """A discount's code, for the record: its amount is compared with nothing. `discount_codes` says more."""

    code = serializers.CharField(max_length=200)
    amount = AmountField()


class PlaceOrder(Input):
    """An order to place: its units are reserved with it, or those of a reservation are taken over."""

    lines = OrderLineInput(many=True, allow_empty=False, max_length=MAX_LINES)  # type: ignore[call-arg]
    reservation_id = IdField(required=False, allow_null=True, default=None)
    is_paid = serializers.BooleanField(default=False, help_text="paid elsewhere: the units are sold at once")
    currency = PatternField(
        ISO_4217,
        says="Give an ISO 4217 code in capital letters, e.g. EUR.",
        required=False,
        default="",
        help_text="ISO 4217; the tenant's",
    )
    presentment_currency = serializers.ChoiceField(
        choices=sorted(CURRENCIES), required=False, default="", help_text="ISO 4217; the buyer's"
    )
    presentment_rate = PlainDecimalField(
        max_digits=18, decimal_places=8, min_value=Decimal("0.00000001"), required=False, default=Decimal(1),
        help_text="units of the buyer's currency for one of the tenant's; 1 where they are the same",
    )  # fmt: skip
    shipping_amount = AmountField(required=False, help_text="left out: the sum of the shipping lines, or none")
    shipping_lines = ShippingLineInput(many=True, required=False, max_length=MAX_PARTS)  # type: ignore[call-arg]
    discount_codes = DiscountCodeInput(many=True, required=False, max_length=MAX_PARTS)  # type: ignore[call-arg]
    name = serializers.CharField(max_length=60, required=False, default="", allow_blank=True)
    email = serializers.CharField(max_length=320, required=False, default="", allow_blank=True)
    phone = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    customer_first_name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    customer_last_name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    shipping_address = AddressInput(required=False)
    billing_address = AddressInput(required=False)
    discounts = DiscountInput(many=True, required=False, max_length=MAX_PARTS)  # type: ignore[call-arg]
    tags = serializers.ListField(child=serializers.CharField(max_length=100), max_length=100, required=False)
    note = serializers.CharField(max_length=5000, required=False, default="", allow_blank=True)
    allow_split = serializers.BooleanField(default=True)
    destination = DestinationInput(required=False)
    ttl_seconds = serializers.IntegerField(
        min_value=1, max_value=int(LONGEST_TTL.total_seconds()), default=int(DEFAULT_TTL.total_seconds())
    )

    def validate_email(self, value: str) -> str:
        """Normalise the address."""
        if value and not normalise_email(value):
            raise serializers.ValidationError("Not an e-mail address.")
        return normalise_email(value) or ""

    def validate_phone(self, value: str) -> str:
        """Ask for E.164."""
        if value and not normalise_phone(value, ""):
            raise serializers.ValidationError("Send the number in E.164, e.g. +15145550123.")
        return normalise_phone(value, "") or ""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse two lists of codes."""
        if attrs.get("discounts") and attrs.get("discount_codes"):
            raise serializers.ValidationError({"discounts": ["Give discount_codes alone."]})
        return attrs

    def to_order(self) -> NewOrder:
        """Return it as the action takes it."""
        given = self.validated_data
        shipping = dict(given.get("shipping_address", {}))
        columns = {name: given[name] for name in ("name", "email", "phone", "note")}
        columns |= {name: given[name] for name in ("customer_first_name", "customer_last_name")}
        columns |= {"shipping_address": shipping, "billing_address": dict(given.get("billing_address", {}))}
        columns |= {"country": shipping.get("country_code", ""), "tags": given.get("tags", [])}
        if discounts := given.get("discounts"):
            columns["discounts"] = [{"code": entry["code"], "amount": str(entry["amount"])} for entry in discounts]
        return NewOrder(
            lines=tuple(_line(line) for line in given["lines"]),
            currency=given["currency"],
            reservation_id=given["reservation_id"],
            is_paid=given["is_paid"],
            shipping_amount=given.get("shipping_amount"),
            shipping_lines=tuple(ShippingLine(**way) for way in given.get("shipping_lines", [])),
            discount_codes=tuple(DiscountCode(**code) for code in given.get("discount_codes", [])),
            presentment_currency=given["presentment_currency"],
            presentment_rate=given["presentment_rate"],
            allow_split=given["allow_split"],
            ttl=timedelta(seconds=given["ttl_seconds"]),
            destination=self._destination(shipping),
            columns=columns,
        )

    def _destination(self, shipping: dict[str, str]) -> Destination:
        given = self.validated_data.get("destination")
        return Destination(**given) if given else Destination(country=shipping.get("country_code", ""))


def _line(given: dict[str, Any]) -> NewLine:
    taxes = tuple(TaxLine(**tax) for tax in given.get("tax_lines", []))
    return NewLine(**{**given, "tax_lines": taxes})


class Units(Input):
    """Units of one line."""

    line_id = IdField()
    quantity = serializers.IntegerField(min_value=1, max_value=MOST_UNITS)


def refuse_repeated_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refuse a line that is named twice.

    Raises: ValidationError.
    """
    if len({line["line_id"] for line in lines}) != len(lines):
        raise serializers.ValidationError("Name each line once.")
    return lines


class CancelInput(Input):
    """A cancellation: of the whole order, or of some units that were not sent."""

    reason = serializers.ChoiceField(choices=CANCEL_REASONS, default="other")
    restock = serializers.BooleanField(default=True, help_text="do the units go back to the stock?")
    lines = Units(many=True, required=False, allow_empty=False, max_length=MAX_LINES)  # type: ignore[call-arg]

    def validate_lines(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Refuse a line that is named twice."""
        return refuse_repeated_lines(value)


class RefundUnits(Units):
    """Units of one line, and where they go."""

    restock_type = serializers.ChoiceField(
        choices=[value for value in RefundLine.RestockType.values if value != "legacy_restock"],
        default=RefundLine.RestockType.NO_RESTOCK,
    )


class RefundInput(Input):
    """A refund: units, money, or both; without an amount, what the units cost."""

    lines = RefundUnits(many=True, required=False, max_length=MAX_LINES)  # type: ignore[call-arg]
    amount = AmountField(required=False, allow_null=True, default=None)
    note = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)

    def validate_lines(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Refuse a line that is named twice."""
        return refuse_repeated_lines(value)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for something to refund."""
        if not attrs.get("lines") and not attrs["amount"]:
            raise serializers.ValidationError({"lines": ["Name lines, an amount above 0, or both."]})
        return attrs

    def to_backs(self) -> list[Back]:
        """Return the units as the action takes them."""
        return [Back(**line) for line in self.validated_data.get("lines", [])]


class HoldInput(Input):
    """Why an order is to wait."""

    reason = serializers.CharField(max_length=200)


class NoteInput(Input):
    """Our own tags and note of an order, beside Shopify's."""

    staff_tags = serializers.ListField(child=serializers.CharField(max_length=100), max_length=100, required=False)
    staff_note = serializers.CharField(max_length=5000, required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for something to change."""
        if not attrs:
            raise serializers.ValidationError({"staff_note": ["Name staff_tags, staff_note, or both."]})
        return attrs
