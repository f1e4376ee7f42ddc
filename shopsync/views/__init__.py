"""The inbox's door for Shopify, the API's inbox and sign-in, and one shape for every refused API request."""

from shopsync.views import schema
from shopsync.views.alerts import Alerts
from shopsync.views.api import WebhookEvents
from shopsync.views.idempotency import KEY, answer_once, digest_of, read_key
from shopsync.views.intake import answer, read_body, receive_shopify, refuse, storing
from shopsync.views.problems import bad_request, declare_problem, named, not_found, problem_details, server_error
from shopsync.views.sign_in import issue_token, refresh_token

__all__ = [
    "KEY",
    "Alerts",
    "WebhookEvents",
    "answer",
    "answer_once",
    "bad_request",
    "declare_problem",
    "digest_of",
    "issue_token",
    "named",
    "not_found",
    "problem_details",
    "read_body",
    "read_key",
    "receive_shopify",
    "refresh_token",
    "refuse",
    "schema",
    "server_error",
    "storing",
]
