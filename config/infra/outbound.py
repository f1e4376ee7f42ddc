"""The one outbound HTTP client: no redirects, no proxies of the environment, never inside a transaction.

A call is made exactly once, unless its caller says that it is safe to repeat (`repeatable`, see `call`). What is not an
answer below 300 is an OutboundError, and its flags say what is known of the request:

    OutboundError                                                permanent  unknown
    ├── surely not sent: breaker open, no connection,
    │   connect time-out, no free connection in the pool         False      False
    ├── cannot be sent: bad URL, header or body                  True       False
    ├── surely not done: 429                                     False      False
    ├── refused: any other 4xx, a redirect                       True       False
    └── cannot be known: write or read error or time-out,        False      True
        protocol error, 5xx, 408, 302 and 303, a body that is
        too large, cannot be decoded or is not JSON

A caller that pays or sends for the request must not repeat one whose outcome cannot be known. Of a repeated call the
flags speak for all its attempts: once one of them cannot be known, no later refusal makes it surely not done.
"""

from __future__ import annotations

import base64
import functools
import json as jsonlib
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2
from django.db import connections

from config.infra.breaker import Breaker, BreakerOpen
from config.infra.repeating import repeat
from config.infra.services import Service, find_service

logger = logging.getLogger(__name__)
for _name in ("httpx2", "httpcore2"):  # they log URLs and headers, which carry secrets
    logging.getLogger(_name).setLevel(logging.WARNING)

MAX_BODY_BYTES = 5 * 1024 * 1024
CONNECT_TIMEOUT_SECONDS = 5.0
KEEPALIVE_SECONDS = 2.0  # shorter than servers' own: a request on a connection that is just closing ends unknown

_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_CANNOT_BE_SENT = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
_MAYBE_DONE_STATUSES = frozenset({302, 303, 408})
_READING_METHODS = frozenset({"GET", "HEAD"})
IDEMPOTENCY_HEADER = "Idempotency-Key"


