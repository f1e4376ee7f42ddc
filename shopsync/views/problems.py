"""One shape for every refused API request: RFC 9457 problem details, with a sentence that says what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DataError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from rest_framework.exceptions import APIException, MethodNotAllowed, NotAuthenticated, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler
from rest_framework_simplejwt.exceptions import InvalidToken

from shopsync.actions.refusals import InvalidInput
from shopsync.views.intake import answer

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
_PROBLEMS = {
    400: ("invalid-request", "Invalid request"),
    401: ("not-authenticated", "Not authenticated"),
    403: ("not-allowed", "Not allowed"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "Method not allowed"),
    406: ("not-acceptable", "Not acceptable"),
    409: ("conflict", "Conflict"),
    415: ("unsupported-media-type", "Unsupported media type"),
    429: ("too-many-requests", "Too many requests"),
    500: ("server-error", "Server error"),
    503: ("unavailable", "Unavailable"),
}
_SIGN_IN = "Send `Authorization: Api-Key <key>` or `Authorization: Bearer <token>`; /api/docs says how to get one."
_DETAILS = {
    404: "Nothing is here that you may see; check the id, and the paths at /api/docs.",
    406: "Answers are JSON only; ask for `Accept: application/json`.",
    415: "Send JSON, with `Content-Type: application/json`.",
    500: "Something failed on our side and was reported; try again, and tell us if it stays.",
    503: "The database can't be reached at the moment; nothing was changed, try again in a few seconds.",
}


class Unavailable(APIException):
    """PostgreSQL can't be reached: the one failure of ours that a client can wait out."""

    status_code = 503


@dataclass(frozen=True, slots=True)
class Kind:
    """What an exception of the domain is called on the API; `members` adds to its document."""

    status: int
    slug: str
    title: str
    members: Callable[[Any], dict[str, Any]]


_KINDS: dict[type[Exception], Kind] = {}


def named(error: Any) -> dict[str, Any]:
    """Tell a refusal beside the field that it names, if it names one."""
    field = getattr(error, "field", "")
    return {"errors": {field: [str(error)]}} if field else {}


def declare_problem(
    error: type[Exception],
    *,
    status: int,
    slug: str,
    title: str,
    members: Callable[[Any], dict[str, Any]] = named,
) -> None:
    """Say what an exception of the domain, and every one derived from it, is called on the API."""
    _KINDS[error] = Kind(status, slug, title, members)


declare_problem(InvalidInput, status=400, slug="invalid-request", title="Invalid request")


def _printable(value: Any) -> Any:
    """Replace what no encoding can carry, such as half a surrogate pair that a refusal quotes."""
    if isinstance(value, dict):
        return {_printable(key): _printable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(part) for part in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _of_the_domain(error: Exception) -> Response | None:
    kind = next((_KINDS[base] for base in type(error).__mro__ if base in _KINDS), None)
    if kind is None:
        return None
    head = {"type": f"{settings.PUBLIC_URL}/problems/{kind.slug}", "title": kind.title, "status": kind.status}
    data = {**head, "detail": str(error), **kind.members(error)}
    return Response(_printable(data), status=kind.status, content_type=CONTENT_TYPE)


def document(status: int, detail: str) -> dict[str, Any]:
    """Build a problem document; its type is an address that stays the same for one kind of problem."""
    slug, title = _PROBLEMS.get(status, ("refused", "Refused"))
    return {"type": f"{settings.PUBLIC_URL}/problems/{slug}", "title": title, "status": status, "detail": detail}


def problem(status: int, detail: str = "") -> JsonResponse:
    """Answer with a problem document outside of DRF."""
    return JsonResponse(document(status, detail or _DETAILS[status]), status=status, content_type=CONTENT_TYPE)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400: to a request that Django itself refuses, before any view of ours."""
    sentence = "The request can't be understood as it is; check its address, its headers and its size."
    return problem(400, sentence) if request.path.startswith("/api/") else answer(400, sentence)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404: a problem document on the API, a plain sentence elsewhere."""
    return problem(404) if request.path.startswith("/api/") else answer(404, "nothing is here")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500 without a word about the inside."""
    if request.path.startswith("/api/"):
        return problem(500)
    return answer(500, "something failed on our side and was reported")


def problem_details(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn whatever DRF refuses into a problem document; what it doesn't know stays a 500 for the error tracker."""
    if (found := _of_the_domain(error)) is not None:
        return found
    if isinstance(error, OperationalError):
        logger.error("the API can't reach the database: %s", error)
        error = Unavailable()
    if isinstance(error, OverflowError | DataError):  # e.g. a time that falls out of the calendar on its way to UTC
        error = ValidationError("A date or number is outside what can be compared; send another.")
    response = exception_handler(error, context)
    if response is None:
        return None
    data = response.data
    is_sentence = isinstance(data, dict) and set(data) <= {"detail", "code", "messages"}
    if is_sentence:
        response.data = document(response.status_code, _sentence(error, str(data.get("detail", ""))))
    else:
        detail = "Some values were refused; `errors` names each of them and what is wrong with it."
        errors = data if isinstance(data, dict) else {"non_field_errors": data}
        response.data = {**document(response.status_code, detail), "errors": errors}
    response.data = _printable(response.data)
    response.content_type = CONTENT_TYPE
    return response


def _sentence(error: Exception, said: str) -> str:
    """Say what to do: our own exceptions already do, DRF's and simplejwt's mostly don't."""
    if isinstance(error, NotAuthenticated):
        return _SIGN_IN
    if isinstance(error, InvalidToken):
        return "The token has expired or is not one of ours; get a new one at /api/v1/auth/token."
    if isinstance(error, MethodNotAllowed):
        return f"{said} The methods of each path are at /api/docs."
    status = 404 if isinstance(error, Http404) else getattr(error, "status_code", 0)
    return _DETAILS.get(status, said)
