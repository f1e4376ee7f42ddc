"""Short links: one for each recipient and address, made in bulk; whoever follows one is sent on, and counted."""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import DatabaseError, OperationalError
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from config.infra import tenancy
from messaging.actions.links import shorten_links
from messaging.actions.unsubscribes import unsubscribe_url
from messaging.emails import render_email
from messaging.links import (
    ALPHABET,
    CODE_LENGTH,
    bot_reason,
    new_code,
    read_token,
    replace_links,
    sample_links,
    unsubscribe_token,
)
from messaging.models import Click, Contact, Message, ShortLink
from tests.factories import reload, run_together

BASE = "https://m.example.com"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


# Pure


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See https://a.example/x.", "See <https://a.example/x>."),
        ("(https://a.example/x)", "(<https://a.example/x>)"),
        ("https://a.example/x_(y), now", "<https://a.example/x_(y)>, now"),
        ("[it](https://a.example/x?a=1&b=2)", "[it](<https://a.example/x?a=1&b=2>)"),
        ("HTTP://A.example!", "<HTTP://A.example>!"),
        ("https://a.example\nhttps://b.example/ö", "<https://a.example>\n<https://b.example/ö>"),
        ("ftp://a.example mailto:x@y.example www.a.example", "ftp://a.example mailto:x@y.example www.a.example"),
    ],
)
def test_links_in_text_are_found_without_the_punctuation_behind_them(text, expected):
    assert replace_links(text, lambda url: f"<{url}>", is_html=False) == expected


def test_of_html_the_addresses_of_anchors_alone_are_replaced():
    html = render_email(
        subject="x",
        body='<a href="https://a.example/?a=1&amp;b=2" title="https://t.example">https://words.example</a>'
        '<img src="https://i.example/p.png"><p> href="https://text.example" </p><a href="mailto:a@b.example">x</a>',
        values={"unsubscribe_url": ""},
    ).html
    found = []
    replaced = replace_links(html, lambda url: found.append(url) or "https://s.example/?x=1&y=2", is_html=True)
    assert found == ["https://a.example/?a=1&b=2"]
    assert 'href="https://s.example/?x=1&amp;y=2" title="https://t.example">https://words.example</a>' in replaced
    assert replace_links(html, lambda url: None, is_html=True) == html


@given(st.text(max_size=80), st.booleans())
def test_a_text_without_a_link_stays_as_it_is(text, is_html):
    if "://" not in text:
        assert replace_links(text, lambda url: "!", is_html=is_html) == text


@given(st.text(max_size=200))
def test_what_is_left_alone_is_left_alone(text):
    assert replace_links(text, lambda url: None, is_html=False) == text
    assert replace_links(text, lambda url: url, is_html=False) == text


def test_codes_are_random_and_readable():
    codes = {new_code() for _ in range(2000)}
    assert len(codes) == 2000
    assert all(re.fullmatch(f"[{ALPHABET}]{{{CODE_LENGTH}}}", code) for code in codes)
    assert not set("0o1il") & set(ALPHABET)
    assert len(ALPHABET) ** CODE_LENGTH > 2**48
    assert min(Counter("".join(codes)).values()) > 400  # of about 645


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        ({}, ""),
        ({"method": "HEAD"}, "head_request"),
        ({"purpose": "prefetch;prerender"}, "prefetch"),
        ({"user_agent": " "}, "no_user_agent"),
        ({"user_agent": "facebookexternalhit/1.1 Facebot Twitterbot/1.0"}, "user_agent"),
        ({"user_agent": "WhatsApp/2.23.20.0"}, "user_agent"),
        ({"user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}, "user_agent"),
        ({"user_agent": "curl/8.5.0"}, "user_agent"),
        ({"user_agent": "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Mobile Safari/537.36"}, ""),
        ({"sent_at": NOW - timedelta(seconds=1)}, "too_soon"),
        ({"sent_at": NOW - timedelta(seconds=3)}, ""),
        ({"sent_at": None}, ""),
    ],
)
def test_who_is_no_person_is_known_by_a_reason(given_, reason):
    usual = {"method": "GET", "user_agent": PHONE, "purpose": "", "sent_at": NOW - timedelta(hours=1), "now": NOW}
    assert bot_reason(**usual | given_) == reason


