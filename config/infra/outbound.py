"""The one outbound HTTP client: no retries, no redirects, no proxies of the environment, never inside a transaction.

What is not an answer below 300 is an OutboundError, and its flags say what is known of the request:

    OutboundError                                                permanent  unknown
    ├── surely not sent: breaker open, no connection,
    │   connect time-out, no free connection in the pool         False      False
    ├── cannot be sent: bad URL, header or body                  True       False
    ├── surely not done: 429                                     False      False
    ├── refused: any other 4xx, a redirect                       True       False
    └── cannot be known: write or read error or time-out,        False      True
        protocol error, 5xx, 408, 302 and 303, a body that is
        too large, cannot be decoded or is not JSON

A caller that pays or sends for the request must not repeat one whose outcome cannot be known.
"""

from __future__ import annotations

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

logger = logging.getLogger(__name__)
for _name in ("httpx2", "httpcore2"):  # they log URLs and headers, which carry secrets
    logging.getLogger(_name).setLevel(logging.WARNING)

MAX_BODY_BYTES = 5 * 1024 * 1024
CONNECT_TIMEOUT_SECONDS = 5.0
KEEPALIVE_SECONDS = 2.0  # shorter than servers' own: a request on a connection that is just closing ends unknown

_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_CANNOT_BE_SENT = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
_MAYBE_DONE_STATUSES = frozenset({302, 303, 408})


class OutboundError(Exception):
    """A request without a good answer; the module's drawing says what the flags mean."""

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        unknown: bool = False,
        retry_after_seconds: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.unknown = unknown
        self.retry_after_seconds = retry_after_seconds
        self.status = status


@dataclass(frozen=True)
class Response:
    """An answer below 300. Header names are lower case; headers and body stay out of the repr."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the body read as JSON.

        Raises:
            OutboundError: it is not JSON (unknown: the service did something, and did not say what).
        """
        try:
            return jsonlib.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise OutboundError("the answer is not JSON", unknown=True, status=self.status) from error


def call(
    *,
    service: str,
    connection: str,
    method: str,
    url: str,
    json: object | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = 10.0,
) -> Response:
    """Make one request and return its answer.

    `service` and `connection` name the breaker. `timeout_seconds` bounds each wait for the service, and the reading of
    the body.

    Raises:
        OutboundError: there is no answer below 300.
        RuntimeError: a database transaction is open. The network may take seconds, locks may not.
    """
    refuse_inside_transaction()
    request = _build(method=method, url=url, json=json, headers=headers, timeout_seconds=timeout_seconds)
    breaker = Breaker(service, connection)
    try:
        breaker.before_call()
    except BreakerOpen as error:
        raise OutboundError(str(error), retry_after_seconds=error.retry_after_seconds) from error
    started = time.monotonic()
    try:
        response = _exchange(request, breaker, deadline=started + timeout_seconds)
    except OutboundError as error:
        logger.warning("outbound: %s %s to %s (%s): %s", service, connection, request.url.host, method, error)
        raise
    elapsed_ms = (time.monotonic() - started) * 1000
    logger.info("outbound: %s %s %s answered %d in %.0f ms", service, connection, method, response.status, elapsed_ms)
    return response


def refuse_inside_transaction() -> None:
    """Refuse to call the network while a transaction is open.

    Raises: RuntimeError.
    """
    if any(database.in_atomic_block for database in connections.all(initialized_only=True)):
        raise RuntimeError("a call to the network inside a database transaction: commit first, then call the network")


def _build(
    *, method: str, url: str, json: object | None, headers: Mapping[str, str] | None, timeout_seconds: float
) -> httpx2.Request:
    short = min(timeout_seconds, CONNECT_TIMEOUT_SECONDS)
    timeout = httpx2.Timeout(timeout_seconds, connect=short, pool=short)
    all_headers = {"Accept": "application/json", **(headers or {})}
    content = None
    try:
        if json is not None:
            # Real UTF-8 and no NaN: what no server can read is refused here, not there.
            content = jsonlib.dumps(json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            all_headers["Content-Type"] = "application/json"
        return _client(os.getpid()).build_request(method, url, content=content, headers=all_headers, timeout=timeout)
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
        raise OutboundError(f"refused with {status}", permanent=True, status=status)
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
