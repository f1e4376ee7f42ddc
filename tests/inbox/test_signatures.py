"""Shopify's signature: published vectors, an independent library, and what must not pass."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shopify_webhook.helpers import get_hmac

from shopsync.webhooks import is_signed_by_shopify, shopify_signature
from tests.protocols import PROTOCOLS, needs_protocols, read_protocol


def vectors():
    return read_protocol("vectors/shopify_webhook_hmac.json")["vectors"] if PROTOCOLS.is_dir() else []


@needs_protocols
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["name"])
def test_a_published_vector_is_judged_as_published(vector):
    body = base64.b64decode(vector["body_base64"])
    is_good = is_signed_by_shopify(body=body, signature=vector["header"], secrets=[vector["secret"]])
    assert is_good is vector["valid"]


def test_the_vector_of_a_client_library_holds():
    # bold-commerce/go-shopify, oauth_test.go, TestVerifyWebhookRequest
    signature = "hMTq0K2x7oyOjoBwGYeTj5oxfnaVYXzbanUG9aajpKI="
    assert is_signed_by_shopify(body=b'"my secret message"', signature=signature, secrets=["hush"])
    assert not is_signed_by_shopify(body=b'"my secret messagf"', signature=signature, secrets=["hush"])


@needs_protocols
def test_while_the_secret_rotates_both_count():
    rotation = read_protocol("vectors/shopify_webhook_hmac_rotation.json")
    body = base64.b64decode(rotation["body_base64"])
    secrets = [rotation["current_secret"], rotation["previous_secret"]]
    assert all(is_signed_by_shopify(body=body, signature=s, secrets=secrets) for s in rotation["accept"])
    assert not any(is_signed_by_shopify(body=body, signature=s, secrets=secrets) for s in rotation["refuse"])


@given(body=st.binary(min_size=1, max_size=5000), secret=st.text(min_size=1, max_size=60).filter(str.isprintable))
def test_signatures_of_an_independent_library_are_accepted(body, secret):
    theirs = get_hmac(body, secret)
    theirs = theirs.decode() if isinstance(theirs, bytes) else theirs
    assert theirs == shopify_signature(secret, body)
    assert is_signed_by_shopify(body=body, signature=theirs, secrets=["other", secret])


@given(body=st.binary(min_size=1, max_size=200), where=st.integers(min_value=0), flip=st.integers(1, 255))
def test_one_changed_byte_is_noticed(body, where, flip):
    signature = shopify_signature("secret", body)
    changed = bytearray(body)
    changed[where % len(body)] ^= flip
    assert not is_signed_by_shopify(body=bytes(changed), signature=signature, secrets=["secret"])


@pytest.mark.parametrize(
    "signature", ["", "=", "not base64!", "ä", "A" * 43 + "=\n", base64.b64encode(b"x" * 31).decode()]
)
def test_what_is_no_signature_is_refused_and_does_not_raise(signature):
    assert not is_signed_by_shopify(body=b"x", signature=signature, secrets=["secret"])


def test_an_empty_secret_signs_nothing():
    assert not is_signed_by_shopify(body=b"x", signature=shopify_signature("", b"x"), secrets=["", ""])
