"""E-mails (pure): a template and a recipient's values in; subject, safe HTML and its text out.

The HTML is rendered with values escaped, its CSS is put into the tags (e-mail programs drop style sheets), and what is
left is taken apart and written anew with the tags, attributes, styles and schemes on the lists below; all else is
gone. Every e-mail ends with a way to unsubscribe: what its template does not write, the footer does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import css_inline
import html2text
import nh3

from messaging.rendering import MAX_HTML, TemplateError, check_defaults, check_template, render_html, render_text

MAX_SUBJECT = 250
MAX_EMAIL_TEXT = 100_000
CLIPPED_BYTES = 102_400  # Gmail shows no more of an e-mail than this


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TAGS = _words(
    "a abbr address article aside b big blockquote br caption center cite code col colgroup dd del dfn div dl dt em"
    " figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark ol p pre q s samp section"
    " small span strike strong sub sup table tbody td tfoot th thead tr tt u ul var wbr"
)
_EVERYWHERE = _words("align aria-hidden aria-label bgcolor border color dir height lang role style title valign width")
_OF_TABLES = _words("abbr background cellpadding cellspacing colspan headers rowspan scope")
_ATTRIBUTES = {
    "*": _EVERYWHERE,
    "a": {"href", "name"},
    "img": {"alt", "hspace", "src", "vspace"},
    "font": {"face", "size"},
    "ol": {"start", "type"},
    "ul": {"type"},
    "li": {"value"},
    **dict.fromkeys(("table", "td", "th", "tr", "col", "colgroup"), _OF_TABLES),
}
# No position, no z-index: nothing lies over what the e-mail program itself shows.
_STYLES = _words(
    "background background-color background-image background-position background-repeat background-size border"
    " border-bottom border-bottom-color border-bottom-style border-bottom-width border-collapse border-color"
    " border-left border-left-color border-left-style border-left-width border-radius border-right"
    " border-right-color border-right-style border-right-width border-spacing border-style border-top"
    " border-top-color border-top-style border-top-width border-width box-sizing clear color direction display float"
    " font font-family font-size font-style font-variant font-weight height letter-spacing line-height list-style"
    " list-style-type margin margin-bottom margin-left margin-right margin-top max-height max-width min-height"
    " min-width opacity overflow overflow-wrap padding padding-bottom padding-left padding-right padding-top"
    " table-layout text-align text-decoration text-indent text-transform vertical-align visibility white-space width"
    " word-break word-spacing word-wrap"
)
_SCHEMES = frozenset(("http", "https", "mailto", "tel", "sms", "data"))
_PICTURE = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,[A-Za-z0-9+/=\s]+", re.IGNORECASE)
_DATA = re.compile(r"[\x00-\x20]*d\s*a\s*t\s*a\s*:", re.IGNORECASE)
_UNSAFE_STYLE = re.compile(r"\\|expression|javascript|vbscript|@import|url\(\s*['\"]?(?!https?://)", re.IGNORECASE)
_BREAK = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # what has no place in a header
_BODY = re.compile(r'<body((?:\s+[^\s"=<>]+(?:="[^"]*")?)*)\s*>')
_DOCUMENT = (
    '<!DOCTYPE html>\n<html><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"></head>\n<body>\n{}\n</body></html>\n'
)
_FOOTER = (
    '<div style="color:#6b7280;font-family:sans-serif;font-size:12px;line-height:18px;padding:24px;text-align:center">'
    "{}{}</div>"
)
_LINK = '<a href="{}" style="color:#6b7280">Unsubscribe</a>'


def _keep(tag: str, name: str, value: str) -> str | None:
    """Look at an attribute that is on the list: data: is for pictures alone, and a style fetches by http(s) only."""
    if name == "style":
        return None if _UNSAFE_STYLE.search(value) else value
    if name == "background":
        return value if value.lower().startswith(("http://", "https://")) else None
    if _DATA.match(value) and name in {"href", "src"}:
        return value if (tag, name) == ("img", "src") and _PICTURE.fullmatch(value) else None
    return value


_inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=False, keep_link_tags=False)
_cleaner = nh3.Cleaner(
    tags=set(_TAGS),
    clean_content_tags={"script", "style", "title", "template", "noscript", "iframe", "object", "svg", "math"},
    attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
    attribute_filter=_keep,
    url_schemes=set(_SCHEMES),
    url_relative="deny",
    link_rel=None,
    filter_style_properties=set(_STYLES),
)


@dataclass(frozen=True, slots=True)
class Email:
    """An e-mail as it leaves; `warnings` are for whoever writes the template."""

    subject: str
    html: str
    text: str
    warnings: tuple[str, ...] = ()


def check_email(*, subject: str, body: str, text: str, defaults: Mapping[str, str]) -> None:
    """Check an e-mail's three templates; a default may be of a name in any of them.

    Raises: TemplateError, whose `field` is subject, body, text or defaults.
    """
    if not subject.strip():
        raise TemplateError("an e-mail has a subject", field="subject")
    names = check_template(subject, field="subject") | check_template(body, is_html=True, field="body")
    names |= check_template(text, field="text")
    check_defaults(defaults, names)


def render_email(
    *,
    subject: str,
    body: str,
    text: str = "",
    values: Mapping[str, object],
    defaults: Mapping[str, str] | None = None,
    postal_address: str = "",
) -> Email:
    """Render an e-mail for one recipient; `values` hold its unsubscribe_url (empty: no footer).

    Raises: MissingValue, TemplateError.
    """
    line = " ".join(_BREAK.sub(" ", render_text(subject, values, defaults=defaults, most=10 * MAX_SUBJECT)).split())
    if not line:
        raise TemplateError("the subject is empty", field="subject")
    content = clean_html(render_html(body, values, defaults=defaults))
    plain = render_text(text, values, defaults=defaults, most=MAX_EMAIL_TEXT) if text else to_text(content)
    url = str(values.get("unsubscribe_url") or "")
    seen = plain if not text else to_text(content) if escape(url) in content else ""
    html = _DOCUMENT.format(_with_footer(content, url, postal_address, seen=seen))
    size = len(html.encode())
    if size > MAX_HTML:
        raise TemplateError(f"the e-mail is {size} bytes long; {MAX_HTML} is the most", field="body")
    return Email(line[:MAX_SUBJECT], html, _with_text_footer(plain, url, postal_address), _warnings(line, size))


def clean_html(html: str) -> str:
    """Put the CSS into the tags, and keep what is on our lists; the body becomes a division, with its styles.

    Raises: TemplateError for CSS that can't be read.
    """
    try:
        inlined = _inliner.inline(html)
    except (css_inline.InlineError, ValueError) as error:
        raise TemplateError(f"the CSS can't be put into the tags: {error}", field="body") from error
    divided = _BODY.sub(r"<div\1>", inlined, count=1).replace("</body>", "</div>")
    return str(_cleaner.clean(divided)).strip()


def to_text(html: str) -> str:
    """Write HTML as plain text, links as `[words](address)`."""
    writer = html2text.HTML2Text(bodywidth=0)
    writer.ignore_images = writer.ignore_tables = writer.ignore_emphasis = True
    return writer.handle(html).strip()[:MAX_EMAIL_TEXT]


def _with_footer(html: str, url: str, postal_address: str, *, seen: str) -> str:
    """Add what the template does not show by itself: the postal address, the link to unsubscribe.

    seen: the HTML as text: what stands in a title, or behind no words, nobody sees.
    """
    if not url:
        return html
    link = "" if url in seen.replace(f"[]({url})", "") else _LINK.format(escape(url))
    address = [line.strip() for line in postal_address.splitlines() if line.strip()]
    lines = "" if seen and _says(seen, address) else "".join(f"{escape(line)}<br>" for line in address)
    return f"{html}\n{_FOOTER.format(lines, link)}" if lines or link else html


def _with_text_footer(text: str, url: str, postal_address: str) -> str:
    if not url:
        return text
    address = [line.strip() for line in postal_address.splitlines() if line.strip()]
    missing = [*([] if _says(text, address) else address), *([] if url in text else [f"Unsubscribe: {url}"])]
    return "\n".join([text, "", "--", *missing]) if missing else text


def _says(text: str, address: list[str]) -> bool:
    return all(line in text for line in address)


def _warnings(subject: str, size: int) -> tuple[str, ...]:
    found = []
    if size > CLIPPED_BYTES:
        found.append(f"The e-mail is {size // 1024} KB long: Gmail cuts off what is over {CLIPPED_BYTES // 1024} KB.")
    if len(subject) > MAX_SUBJECT:
        found.append(f"The subject is {len(subject)} characters long: it is cut off after {MAX_SUBJECT}.")
    return tuple(found)
