"""The API describes itself: without a warning, valid, with both ways in, and every answer fits the description."""

from __future__ import annotations

import io

import jsonschema
import pytest
import yaml
from django.core.management import call_command

from config.infra import tenancy
from messaging.models import Segment

LISTS = [
    *("orders", "products", "variants", "locations", "stock", "stock-movements", "reservations"),
    *("payments", "payments/mismatches"),
    *("campaigns", "credits/transactions", "senders", "quiet-hours", "send-queues"),
    *("contacts/imports", "contacts/forms", "segments", "suppressions", "replies"),
    *("contacts", "messages", "templates", "webhook-events", "audit-events", "alerts"),
]


@pytest.fixture(scope="module")
def schema():
    out = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    return yaml.safe_load(out.getvalue())


def test_both_ways_in_are_declared_for_every_read(schema):
    assert set(schema["components"]["securitySchemes"]) == {"ApiKey", "Token"}
    reads = [operation for path in schema["paths"].values() for verb, operation in path.items() if verb == "get"]
    assert len(reads) >= 24
    assert all(operation["security"] == [{"ApiKey": []}, {"Token": []}] for operation in reads)
    assert all("Problem" in str(operation["responses"]["default"]) for operation in reads)


def test_every_post_takes_an_idempotency_key(schema):
    posts = {path: verbs["post"] for path, verbs in schema["paths"].items() if "post" in verbs}
    assert len(posts) >= 25
    keyless = [
        path
        for path, operation in posts.items()
        if not any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", []))
    ]
    assert keyless == ["/api/v1/auth/refresh", "/api/v1/auth/token"]  # whoever signs in twice has signed in twice


def test_filters_are_described(schema):
    names = {parameter["name"] for parameter in schema["paths"]["/api/v1/webhook-events"]["get"]["parameters"]}
    assert {"status", "topic", "cursor", "page_size"} <= names


@pytest.mark.parametrize("name", LISTS)
def test_answers_fit_their_description(schema, owner, name):
    answer = owner.get(f"/api/v1/{name}").json()
    detail = owner.get(f"/api/v1/{name}/{answer['results'][0]['id']}").json()
    for path, body in ((f"/api/v1/{name}", answer), (f"/api/v1/{name}/{{id}}", detail)):
        described = schema["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, _nullable({**described, "components": schema["components"]}))


def _nullable(node):
    """Rewrite OpenAPI 3.0's `nullable` in JSON Schema's words."""
    if isinstance(node, list):
        return [_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    rewritten = {key: _nullable(value) for key, value in node.items()}
    if rewritten.pop("nullable", False) is True:
        return {"anyOf": [rewritten, {"type": "null"}]} if rewritten.get("type") else {}
    return rewritten


def test_a_sample_of_a_segment_is_declared_as_the_plain_list_that_it_is(schema, owner, world):
    declared = schema["paths"]["/api/v1/segments/{id}/sample"]["get"]
    shape = declared["responses"]["200"]["content"]["application/json"]["schema"]
    with tenancy.tenant_scope(world.tenant.pk):
        segment = Segment.objects.get(name="everybody")
    answer = owner.get(f"/api/v1/segments/{segment.pk}/sample").json()
    assert answer
    jsonschema.validate(answer, _nullable({**shape, "components": schema["components"]}))
    assert [one["name"] for one in declared["parameters"]] == ["id"]


def test_the_schema_and_the_docs_are_open_to_everybody(nobody, world):
    assert nobody.get("/api/schema").status_code == 200
    docs = nobody.get("/api/docs")
    assert docs.status_code == 200
    assert b"/static/drf_spectacular_sidecar/" in docs.content
    assert b"https://cdn" not in docs.content