class OutboundError(Exception):
    """A request without a good answer; the module's drawing says what the flags mean.

    `blocker` is what a waiting row names: filled when the breaker is open, else empty. `body` is what a refusal said.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        unknown: bool = False,
        retry_after_seconds: float | None = None,
        status: int | None = None,
        blocker: str = "",
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.body = body
        self.permanent = permanent
        self.unknown = unknown
        self.retry_after_seconds = retry_after_seconds
        self.status = status
        self.blocker = blocker


@dataclass(frozen=True)
class Response:
    """An answer below 300. Header names are lower case; headers and body stay out of the repr."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        """What the body is, such as `application/pdf`, without parameters; empty when the answer does not say."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """Return the body read as JSON.

        Raises:
            OutboundError: it is not JSON (unknown: the service did something, and did not say what).
        """
        try:
            return jsonlib.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise OutboundError("the answer is not JSON", unknown=True, status=self.status) from error


@dataclass(frozen=True, slots=True)
class _Request:
    """What a call asks, kept to build each attempt from."""

    method: str
    url: str = field(repr=False)
    json: object | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def basic_auth(username: str, password: str) -> dict[str, str]:
    """Return the header that signs in by name and password (RFC 7617)."""
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def call(
    *,
    service: str,
    connection: str,
    method: str,
    url: str,
    json: object | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
    repeatable: bool = False,
) -> Response:
    """Make one request and return its answer.

    `service` (declared in config/infra/services.py) and `connection` name the breaker. `timeout_seconds`, the
    service's own unless given, bounds each wait for the service, and the reading of the body.

    `repeatable` says that asking twice does no more than asking once: a GET, a HEAD, or a request with an idempotency
    key. Then temporary and unknown errors are tried again within the service's bounds, each time asking the breaker.

    Raises:
        OutboundError: there is no answer below 300.
        RuntimeError: a database transaction is open. The network may take seconds, locks may not.
        UndeclaredServiceError: the service is not declared.
        ValueError: `repeatable` for what is not safe to repeat.
    """
    declared = find_service(service)
    _refuse_inside_transaction()
    request = _Request(method.upper(), url, json, headers or {})
    if repeatable:
        _refuse_unsafe(request)
    make = _call_repeatedly if repeatable else _attempt
    seconds = declared.timeout_seconds if timeout_seconds is None else timeout_seconds
    return make(request, declared, connection, timeout_seconds=seconds)


def _refuse_unsafe(request: _Request) -> None:
    has_key = any(name.lower() == IDEMPOTENCY_HEADER.lower() and value for name, value in request.headers.items())
    if request.method not in _READING_METHODS and not has_key:
        raise ValueError(f"a {request.method} is repeatable only with an {IDEMPOTENCY_HEADER} header")


def _call_repeatedly(request: _Request, service: Service, connection: str, *, timeout_seconds: float) -> Response:
    deadline = time.monotonic() + service.repeats.total_seconds
    was_unknown = False

    def attempt() -> Response:
        nonlocal was_unknown
        left = max(deadline - time.monotonic(), 0.001)
        try:
            return _attempt(request, service, connection, timeout_seconds=min(timeout_seconds, left))
        except OutboundError as error:
            if was_unknown:  # an earlier attempt may have done it: nothing that this one says undoes that
                error.unknown, error.permanent = True, False
            was_unknown = error.unknown and request.method not in _READING_METHODS
            raise

    return repeat(attempt, bounds=service.repeats, wait_asked_by=_wait_asked_by)


def _wait_asked_by(error: BaseException) -> float | None:
    """Return the least seconds to wait before another attempt, or None when there is to be none."""
    if not isinstance(error, OutboundError) or error.permanent or error.blocker:
        return None
    return error.retry_after_seconds or 0.0


def _attempt(request: _Request, service: Service, connection: str, *, timeout_seconds: float) -> Response:
    """Ask the breaker, send the request once, and say in the log how it went."""
    built = _build(request, timeout_seconds=timeout_seconds)
    breaker = Breaker(service.name, connection)
    try:
        breaker.before_call()
    except BreakerOpen as error:
        wait = error.retry_after_seconds
        raise OutboundError(str(error), retry_after_seconds=wait, blocker=error.blocker) from error
    started = time.monotonic()
    asked = f"{service.name} {connection} {request.method}"
    try:
        response = _exchange(built, breaker, deadline=started + timeout_seconds)
    except OutboundError as error:
        logger.warning("outbound: %s to %s: %s", asked, built.url.host, error)
        raise
    elapsed_ms = (time.monotonic() - started) * 1000
    logger.info("outbound: %s answered %d in %.0f ms", asked, response.status, elapsed_ms)
    return response


def _refuse_inside_transaction() -> None:
    if any(database.in_atomic_block for database in connections.all(initialized_only=True)):
        raise RuntimeError("outbound.call inside a database transaction: commit first, then call the network")


def _build(request: _Request, *, timeout_seconds: float) -> httpx2.Request:
    short = min(timeout_seconds, CONNECT_TIMEOUT_SECONDS)
    timeout = httpx2.Timeout(timeout_seconds, connect=short, pool=short)
    content = None
    try:
        # httpx2 compares names whatever their case, so that a caller's own Accept takes the place of ours.
        headers = httpx2.Headers({"Accept": "application/json"})
        headers.update(request.headers)
        if request.json is not None:
            # Real UTF-8 and no NaN: what no server can read is refused here, not there.
            text = jsonlib.dumps(request.json, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            content, headers["Content-Type"] = text.encode(), "application/json"
        client = _client(os.getpid())
        return client.build_request(request.method, request.url, content=content, headers=headers, timeout=timeout)
    except (ValueError, httpx2.InvalidURL) as error:
        raise OutboundError(f"the request cannot be made: {type(error).__name__}", permanent=True) from error


@functools.lru_cache(maxsize=1)
def _client(pid: int) -> httpx2.Client:
    # The pid is part of the cache key only: a forked child must not share its parent's sockets.
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEEPALIVE_SECONDS)
    no_cookies = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))  # tenants share this client, never a session
    return httpx2.Client(trust_env=False, follow_redirects=False, limits=limits, cookies=no_cookies)


def _exchange(request: httpx2.Request, breaker: Breaker, *, deadline: float) -> Response:
    """Send the request, tell the breaker how it went, and return the answer or raise."""
    try:
        answer = _client(os.getpid()).send(request, stream=True)
    except _CANNOT_BE_SENT as error:
        breaker.released()
        raise OutboundError(f"the request cannot be sent: {type(error).__name__}", permanent=True) from error
    except _NOT_SENT as error:
        breaker.failed()
        raise OutboundError(f"not sent: {type(error).__name__}") from error
    except httpx2.RequestError as error:
        breaker.failed()
        raise OutboundError(f"the outcome is unknown: {type(error).__name__}", unknown=True) from error
    try:
        body = _read(answer, deadline=deadline)
    except httpx2.TransportError as error:
        breaker.failed()
        raise OutboundError(
            f"the answer broke off: {type(error).__name__}", unknown=True, status=answer.status_code
        ) from error
    finally:
        answer.close()
    if answer.status_code >= 500:
        breaker.failed()
    else:
        breaker.succeeded()
    return _judge(answer, body)


def _read(answer: httpx2.Response, *, deadline: float) -> bytes | None:
    """Return the body, or None when it is too large or cannot be decoded."""
    body = bytearray()
    try:
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return None
            if time.monotonic() > deadline:
                raise httpx2.ReadTimeout("the body took too long")
    except httpx2.DecodingError:
        return None
    return bytes(body)


def _judge(answer: httpx2.Response, body: bytes | None) -> Response:
    """Turn what was answered into a response or an error."""
    status = answer.status_code
    retry_after = _retry_after_seconds(answer.headers.get("retry-after"), now=datetime.now(UTC))
    if status == 429:
        raise OutboundError("the service asks to slow down (429)", retry_after_seconds=retry_after, status=status)
    if status >= 500 or status in _MAYBE_DONE_STATUSES:
        raise OutboundError(
            f"answered {status}: the outcome is unknown", unknown=True, retry_after_seconds=retry_after, status=status
        )
    if status >= 300:
        raise OutboundError(f"refused with {status}", permanent=True, status=status, body=body or b"")
    if body is None:
        raise OutboundError("the answer is too large or cannot be decoded", unknown=True, status=status)
    return Response(status=status, headers=dict(answer.headers), body=body)


def _retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Read Retry-After, seconds or a date (RFC 9110, 10.2.3); None when there is none to read."""
    if not value:
        return None
    try:
        seconds = float(value) if value.replace(".", "", 1).isdecimal() else None
        if seconds is None:
            moment = parsedate_to_datetime(value)
            seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), 86_400.0)