@given(st.uuids(), st.binary(min_size=1, max_size=40))
def test_a_token_names_its_message_and_nobody_makes_one(reference, secret):
    token = unsubscribe_token(reference, secret=secret)
    assert len(token) == 43
    assert read_token(token, secret=secret) == reference
    assert read_token(token, secret=secret + b"x") is None
    for index in range(len(token)):
        other = "A" if token[index] != "A" else "B"
        assert read_token(token[:index] + other + token[index + 1 :], secret=secret) is None


@given(st.text(max_size=60))
def test_what_is_no_token_is_none(text):
    assert read_token(text, secret=b"secret") is None


# Rows


@pytest.fixture
def shop(tenant):
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def make_messages(number: int, *, channel: str = "sms", sent_at: datetime | None = None) -> list[Message]:
    contact = Contact.objects.create(email="a@x.example", phone="+306912345678")
    rows = [
        Message(
            contact=contact,
            trigger=f"t{index}",
            channel=channel,
            address="+306912345678",
            status="done",
            outcome="sent",
            sent_at=sent_at or timezone.now() - timedelta(hours=1),
            finished_at=timezone.now(),
        )
        for index in range(number)
    ]
    return Message.objects.bulk_create(rows)


@pytest.mark.django_db
def test_each_recipient_has_a_link_of_its_own_for_each_address(shop):
    first, second = make_messages(2)
    text = "Look: https://a.example/x and https://a.example/x or https://b.example. Bye: https://m.example.com/u/abc"
    texts = shorten_links(texts={first.pk: text, second.pk: text}, base_url=BASE, channel="sms")
    codes = {pk: re.findall(rf"{BASE}/l/(\w+)", written) for pk, written in texts.items()}
    assert [len(found) for found in codes.values()] == [3, 3]
    assert codes[first.pk][0] == codes[first.pk][1] != codes[first.pk][2]
    assert not set(codes[first.pk]) & set(codes[second.pk])
    assert "https://m.example.com/u/abc" in texts[first.pk]
    links = ShortLink.objects.filter(message=first)
    assert {link.code: link.url for link in links} == {
        codes[first.pk][0]: "https://a.example/x",
        codes[first.pk][2]: "https://b.example",
    }
    assert shorten_links(texts={first.pk: text}, base_url=BASE, channel="sms")[first.pk] == texts[first.pk]
    assert ShortLink.objects.count() == 4


@pytest.mark.django_db
def test_an_e_mails_html_and_text_share_their_links_and_its_footer_stays(shop):
    (message,) = make_messages(1, channel="email")
    email = render_email(
        subject="x", body='<a href="https://a.example/?a=1&amp;b=2">x</a>', values={"unsubscribe_url": f"{BASE}/u/tok"}
    )
    html = shorten_links(texts={message.pk: email.html}, base_url=BASE, channel="email")[message.pk]
    plain = shorten_links(texts={message.pk: email.text}, base_url=BASE, channel="email", is_html=False)[message.pk]
    code = ShortLink.objects.get().code
    assert f'href="{BASE}/l/{code}"' in html
    assert f"({BASE}/l/{code})" in plain
    assert f'href="{BASE}/u/tok"' in html
    assert f"{BASE}/u/tok" in plain


@pytest.mark.django_db
def test_a_link_of_ours_stays_where_a_sender_has_a_site_of_its_own(shop, settings):
    """An opt-out is no click: shortened, it would be one, and whoever opts out would look engaged."""
    settings.PUBLIC_URL = "https://ours.example.com/app"
    (message,) = make_messages(1)
    own = [unsubscribe_url(reference=message.reference), f"{settings.PUBLIC_URL}/l/abc", "https://go.example.com/l/abc"]
    text = f"Sale: https://a.example/u/x. Bye: {own[0]}. {own[1]}, ({own[2]})"
    written = shorten_links(texts={message.pk: text}, base_url="https://go.example.com", channel="sms")[message.pk]
    code = ShortLink.objects.get().code
    assert written == text.replace("https://a.example/u/x", f"https://go.example.com/l/{code}")
    html = "".join(f'<a href="{url}">x</a>' for url in own)
    mail = shorten_links(texts={message.pk: html}, base_url="https://go.example.com", channel="email")
    assert mail == {message.pk: html}
    sample = sample_links(f"https://a.example {own[0]}", base_url="https://go.example.com")
    assert sample == f"https://go.example.com/l/{'x' * CODE_LENGTH} {own[0]}"


