"""The twins of Stripe and EasyPost as the demo uses them: each account hears of its own only, and signed."""

from __future__ import annotations

import json
import time

import pytest
from pytest_httpserver import HTTPServer

from config.local.deliveries import behave, request
from config.local.processes import wait_until
from config.local.twins import EasyPostTwin, StripeTwin
from orders.carriers.events import HEADER, is_signed
from orders.carriers.sandbox import CarrierSandbox
from orders.payments.sandbox import SandboxServer
from orders.webhooks import verify_signature

ADDRESS = {"street1": "Ermou 5", "city": "Athens", "country": "GR"}


@pytest.fixture
def doors(httpserver: HTTPServer) -> HTTPServer:
    """The call-back addresses of two tenants."""
    for path in ("/one", "/two"):
        httpserver.expect_request(path).respond_with_data("stored")
    return httpserver


def posted(doors: HTTPServer, path: str) -> list:
    return [asked for asked, _ in doors.log if asked.path == path]


def test_stripes_events_go_signed_to_the_account_that_they_are_about(doors):
    with SandboxServer() as sandbox:
        one, two = StripeTwin(sandbox.base_url, "account-one"), StripeTwin(sandbox.base_url, "account-two")
        one.lead_events(url=doors.url_for("/one"), secret="whsec_one")
        two.lead_events(url=doors.url_for("/two"), secret="whsec_two")
        payment_id = one.pay(order_id=7, amount="45.50", currency="EUR")
        wait_until(lambda: len(posted(doors, "/one")) == 3, 10, "the events of the payment")
        assert one.refunds(payment_id) == []
        behave(sandbox.base_url, events="before")
        charge_id = sandbox.state.objects[payment_id]["latest_charge"]
        assert request("POST", f"{sandbox.base_url}/sandbox/dispute/{charge_id}").status == 200  # what the bank does
    assert posted(doors, "/two") == []
    events = [json.loads(asked.data) for asked in posted(doors, "/one")]
    topics = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.dispute.created"]
    assert [event["type"] for event in events] == topics
    assert events[0]["data"]["object"]["metadata"] == {"order_id": "7"}
    for asked in posted(doors, "/one"):
        header = asked.headers["Stripe-Signature"]
        verify_signature(body=asked.data, header=header, secret="whsec_one", now=time.time())


def test_easyposts_events_go_signed_to_the_account_whose_parcel_it_is(doors):
    with CarrierSandbox() as sandbox:
        one, two = EasyPostTwin(sandbox.base_url, "account-one"), EasyPostTwin(sandbox.base_url, "account-two")
        one.lead_events(url=doors.url_for("/one"), secret="secret-one")
        two.lead_events(url=doors.url_for("/two"), secret="secret-two")
        wanted = {"reference": "r-2", "to_address": ADDRESS, "from_address": ADDRESS, "parcel": {"weight": "9"}}
        known = sandbox.state.create(wanted, key="account-two")
        assert two.purchases("r-2") == 0
        sandbox.state.buy(known, known.document["rates"][0]["id"])
        assert two.purchases("r-2") == 1
        assert two.travel("r-2") == 4
    assert posted(doors, "/one") == []
    for asked in posted(doors, "/two"):
        assert is_signed(body=asked.data, signature=asked.headers[HEADER], secret="secret-two")


def test_what_a_twin_refuses_is_said_in_a_sentence():
    with CarrierSandbox() as sandbox, pytest.raises(RuntimeError, match=r"the twin refused POST .*travel/none: 404"):
        EasyPostTwin(sandbox.base_url, "account").travel("none")
