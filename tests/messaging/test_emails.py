"""E-mails: safe HTML whatever a template or a value says, a text, one line of subject, and a way to unsubscribe."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.emails import CLIPPED_BYTES, MAX_SUBJECT, Email, check_email, clean_html, render_email
from messaging.rendering import MAX_HTML, MissingValue, TemplateError

BREAK = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
LINK = "https://shop.example.com/u/token"
ADA = {"contact": {"first_name": "Ada", "last_name": "", "attributes": {}}, "unsubscribe_url": LINK}


def render(body: str = "<p>Hi {{ contact.first_name }}</p>", *, subject: str = "News", **given) -> Email:
    values = given.pop("values", ADA)
    return render_email(subject=subject, body=body, values=values, **given)


class Tags(HTMLParser):
    """Collects tags and attributes as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def seen(html: str) -> Tags:
    parser = Tags()
    parser.feed(html)
    return parser


def test_values_are_escaped_in_html_and_not_in_text_or_subject():
    values = {**ADA, "contact": {"first_name": '<img src=x onerror="alert(1)"> & Co', "attributes": {}}}
    email = render(subject="Hi {{ contact.first_name }}", text="Hi {{ contact.first_name }}", values=values)
    assert "&lt;img src=x onerror=" in email.html
    assert "img" not in seen(email.html).tags
    assert email.subject == 'Hi <img src=x onerror="alert(1)"> & Co'
    assert email.text.startswith('Hi <img src=x onerror="alert(1)"> & Co')


@pytest.mark.parametrize(
    "line",
    ["Hi\r\nBcc: everybody@example.com", "Hi\nBcc: x", "Hi\x00\x0b\x0c\x1b x", "Hi\u2028x", "{{ contact.first_name }}"],
)
def test_a_subject_is_one_line(line):
    values = {**ADA, "contact": {"first_name": "Ada\r\nX-Evil: 1", "attributes": {}}}
    subject = render(subject=line, values=values).subject
    assert not re.search(BREAK, subject)
    assert subject == " ".join(subject.split())


def test_emoji_and_other_alphabets_stay_in_a_subject():
    subject = "👨‍👩‍👧 خبر Νέα"
    assert render(subject=subject).subject == subject


def test_a_subject_is_not_longer_than_it_may_be_and_not_empty():
    email = render(subject="x" * (MAX_SUBJECT + 50))
    assert len(email.subject) == MAX_SUBJECT
    with pytest.raises(TemplateError, match="subject is empty"):
        render(subject=" {% comment %}x{% endcomment %} ")


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>",
        '<img src="https://x.example/a.png" onerror="alert(1)">',
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" jAva&#9;script:alert(1)">x</a>',
        '<a href="data:text/html,<script>alert(1)</script>">x</a>',
        '<img src="data:image/svg+xml;base64,PHN2Zz4=">',
        '<img src="vbscript:x">',
        '<form action="https://x.example"><input name="a"><button>Go</button></form>',
        '<iframe src="https://x.example"></iframe><object data="x"></object><embed src="x">',
        '<meta http-equiv="refresh" content="0;url=https://x.example"><base href="https://x.example">',
        '<link rel="stylesheet" href="https://x.example/a.css"><style>@import "https://x.example/a.css";</style>',
        '<div style="position:fixed;top:0;background:url(javascript:alert(1))">x</div>',
        '<div style="width: expression(alert(1))">x</div>',
        '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
        '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
        '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
        "<!--[if mso]><script>alert(1)</script><![endif]-->",
        '<table background="javascript:alert(1)"><tr><td background="data:text/html,x">x</td></tr></table>',
        '<body onload="alert(1)"><p>x</p></body>',
    ],
)
def test_what_could_do_something_is_gone(evil):
    html = render(f"<p>before</p>{evil}<p>after</p>").html
    found = seen(html)
    assert not {"script", "iframe", "object", "embed", "form", "input", "button", "base", "link", "svg", "style"} & {
        *found.tags
    }
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    loud = [value for name, value in found.attributes if re.search(r"script:|data:|expression|position|@import", value)]
    assert loud == []
    assert "before" in html
    assert html.count("<meta") == 2  # those of our own


