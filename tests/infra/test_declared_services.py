"""The table of services: complete, sensible, and the same as the one that operators read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.infra.services import SERVICES, InARow, ShareOf, UndeclaredServiceError, find_service
from config.infra.work import WorkRow
from messaging.providers.base import PROVIDERS

OPERATIONS = Path(__file__).resolve().parent.parent.parent / "docs/operations.md"


def test_each_service_opens_as_agreed() -> None:
    rules = {name: service.opens_after for name, service in SERVICES.items()}
    assert rules == {
        "mitto": InARow(5), "email": InARow(3), "shopify": InARow(5), "payments": InARow(5), "shipping": InARow(3),
        "storage": InARow(5),
    }  # fmt: skip
    assert {(one.open_seconds, one.timeout_seconds) for one in SERVICES.values()} == {(30.0, 10.0)}


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_each_service_says_what_happens_meanwhile_and_names_the_blocker(service) -> None:
    assert f"'{service.blocker}'" in service.meanwhile
    assert service.meanwhile.endswith(".")
    assert len(service.blocker) <= WorkRow._meta.get_field("blocker").max_length


def test_operations_shows_the_same_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", OPERATIONS.read_text(), re.MULTILINE)
    shown = {name: (rule, meanwhile.replace("`", "'")) for name, rule, meanwhile in rows if name in SERVICES}
    assert shown == {name: (str(one.opens_after), one.meanwhile) for name, one in SERVICES.items()}


def test_every_provider_is_declared() -> None:
    assert set(PROVIDERS) <= set(SERVICES)


def test_what_is_not_declared_is_refused_with_what_there_is() -> None:
    with pytest.raises(UndeclaredServiceError, match=r"'fax'.*email, mitto, payments"):
        find_service("fax")


@pytest.mark.parametrize(("share", "calls", "failures"), [(0.5, 10, 5), (0.5, 5, 3), (0.3, 10, 3), (1.0, 4, 4)])
def test_a_share_is_a_number_of_failures(share: float, calls: int, failures: int) -> None:
    assert ShareOf(share, calls).failures == failures


@pytest.mark.parametrize("wrong", [lambda: InARow(0), lambda: ShareOf(0, 10), lambda: ShareOf(1.1, 10),
                                   lambda: ShareOf(0.5, 0)])  # fmt: skip
def test_a_rule_that_can_not_work_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="a breaker opens"):
        wrong()
