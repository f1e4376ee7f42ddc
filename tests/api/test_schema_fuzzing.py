"""Every operation of the OpenAPI document, asked as the document allows and as it does not: never a server error, and
every answer is what the document says.

Ten examples an operation in `make test`, a hundred in `make test-slow`.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from config.infra import tenancy
from shopsync.actions.tenants import create_api_key
from tests.factories import make_tenant, stock_variant

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
HOW = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.generate],
    "database": None,
}


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def document(transactional_db):
    return schemathesis.openapi.from_wsgi("/api/schema?format=json", get_wsgi_application())


@pytest.fixture
def key(transactional_db: None) -> str:
    tenant = make_tenant(stock_authority="shopsync")
    with tenancy.tenant_scope(tenant.pk):
        stock_variant(5, locations=2)
        return create_api_key(name="fuzzing", actor="test").secret


def operations(document: Any) -> list[Any]:
    return [result.ok() for result in document.get_all_operations()]


def ask(operation: Any, key: str, *, examples: int) -> int:
    asked = 0

    @settings(max_examples=examples, **HOW)
    @given(data=st.data())
    def run(data: Any) -> None:
        nonlocal asked
        mode = data.draw(st.sampled_from(list(schemathesis.GenerationMode)))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        case.headers = {**(case.headers or {}), "Authorization": f"Api-Key {key}"}
        case.call_and_validate(checks=CHECKS)
        asked += 1

    run()
    return asked


def ask_all(document: Any, key: str, *, examples: int) -> int:
    return sum(ask(operation, key, examples=examples) for operation in operations(document))


def test_every_operation_answers_what_the_document_says(document, key):
    asked = ask_all(document, key, examples=10)
    print(f"{asked} requests")
    assert asked >= 5 * len(operations(document))


@pytest.mark.slow
def test_every_operation_a_hundred_times(document, key):
    asked = ask_all(document, key, examples=100)
    print(f"{asked} requests")
    assert asked >= 50 * len(operations(document))
