"""What messaging's API does not know is refused by its name: a parameter, or a field of a body, on every path."""

from __future__ import annotations

import re

import pytest

from messaging.urls import urlpatterns
from tests.api.test_strangers import ROUTES, ids_of

OURS = {str(one.pattern) for one in urlpatterns}
ASKED = [(path, method) for path, methods in ROUTES.items() if path in OURS for method in sorted(methods)]
WRITTEN = [(path, method) for path, method in ASKED if method not in {"get", "delete"}]
FORMS = {"api/v1/contacts/imports", "api/v1/segments/<int:pk>/upload"}  # multipart
NAME = "no_such_name"


def address(owner, path: str) -> str:
    """Name a row that is the owner's where the path has one in it."""
    if "<" not in path:
        return f"/{path}"
    rows = ids_of(owner, path)
    assert rows
    return "/" + path.replace("<int:pk>", str(rows[0]))


def test_the_walk_finds_messagings_paths():
    assert ("api/v1/campaigns/<int:pk>/preflight", "post") in WRITTEN
    assert ("api/v1/contacts/<int:pk>/consents", "get") in ASKED
    assert ("api/v1/contacts/export", "get") in ASKED
    assert len(WRITTEN) > 30


@pytest.mark.parametrize(("path", "method"), ASKED)
def test_an_unknown_parameter_is_refused_by_name(owner, world, path, method):
    answer = getattr(owner, method)(f"{address(owner, path)}?{NAME}=1", {} if method == "get" else None)
    assert answer.status_code == 400, answer.content
    assert list(answer.json()["errors"]) == [NAME]


@pytest.mark.parametrize(("path", "method"), WRITTEN)
def test_an_unknown_field_is_refused_by_name(owner, world, path, method):
    kind = "multipart" if path in FORMS else "json"
    answer = getattr(owner, method)(address(owner, path), {NAME: "1"}, format=kind)
    assert answer.status_code == 400, answer.content
    assert NAME in answer.json()["errors"]


def test_a_nested_list_takes_its_pages_and_nothing_else(owner, world):
    path = address(owner, "api/v1/contacts/<int:pk>/consents")
    assert owner.get(f"{path}?page_size=1").status_code == 200
    answer = owner.get(f"{path}?channel=sms")
    assert re.search("cursor, page_size", answer.json()["errors"]["channel"][0])


@pytest.mark.parametrize("body", ["[]", "null", '"x"', "7"])
def test_a_body_that_is_no_object_is_refused_where_nothing_is_needed(owner, world, body):
    path = address(owner, "api/v1/campaigns/<int:pk>/cancel")
    assert owner.post(path, body, content_type="application/json").status_code == 400
    assert owner.get(path.removesuffix("/cancel")).json()["status"] != "cancelled"
    assert owner.post(path).status_code == 200