PIECES = [
    *(
        "<a href=",
        "<img src=",
        '"',
        "'",
        ">",
        "<",
        "javascript:",
        "data:",
        "onclick=",
        "x",
        " ",
        "</",
        "style=",
        "url(",
    ),
    *(
        "<style>",
        "</style>",
        "<svg>",
        "<script>",
        "<!--",
        "-->",
        "\x00",
        "&#106;",
        "<body ",
        "</body>",
        "\\6a",
        "<table>",
    ),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_no_mixture_gets_a_script_or_a_handler_through(pieces):
    found = seen(clean_html("".join(pieces)))
    assert "script" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [value for name, value in found.attributes if name in {"href", "src"} and "script:" in value.lower()]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_a_value_stays_text_and_changes_no_structure(value):
    values = {**ADA, "contact": {"first_name": value or "x", "attributes": {}}}
    body = '<p title="{{ contact.first_name }}">{{ contact.first_name }}</p>'
    try:
        email = render(body, subject="Hi {{ contact.first_name }}!", values=values)
    except MissingValue:
        return
    assert seen(email.html).tags == ["html", "head", "meta", "meta", "body", "div", "p", "div", "a"]
    assert not re.search(BREAK, email.subject)


def test_css_is_put_into_the_tags_and_the_bodys_into_a_division():
    style = "<style>body { color: red } .x td { padding: 4px; position: fixed } a:hover { color: blue }</style>"
    html = render(
        f'<html><head>{style}<title>T</title></head><body><table class="x"><tr><td>a</td></tr></table></body>'
    ).html
    assert '<td style="padding:4px">a</td>' in html
    assert '<div style="color:red">' in html
    assert "<title" not in html
    assert "class" not in html


def test_no_style_sheet_is_fetched(tmp_path, httpserver):
    sheet = tmp_path / "a.css"
    sheet.write_text("p { color: red }")
    httpserver.expect_request("/a.css").respond_with_data("p { color: red }", content_type="text/css")
    for href in (sheet.as_uri(), str(sheet), httpserver.url_for("/a.css")):
        assert "color:red" not in render(f'<link rel="stylesheet" href="{href}"><p>x</p>').html
    assert httpserver.log == []


def test_pictures_in_the_e_mail_itself_stay():
    assert 'src="data:image/png;base64,AAAA"' in render('<img src="data:image/png;base64,AAAA" alt="x">').html


def test_the_text_is_made_from_the_html_unless_the_template_has_one():
    body = '<h1>Sale</h1><p>Hi {{ contact.first_name }}, see <a href="https://shop.example.com/sale?a=1&amp;b=2">it</a></p>'
    made = render(body).text
    assert "Hi Ada, see [it](https://shop.example.com/sale?a=1&b=2)" in made
    assert render(body, text="Dear {{ contact.first_name }}").text.startswith("Dear Ada\n")


def test_what_the_template_leaves_out_the_footer_says():
    email = render(postal_address="Shop Ltd\n1 <Main> St")
    assert f'<a href="{LINK}"' in email.html
    assert "Shop Ltd<br>1 &lt;Main&gt; St<br>" in email.html
    assert email.text.endswith(f"--\nShop Ltd\n1 <Main> St\nUnsubscribe: {LINK}")


def test_a_template_with_the_link_has_no_footer():
    email = render(
        '<p><a href="{{ unsubscribe_url }}">Bye</a></p>', text="Bye: {{ unsubscribe_url }}", postal_address="X"
    )
    assert email.html.count(LINK) == email.text.count(LINK) == 1
    assert "Unsubscribe" not in email.html + email.text


@pytest.mark.parametrize(
    "body",
    [
        '{% if contact.last_name %}<a href="{{ unsubscribe_url }}">Bye</a>{% endif %}x',
        "<!-- {{ unsubscribe_url }} -->x",
        '<form action="{{ unsubscribe_url }}"></form>x',
    ],
)
def test_a_link_that_nobody_would_see_does_not_count(body):
    assert f'<a href="{LINK}"' in render(body).html


def test_without_a_link_there_is_no_footer():
    email = render(values={**ADA, "unsubscribe_url": ""}, postal_address="X")
    assert "Unsubscribe" not in email.html + email.text


def test_a_long_e_mail_is_warned_of_and_a_longer_one_refused():
    assert render().warnings == ()
    assert "Gmail cuts off" in render("<p>" + "x" * CLIPPED_BYTES + "</p>").warnings[0]
    with pytest.raises(TemplateError, match=r"is the most|output stream limit"):
        render("<p>" + "é" * (MAX_HTML // 2 + 10) + "</p>")


def test_what_is_missing_has_its_default_or_no_e_mail():
    body = "<p>{{ contact.last_name }}</p>"
    assert "&lt;you&gt;" in render(body, defaults={"contact.last_name": "<you>"}).html
    with pytest.raises(MissingValue, match=r"contact\.last_name"):
        render(body)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"subject": " "}, "subject"),
        ({"subject": "{{ x"}, "subject"),
        ({"body": "{% if %}"}, "body"),
        ({"text": "{{ x | nofilter }}"}, "text"),
        ({"defaults": {"contact.nick": "x"}}, "defaults"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(given, field):
    draft = {"subject": "Hi {{ contact.first_name }}", "body": "<p>x</p>", "text": "", "defaults": {}}
    check_email(**draft | {"defaults": {"contact.first_name": "you"}})
    with pytest.raises(TemplateError) as caught:
        check_email(**draft | given)
    assert caught.value.field == field


def test_a_usual_e_mail_takes_a_few_milliseconds():
    row = '<tr><td class="a">Hello {{ contact.first_name }} <a href="https://shop.example.com/p/1">thing</a></td></tr>'
    body = f"<style>td {{ color: red }} .a {{ padding: 3px }}</style><table>{row * 40}</table>"
    for text in ("", "Hello"):
        started = time.perf_counter()
        for _ in range(20):
            render(body, text=text)
        each = (time.perf_counter() - started) / 20 * 1000
        print(f"an e-mail of {len(body) // 1024} KB, text {'given' if text else 'made'}: {each:.1f} ms")
        assert each < 100