@pytest.mark.django_db
def test_a_link_that_is_too_long_to_keep_stays(shop):
    (message,) = make_messages(1)
    text = f"https://a.example/{'x' * 2000}"
    assert shorten_links(texts={message.pk: text}, base_url=BASE, channel="sms") == {message.pk: text}
    assert ShortLink.objects.count() == 0


@pytest.mark.django_db
def test_a_code_that_somebody_has_already_is_made_anew(shop, monkeypatch):
    first, second = make_messages(2)
    codes = iter(["same", "same", "other"])
    monkeypatch.setattr("messaging.actions.links.new_code", lambda: next(codes))
    for message in (first, second):
        shorten_links(texts={message.pk: "https://a.example"}, base_url=BASE, channel="sms")
    assert [link.code for link in ShortLink.objects.order_by("id")] == ["same", "other"]


@pytest.mark.django_db
def test_a_batch_of_500_takes_two_statements(shop, django_assert_num_queries):
    messages = make_messages(500)
    text = "Hi, our sale: https://shop.example.com/collections/sale?utm=x and https://shop.example.com/new."
    texts = {message.pk: text for message in messages}
    started = time.perf_counter()
    with django_assert_num_queries(2):
        shorten_links(texts=texts, base_url=BASE, channel="sms")
    elapsed_ms = (time.perf_counter() - started) * 1000
    print(f"1000 links of 500 messages: {elapsed_ms:.0f} ms")
    assert ShortLink.objects.count() == 1000
    assert elapsed_ms < 3000


# The door


def make_link(*urls: str, sent_at: datetime | None = None) -> list[ShortLink]:
    (message,) = make_messages(1, sent_at=sent_at)
    rows = [ShortLink(code=new_code(), message=message, url=url) for url in urls or ("https://a.example/x?a=1",)]
    return ShortLink.objects.bulk_create(rows)


def follow(code: str, *, agent: str = PHONE, method: str = "get", **headers: str):
    headers = {"User-Agent": agent, **headers}
    return getattr(Client(), method)(f"/l/{code}", headers=headers)


@pytest.mark.django_db
def test_whoever_follows_a_link_is_sent_on_and_counted(shop):
    (link,) = make_link()
    answer = follow(link.code)
    assert (answer.status_code, answer["Location"]) == (302, "https://a.example/x?a=1")
    assert (answer["Cache-Control"], answer["X-Robots-Tag"]) == ("no-store", "noindex, nofollow")
    assert not answer.cookies
    click = Click.objects.get()
    assert (click.link, click.contact_id, click.channel) == (link, link.message.contact_id, "sms")
    assert (click.is_bot, click.bot_reason) == (False, "")
    assert follow(link.code.upper()).status_code == 302
    assert Click.objects.filter(is_bot=False).count() == 2  # the same link twice is somebody who came back


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        ({"method": "head"}, "head_request"),
        ({"agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}, "user_agent"),
        ({"agent": ""}, "no_user_agent"),
        ({"Sec-Purpose": "prefetch"}, "prefetch"),
    ],
)
def test_who_is_no_person_is_sent_on_and_not_counted_as_one(shop, given_, reason):
    (link,) = make_link()
    answer = follow(link.code, **given_)
    assert (answer.status_code, answer["Location"]) == (302, link.url)
    assert Click.objects.get().bot_reason == reason


@pytest.mark.django_db
def test_a_click_that_comes_before_anybody_can_have_read_is_no_persons(shop):
    (link,) = make_link(sent_at=timezone.now())
    follow(link.code)
    assert Click.objects.get().bot_reason == "too_soon"


