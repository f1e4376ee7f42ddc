"""Segments (pure): an audience described in JSON becomes one SQL query over contacts.

    {"all": [
        {"field": "contact.country", "op": "is", "value": "GR"},
        {"any": [{"field": "contact.tags", "op": "has", "value": "vip"},
                 {"field": "orders.total", "op": "at_least", "value": "100.00", "within_days": 90}]},
        {"not": {"field": "engagement.clicked", "op": "at_least", "value": 1, "channel": "sms", "within_days": 30}},
        {"field": "consent.sms", "op": "is", "value": "subscribed"},
        {"field": "list", "op": "in", "value": 12}]}

`all` and `any` take conditions, `not` takes one. Facts of orders and of engagement are counted, summed or dated over
the last `within_days`, or over all time. An order is its buyer's by customer id, else by e-mail, else by phone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from shopsync.storing import is_storable

MAX_DEPTH = 8
MAX_CONDITIONS = 100
MAX_VALUES = 1000
MAX_DAYS = 3660
MAX_TEXT = 500
LARGEST = Decimal(10) ** 18
MOST_DECIMALS = 20  # of a number: 0.1 + 0.2 as Python writes it has 17


class SegmentError(ValueError):
    """A description that is no segment; the message begins with the place, e.g. all[1].value."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A query for ids of contacts of one tenant: `sql` has %(name)s for each of `parameters`, and %(tenant)s.

    `lists` are the ids of the static lists that it looks at.
    """

    sql: str
    parameters: dict[str, Any]
    lists: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Compiler:
    parameters: dict[str, Any] = field(default_factory=dict)
    facts: dict[tuple[Any, ...], str] = field(default_factory=dict)  # CTEs by what they gather
    queries: list[str] = field(default_factory=list)
    conditions: int = 0
    lists: set[int] = field(default_factory=set)

    def bind(self, value: Any) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"%({name})s"


def compile_segment(definition: Any) -> Compiled:
    """Compile a description into one SELECT of contact ids.

    Raises: SegmentError.
    """
    compiler = _Compiler()
    where = _node(_Place(compiler, definition))
    ctes = f"WITH {', '.join(compiler.queries)} " if compiler.queries else ""
    joins = "".join(f" LEFT JOIN {name} ON {name}.contact_id = c.id" for name in compiler.facts.values())
    sql = f"{ctes}SELECT c.id FROM messaging_contact c{joins} WHERE c.tenant_id = %(tenant)s AND {where}"  # noqa: S608
    return Compiled(sql, compiler.parameters, frozenset(compiler.lists))


@dataclass(frozen=True, slots=True)
class _Place:
    """A part of the description, and where it stands; it reads its own values."""

    compiler: _Compiler
    node: Any
    name: str = ""
    depth: int = 0

    def at(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name

    def below(self, node: Any, name: str) -> _Place:
        return _Place(self.compiler, node, self.at(name), self.depth + 1)

    def bind(self, value: Any) -> str:
        return self.compiler.bind(value)

    def only(self, *names: str) -> None:
        if strange := sorted(map(str, set(self.node) - set(names))):
            raise SegmentError(f"{self.at(strange[0])}: not known here; there may be {', '.join(sorted(names))}")

    def word(self, name: str, words: Sequence[str]) -> str:
        value = self.node.get(name)
        if not isinstance(value, str) or value not in words:
            raise SegmentError(f"{self.at(name)}: one of {', '.join(words)} is needed")
        return value

    def clean(self, value: object) -> str:
        if not isinstance(value, str) or not _is_text(value):
            raise SegmentError(f"{self.at('value')}: a text of at most {MAX_TEXT} characters is needed")
        return value

    def text(self) -> str:
        return self.clean(self.node.get("value"))

    def texts(self) -> list[str]:
        values = self.node.get("value")
        if not isinstance(values, list) or not 0 < len(values) <= MAX_VALUES:
            raise SegmentError(f"{self.at('value')}: a list of 1 to {MAX_VALUES} texts is needed")
        return [self.clean(value) for value in values]

    def number(self) -> Decimal:
        value = self.node.get("value")
        is_number = isinstance(value, str | int | float) and not isinstance(value, bool)
        try:
            number = Decimal(str(value)) if is_number else Decimal("NaN")
        except InvalidOperation:
            number = Decimal("NaN")
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or abs(exponent) > MOST_DECIMALS or abs(number) >= LARGEST:  # NaN has a letter
            raise SegmentError(f"{self.at('value')}: a number is needed")
        return number

    def days(self, name: str) -> int:
        value = self.node.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_DAYS:
            raise SegmentError(f"{self.at(name)}: a number of days from 1 to {MAX_DAYS} is needed")
        return value

    def instant(self) -> str:
        value = self.node.get("value")
        try:
            moment = datetime.fromisoformat(value if isinstance(value, str) else "")
            # In UTC, since PostgreSQL reads fewer offsets than Python does.
            return (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
        except (ValueError, OverflowError):  # the latter for what falls out of the calendar on its way to UTC
            raise SegmentError(f"{self.at('value')}: a date or time is needed, e.g. 2026-11-28T08:00:00Z") from None

    def since(self, days: int) -> str:
        return f"now() - make_interval(days => {self.bind(days)})"


def _is_text(value: str) -> bool:
    """Can the database be asked for it? It takes neither NUL nor half of a surrogate pair."""
    return len(value) <= MAX_TEXT and not any(one == "\0" or "\ud800" <= one <= "\udfff" for one in value)


def _node(place: _Place) -> str:
    node = place.node
    if not isinstance(node, Mapping):
        raise SegmentError(f'{place.name or "the segment"}: an object is needed, e.g. {{"all": []}}')
    if place.depth > MAX_DEPTH:
        raise SegmentError(f"{place.name}: conditions are nested more than {MAX_DEPTH} deep")
    for word, joined, empty in (("all", " AND ", "TRUE"), ("any", " OR ", "FALSE")):
        if word in node:
            place.only(word)
            if not isinstance(node[word], list):
                raise SegmentError(f"{place.at(word)}: a list of conditions is needed")
            parts = [_node(place.below(part, f"{word}[{number}]")) for number, part in enumerate(node[word])]
            return f"({joined.join(parts) or empty})"
    if "not" in node:
        place.only("not")
        return f"NOT {_node(place.below(node['not'], 'not'))}"
    return f"coalesce({_condition(place)}, FALSE)"


def _condition(place: _Place) -> str:
    place.compiler.conditions += 1
    if place.compiler.conditions > MAX_CONDITIONS:
        raise SegmentError(f"{place.name}: more than {MAX_CONDITIONS} conditions")
    name = place.node.get("field")
    kind, _, rest = name.partition(".") if isinstance(name, str) else ("", "", "")
    if kind not in _KINDS:
        raise SegmentError(f"{place.at('field')}: one of all, any, not, or a field is needed; fields are {_names()}")
    sql = _KINDS[kind](place, rest)
    if not is_storable(place.node.get("value")):  # nothing read it, but it is kept with the rest
        raise SegmentError(f"{place.at('value')}: it is not asked for, and can't be kept; leave it out")
    return sql


# Fields of the contact

_TEXTS = ("first_name", "last_name", "email", "phone", "country", "region", "locale", "timezone", "lifecycle")
_TIMES = ("created_at", "updated_at")


def _contact(place: _Place, name: str) -> str:
    if name == "tags":
        place.only("field", "op", "value")
        op = place.word("op", ("has", "has_not"))
        has = f"c.tags @> ARRAY[{place.bind(place.text())}]::varchar[]"
        return has if op == "has" else f"NOT {has}"
    if name.startswith("attributes."):
        key = name.removeprefix("attributes.")
        if not key or not _is_text(key):
            raise SegmentError(f"{place.at('field')}: the name of an attribute is needed, e.g. contact.attributes.size")
        return _attribute(place, place.bind(key))
    if name in _TIMES:
        place.only("field", "op", "value")
        return _moment(place, f"c.{name}")
    if name not in _TEXTS:
        raise SegmentError(f"{place.at('field')}: a contact has no {name!r}; fields are {_names()}")
    return _text_condition(place, f"c.{name}")


def _text_condition(place: _Place, column: str) -> str:
    place.only("field", "op", "value")
    op = place.word("op", ("is", "is_not", "in", "not_in", "starts_with", "contains", "is_known", "is_unknown"))
    if op in {"is_known", "is_unknown"}:
        return f"{column} {'<>' if op == 'is_known' else '='} ''"
    if op in {"in", "not_in"}:
        found = f"{column} = ANY({place.bind(place.texts())}::text[])"
        return found if op == "in" else f"NOT {found}"
    value = place.bind(place.text())
    return {
        "is": f"{column} = {value}",
        "is_not": f"{column} <> {value}",
        "starts_with": f"starts_with(lower({column}), lower({value}))",
        "contains": f"strpos(lower({column}), lower({value})) > 0",
    }[op]


def _attribute(place: _Place, key: str) -> str:
    place.only("field", "op", "value")
    op = place.word("op", ("is", "is_not", "at_least", "at_most", "is_known", "is_unknown"))
    if op in {"is_known", "is_unknown"}:
        known = f"jsonb_exists(c.attributes, {key})"
        return known if op == "is_known" else f"NOT {known}"
    if op in {"at_least", "at_most"}:
        number = place.bind(place.number())
        value = f"CASE WHEN jsonb_typeof(c.attributes -> {key}) = 'number' THEN (c.attributes ->> {key})::numeric END"
        return f"{value} {'>=' if op == 'at_least' else '<='} {number}"
    given: Any = place.node.get("value")
    if isinstance(given, bool):
        text = "true" if given else "false"  # as jsonb writes it
    elif isinstance(given, int | float):
        text = format(Decimal(str(given + 0)), "f")  # no exponent, and no -0.0
    elif isinstance(given, str):
        text = given
    else:
        raise SegmentError(f"{place.at('value')}: a text, a number, true or false is needed")
    found = f"c.attributes ->> {key} = {place.bind(place.clean(text))}"
    return found if op == "is" else f"coalesce(NOT {found}, TRUE)"


# Consent, lists

_CHANNELS = ("sms", "email", "whatsapp")
_STATES = ("subscribed", "unsubscribed", "pending", "not_subscribed", "unknown")


def _consent(place: _Place, channel: str) -> str:
    place.only("field", "op", "value")
    if channel not in _CHANNELS:
        raise SegmentError(f"{place.at('field')}: consent is kept for {', '.join(_CHANNELS)}")
    op = place.word("op", ("is", "is_not"))
    state = place.word("value", _STATES)
    rows = f"SELECT 1 FROM messaging_consentstate s WHERE s.contact_id = c.id AND s.channel = {place.bind(channel)}"  # noqa: S608
    holds = " AND s.lapsed_at IS NULL" if state == "subscribed" else ""
    exists = f"EXISTS ({rows} AND s.state = {place.bind(state)}{holds})"
    found = f"NOT EXISTS ({rows})" if state == "unknown" else exists
    return found if op == "is" else f"NOT {found}"


def _list(place: _Place, rest: str) -> str:
    place.only("field", "op", "value")
    op = place.word("op", ("in", "not_in"))
    value = place.node.get("value")
    if rest or isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise SegmentError(f"{place.at('value')}: the id of a static list is needed")
    place.compiler.lists.add(value)
    of_list = f"m.contact_id = c.id AND m.tenant_id = %(tenant)s AND m.segment_id = {place.bind(value)}"
    found = f"EXISTS (SELECT 1 FROM messaging_segmentmember m WHERE {of_list})"  # noqa: S608
    return found if op == "in" else f"NOT {found}"


# Facts that are gathered from many rows, once for all contacts

_ORDER_VALUES = {
    "count": ("count(*)", "number"),
    "total": ("sum(o.total_amount)", "number"),
    "average": ("avg(o.total_amount)", "number"),
    "first_at": ("min(coalesce(o.placed_at, o.created_at))", "moment"),
    "last_at": ("max(coalesce(o.placed_at, o.created_at))", "moment"),
}
_OWNED = """
SELECT coalesce(i1.contact_id, i2.contact_id, i3.contact_id) AS contact_id, {value} AS value FROM orders_order o
LEFT JOIN messaging_contactidentity i1 ON i1.tenant_id = o.tenant_id AND i1.kind = 'shopify_customer'
      AND i1.value = o.customer_shopify_id::text
