"""Shopify's Admin API: GraphQL calls for one shop, with its throttle and its errors told apart.

Source: https://shopify.dev/docs/api/usage/limits (a throttled call answers 200 with errors[].extensions.code THROTTLED
and says in extensions.cost how much is left and how fast it is restored).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from config.infra import outbound
from config.infra.outbound import OutboundError
from config.infra.work import CallError

SERVICE = "shopify"
SHORTEST_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class ShopifyAccount:
    """One tenant's way in: `base_url` is where its Admin API is, e.g. https://name.myshopify.com.

    `connection_id` names its breaker: `tenant:ID`, as there is no Connection to Shopify.
    """

    base_url: str
    api_version: str
    access_token: str = field(repr=False)
    connection_id: str


def graphql(account: ShopifyAccount, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """Send one query or mutation and return its `data`.

    Raises: CallError; `unknown` only for a request that may have been carried out without a readable answer.
    """
    try:
        response = outbound.call(
            service=SERVICE,
            connection=account.connection_id,
            method="POST",
            url=f"{account.base_url}/admin/api/{account.api_version}/graphql.json",
            headers={"X-Shopify-Access-Token": account.access_token},
            json={"query": query, "variables": variables},
        )
        document = response.json()
    except OutboundError as error:
        raise CallError(
            str(error),
            permanent=error.permanent,
            unknown=error.unknown,
            retry_after_seconds=error.retry_after_seconds,
            status=error.status,
            blocker=error.blocker,
        ) from error
    if not isinstance(document, dict):
        raise CallError("Shopify's answer is no JSON object", unknown=True)
    if errors := document.get("errors"):
        raise _refusal(errors, document)
    data = document.get("data")
    if not isinstance(data, dict):
        raise CallError("Shopify's answer has no data", unknown=True)
    return data


def _refusal(errors: Any, document: dict[str, Any]) -> CallError:
    listed = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    codes = {(error.get("extensions") or {}).get("code") for error in listed}
    text = "; ".join(str(error.get("message", "")) for error in listed)[:300] or "refused without a reason"
    if "THROTTLED" in codes:
        return CallError("throttled by Shopify", retry_after_seconds=_wait(document))
    return CallError(f"Shopify refused the call: {text}", permanent=True)


def _wait(document: dict[str, Any]) -> float:
    """Say how long the bucket needs to hold what the call costs."""
    cost = (document.get("extensions") or {}).get("cost") or {}
    throttle = cost.get("throttleStatus") or {}
    try:
        missing = float(cost["requestedQueryCost"]) - float(throttle["currentlyAvailable"])
        return max(missing / float(throttle["restoreRate"]), SHORTEST_WAIT_SECONDS)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return SHORTEST_WAIT_SECONDS