@pytest.mark.django_db
def test_two_links_of_a_message_at_once_are_no_persons(shop):
    first, second, third = make_link("https://a.example", "https://b.example", "https://c.example")
    follow(first.code)
    follow(second.code)
    assert set(Click.objects.values_list("bot_reason", flat=True)) == {"several_links"}
    Click.objects.update(clicked_at=timezone.now() - timedelta(seconds=5))
    follow(third.code)
    assert Click.objects.get(link=third).bot_reason == ""


@pytest.mark.django_db(transaction=True)
def test_a_scanner_that_follows_all_links_at_the_same_time_is_seen(shop):
    links = make_link(*(f"https://a.example/{number}" for number in range(8)))
    answers = run_together([lambda link=link: follow(link.code) for link in links], threads=8)
    assert [answer.status_code for answer in answers] == [302] * 8
    assert Counter(Click.objects.values_list("bot_reason", flat=True)) == {"several_links": 8}


@pytest.mark.django_db(transaction=True)
def test_no_click_is_lost_under_load(shop):
    links = [make_link()[0] for _ in range(4)]
    jobs = [lambda link=link: follow(link.code) for link in links for _ in range(25)]
    started = time.perf_counter()
    answers = run_together(jobs, threads=8)
    print(f"100 clicks by 8 at once: {(time.perf_counter() - started) * 10:.1f} ms each")
    assert {answer.status_code for answer in answers} == {302}
    assert Click.objects.filter(is_bot=False).count() == 100


@pytest.mark.django_db
def test_a_click_that_can_not_be_kept_keeps_nobody_from_going_on(shop, monkeypatch, caplog):
    (link,) = make_link()

    def fail(**_):
        raise DatabaseError("full")

    monkeypatch.setattr("messaging.views.links.record_click", fail)
    answer = follow(link.code)
    assert (answer.status_code, answer["Location"]) == (302, link.url)
    assert f"link {link.pk} was not recorded" in caplog.text


@pytest.mark.django_db
def test_while_the_database_is_away_the_visitor_is_asked_to_come_again(monkeypatch):
    def fail(code):
        raise OperationalError("away")

    monkeypatch.setattr("messaging.views.links.find_link", fail)
    assert follow("abc").status_code == 503


@pytest.mark.django_db
@pytest.mark.parametrize("code", ["nobodys", "x" * 500, "%00", "https:evil.example", "..%2f", "ü"])
def test_a_code_that_is_nobodys_leads_nowhere(code):
    answer = follow(code)
    assert answer.status_code == 404
    assert "Location" not in answer
    assert answer["Content-Type"].startswith("text/plain") or b"<script" not in answer.content


@pytest.mark.django_db
def test_nothing_in_the_request_says_where_to_go(shop):
    (link,) = make_link()
    for query in ("?url=https://evil.example", "?next=//evil.example"):
        assert Client().get(f"/l/{link.code}{query}", headers={"User-Agent": PHONE})["Location"] == link.url
    assert Client().post(f"/l/{link.code}").status_code == 405


@pytest.mark.django_db
def test_a_click_belongs_to_the_links_tenant(shop, other_tenant):
    (link,) = make_link()
    follow(link.code)
    with tenancy.tenant_scope(other_tenant.pk):
        assert Click.objects.count() == 0
        assert ShortLink.objects.count() == 0
    assert reload(Click.objects.get()).tenant_id == shop.pk


def test_a_message_without_a_time_of_sending_is_told_by_the_call(db):
    row = SimpleNamespace(sent_at=None, started_at=NOW)
    assert bot_reason(method="GET", user_agent=PHONE, purpose="", sent_at=row.sent_at or row.started_at, now=NOW)


def test_a_reference_is_a_uuid():
    assert read_token(unsubscribe_token(uuid.UUID(int=0), secret=b"s"), secret=b"s") == uuid.UUID(int=0)


def test_links_that_touch_in_a_text_made_of_html_are_each_their_own():
    text = "[One](https://shop.example/one)[Two](https://shop.example/two), (see https://a.example/b_(c)). https://x.example!"
    seen = []
    written = replace_links(text, lambda url: seen.append(url) or "S", is_html=False)
    assert seen == [
        "https://shop.example/one",
        "https://shop.example/two",
        "https://a.example/b_(c)",
        "https://x.example",
    ]
    assert written == "[One](S)[Two](S), (see S). S!"