LEFT JOIN messaging_contactidentity i2 ON i2.tenant_id = o.tenant_id AND i2.kind = 'email' AND i2.value = o.email
LEFT JOIN messaging_contactidentity i3 ON i3.tenant_id = o.tenant_id AND i3.kind = 'phone' AND i3.value = o.phone
WHERE o.tenant_id = %(tenant)s AND o.cancelled_at IS NULL AND NOT o.is_test {within} GROUP BY 1"""


def _orders(place: _Place, name: str) -> str:
    if name not in _ORDER_VALUES:
        raise SegmentError(f"{place.at('field')}: of orders there are {', '.join(_ORDER_VALUES)}")
    place.only("field", "op", "value", "within_days")
    days = place.days("within_days") if "within_days" in place.node else None
    value, kind = _ORDER_VALUES[name]

    def gather() -> str:
        within = f"AND coalesce(o.placed_at, o.created_at) >= {place.since(days)}" if days else ""
        return _OWNED.format(value=value, within=within)

    column = _fact(place, ("orders", name, days), gather)
    return _number_condition(place, column) if kind == "number" else _moment(place, column, may_be_unknown=True)


_ENGAGEMENTS = {
    "sent": ("messaging_message", "t.sent_at", "t.sent_at IS NOT NULL"),
    "delivered": ("messaging_message", "t.delivered_at", "t.delivered_at IS NOT NULL"),
    "clicked": ("messaging_click", "t.clicked_at", "NOT t.is_bot"),
}


def _engagement(place: _Place, name: str) -> str:
    word, _, last = name.partition(".")
    if word not in _ENGAGEMENTS or last not in {"", "last_at"}:
        raise SegmentError(f"{place.at('field')}: engagement is {', '.join(_ENGAGEMENTS)}, each also with .last_at")
    place.only("field", "op", "value", "within_days", "channel")
    days = place.days("within_days") if "within_days" in place.node else None
    channel = place.word("channel", _CHANNELS) if "channel" in place.node else None
    table, moment, condition = _ENGAGEMENTS[word]

    def gather() -> str:
        within = f" AND {moment} >= {place.since(days)}" if days else ""
        on = f" AND t.channel = {place.bind(channel)}" if channel else ""
        value = f"max({moment})" if last else "count(*)"
        where = f"t.tenant_id = %(tenant)s AND {condition}{within}{on}"
        return f"SELECT t.contact_id, {value} AS value FROM {table} t WHERE {where} GROUP BY 1"  # noqa: S608

    column = _fact(place, ("engagement", name, days, channel), gather)
    if last:
        return _moment(place, column, may_be_unknown=True)
    return _number_condition(place, column)


def _fact(place: _Place, key: tuple[Any, ...], gather: Callable[[], str]) -> str:
    """Gather facts once, however many conditions ask for them; return what one contact has, null for none."""
    compiler = place.compiler
    if key not in compiler.facts:
        compiler.facts[key] = f"f{len(compiler.facts)}"
        compiler.queries.append(f"{compiler.facts[key]} AS MATERIALIZED ({gather()})")
    return f"{compiler.facts[key]}.value"


def _number_condition(place: _Place, column: str) -> str:
    op = place.word("op", ("at_least", "at_most", "is", "is_not"))
    sign = {"at_least": ">=", "at_most": "<=", "is": "=", "is_not": "<>"}[op]
    return f"coalesce({column}, 0) {sign} {place.bind(place.number())}"


def _moment(place: _Place, column: str, *, may_be_unknown: bool = False) -> str:
    ops = (
        "within_days",
        "not_within_days",
        "before",
        "after",
        *(("is_known", "is_unknown") if may_be_unknown else ()),
    )
    op = place.word("op", ops)
    if op in {"is_known", "is_unknown"}:
        return f"{column} IS {'NOT ' if op == 'is_known' else ''}NULL"
    if op in {"within_days", "not_within_days"}:
        days = place.days("value")
        found = f"{column} >= {place.since(days)}"
        return found if op == "within_days" else f"coalesce(NOT {found}, TRUE)"
    return f"{column} {'<' if op == 'before' else '>='} {place.bind(place.instant())}::timestamptz"


_KINDS: dict[str, Callable[[_Place, str], str]] = {
    "contact": _contact,
    "consent": _consent,
    "list": _list,
    "orders": _orders,
    "engagement": _engagement,
}


def _names() -> str:
    texts = ", ".join(f"contact.{name}" for name in (*_TEXTS, *_TIMES, "tags", "attributes.NAME"))
    orders = ", ".join(f"orders.{name}" for name in _ORDER_VALUES)
    engagement = ", ".join(f"engagement.{name}" for name in _ENGAGEMENTS)
    consent = ", ".join(f"consent.{channel}" for channel in _CHANNELS)
    return f"{texts}, {consent}, {orders}, {engagement}, list"
