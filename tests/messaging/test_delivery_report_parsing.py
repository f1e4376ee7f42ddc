"""Delivery reports are read in every shape that Mitto is known to send, and refused in words otherwise."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.webhooks import DeliveryReport, UnreadableReport, parse_mitto_reports

ULID = "01JZ8Q3M5T7V9X2B4D6F8H0K1N"


def read(document: Any) -> list[DeliveryReport]:
    return parse_mitto_reports(json.dumps(document).encode())


def test_one_object_is_one_report() -> None:
    body = {
        "messageId": ULID,
        "deliveryStatus": "Delivered",
        "updatedAt": "2026-11-02T09:15:41.1234567Z",
        "reference": "m1",
    }
    moment = datetime(2026, 11, 2, 9, 15, 41, 123456, tzinfo=UTC)
    assert read(body) == [DeliveryReport(ULID, "delivered", "Delivered", "m1", moment)]


def test_an_array_keeps_its_order() -> None:
    reports = read([{"messageId": f"m{n}", "deliveryStatus": word} for n, word in enumerate(["Delivered", "Sent"])])
    assert [(report.provider_id, report.status) for report in reports] == [("m0", "delivered"), ("m1", "sent")]
    assert read([]) == []


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Pending", "pending"),
        ("sent", "sent"),
        ("DELIVERED", "delivered"),
        (" Failure ", "failed"),
        ("Expired", "unrecognised"),
        ("Παραδόθηκε", "unrecognised"),
    ],
)
def test_status_words(word: str, status: str) -> None:
    [report] = read({"messageId": ULID, "deliveryStatus": word})
    assert (report.status, report.raw_status) == (status, word.strip())


def test_the_reason_of_a_failure_is_kept() -> None:
    base = {"messageId": ULID, "deliveryStatus": "Failure"}
    assert read(base | {"error": "Absent", "description": "other"})[0].error == "Absent"
    assert read(base | {"error": None, "description": "Absent"})[0].error == "Absent"
    assert read(base | {"error": {"code": 5}})[0].error is None
    assert len(read(base | {"error": "x" * 10_000})[0].error or "") == 500


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-11-02T11:15:41+02:00", datetime(2026, 11, 2, 9, 15, 41, tzinfo=UTC)),
        ("2026-11-02T09:15:41", datetime(2026, 11, 2, 9, 15, 41, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        (1730538941, None),
        (None, None),
    ],
)
def test_a_date_is_utc_or_none(value: Any, moment: datetime | None) -> None:
    assert read({"messageId": ULID, "deliveryStatus": "Sent", "updatedAt": value})[0].updated_at == moment


def test_characters_that_cannot_be_stored_are_replaced_in_texts() -> None:
    [report] = parse_mitto_reports(
        b'{"messageId": "m", "deliveryStatus": "Fai\\u0000l", "error": "\\ud83d!", "reference": "\\u0000"}'
    )
    assert (report.raw_status, report.error, report.reference) == ("Fai\ufffdl", "\ufffd!", "\ufffd")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "is not JSON"),
        (b"<xml/>", "is not JSON"),
        (b"\xff\xfe\xfd", "is not JSON"),
        (b"NaN", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"9" * 10_000, "is not JSON"),
        (b"null", "is not a JSON object"),
        (b'"Delivered"', "is not a JSON object"),
        (b'[{"messageId": "m", "deliveryStatus": "Sent"}, 7]', "report 2 of 2 is not a JSON object"),
        (b'{"deliveryStatus": "Sent"}', "has no messageId"),
        (b'{"messageId": 5, "deliveryStatus": "Sent"}', "has no messageId"),
        (b'{"messageId": "  ", "deliveryStatus": "Sent"}', "has no messageId"),
        (b'{"messageId": "a\\u0000b", "deliveryStatus": "Sent"}', "characters that no id has"),
        (b'{"messageId": "a\\ud800b", "deliveryStatus": "Sent"}', "characters that no id has"),
        (b'{"messageId": "m"}', "has no deliveryStatus"),
        (b'{"messageId": "m", "deliveryStatus": 3}', "has no deliveryStatus"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(body: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableReport, match=sentence):
        parse_mitto_reports(body)


texts = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
entries = st.fixed_dictionaries(
    {},
    optional={
        "messageId": texts | values,
        "deliveryStatus": st.sampled_from(["Sent", "Failure"]) | values,
        "updatedAt": st.datetimes().map(str) | values,
        "reference": values,
        "error": values,
        "description": values,
    },
)


def assert_read_or_refused(body: bytes) -> None:
    try:
        reports = parse_mitto_reports(body)
    except UnreadableReport:
        return
    for report in reports:
        for value in (report.provider_id, report.raw_status, report.reference or "", report.error or ""):
            value.encode()
            assert "\x00" not in value
        assert report.updated_at is None or report.updated_at.tzinfo is UTC


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    assert_read_or_refused(body)


@given(entries | st.lists(entries, max_size=4) | values)
def test_any_json_is_read_or_refused(document: Any) -> None:
    assert_read_or_refused(json.dumps(document).encode())
