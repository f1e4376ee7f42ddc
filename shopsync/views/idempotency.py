"""Writes under an Idempotency-Key: made once, and answered alike however often they are asked for.

Source of the header: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from config.infra.transactions import retrying_atomic
from shopsync.actions.idempotency import claim_key
from shopsync.models import IdempotentRequest

HEADER = "Idempotency-Key"
KEY = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description="1 to 200 visible ASCII characters, e.g. a UUID: the same key with the same request is done once",
)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


class KeyReused(APIException):
    """The key stands for another request already."""

    status_code = 409
    default_code = "idempotency-key-reused"
    default_detail = "This Idempotency-Key was used for another request; send a new key with a new request."


def read_key(request: Request) -> str | None:
    """Read the header; None where it was left out.

    Raises: ValidationError for one that is no key.
    """
    key = request.headers.get(HEADER)
    if key is not None and not _KEY.fullmatch(key):
        raise ValidationError({HEADER: ["Give 1 to 200 visible ASCII characters, e.g. a UUID."]})
    return key


def digest_of(request: Request) -> str:
    """Name what was asked for: the same body gives the same digest, however its fields are ordered."""
    return hashlib.sha256(json.dumps(request.data, sort_keys=True).encode()).hexdigest()


def answer_once(request: Request, run: Callable[[], Response], *, digest: str = "") -> Response:
    """Run a write, or return what the same request under the same key was answered.

    digest: names what was asked for where the body is no JSON.

    The write, its answer and the key are one transaction: a write that is refused leaves its key free. Whoever comes
    second waits for the first.

    Raises: KeyReused, ValidationError for a bad key, and whatever `run` raises.
    """
    key = read_key(request)
    return run() if key is None else _answer_once(request, run, key=key, digest=digest or digest_of(request))


@retrying_atomic
def _answer_once(request: Request, run: Callable[[], Response], *, key: str, digest: str) -> Response:
    scope = f"{request.method} {request.path}"[:100]
    claimed = claim_key(scope=scope, key=key, digest=digest)
    if claimed is None:
        made = IdempotentRequest.objects.get(scope=scope, key=key)
        if made.request_digest != digest:
            raise KeyReused
        return Response(made.answer, status=made.status_code, headers={"Idempotency-Replayed": "true"})
    response = run()
    plain: Any = json.loads(JSONRenderer().render(response.data)) if response.data is not None else None
    IdempotentRequest.objects.filter(pk=claimed).update(status_code=response.status_code, answer=plain)
    return response
