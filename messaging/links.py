"""Links in messages (pure): short codes, who follows them, and the token of an unsubscribe link.

A token is the message's reference and an HMAC over it, so that nobody can make one for a message that is not theirs,
and nothing has to be stored for it: 16 + 16 bytes, base64url without padding, 43 characters.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from html import escape, unescape

ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that reads like another: no 0, o, 1, i or l, and one case
CODE_LENGTH = 10  # 31^10 codes: 49.5 bits
MAX_URL = 2000
TOO_SOON = timedelta(seconds=2)  # nobody reads a message within so little of its sending
TOGETHER = timedelta(seconds=1)  # nobody follows two of its links within so little

_MAC_BYTES = 16
_PURPOSE = b"unsubscribe|"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_UNSUBSCRIBE = re.compile(r"https?://[^\s?#]+/u/[A-Za-z0-9_-]{43}", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s<>\"'\x00-\x20]+", re.IGNORECASE)
_TRAILING = ".,;:!?…*_'\"»”’"
_SHORTEST = len("http://")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_ANCHOR = re.compile(r'<a((?:\s+[^\s"=<>/]+(?:="[^"]*")?)+)\s*>')
_HREF = re.compile(r'(\shref=")(https?://[^"]*)(")', re.IGNORECASE)

_SCANNERS = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|preview|scan|monitor|facebookexternalhit|facebookcatalog|whatsapp|skypeuri"
    r"|embedly|vkshare|barracuda|proofpoint|mimecast|symantec|trendmicro|sophos|forcepoint|safelinks|urldefense"
    r"|googleimageproxy|google-safety|headless|phantomjs|python-|aiohttp|httpx|curl/|wget/|go-http|java/|okhttp"
    r"|libwww|axios|node-fetch|postman|ms-office|microsoft office|outlook-",
    re.IGNORECASE,
)


def new_code() -> str:
    """Make a short link's code: random, and easy to type."""
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))


def is_code(code: str) -> bool:
    """Can this be a short link's code?"""
    return 0 < len(code) <= 16 and code.isascii() and code.isalnum()


def replace_links(text: str, write: Callable[[str], str | None], *, is_html: bool) -> str:
    """Put what `write` returns in the place of each http(s) link; None leaves it.

    Of HTML the addresses of `<a>` alone are replaced, as render_email writes them (double quotes); of text whatever
    begins with http(s), without the punctuation behind it.
    """
    if is_html:
        return _ANCHOR.sub(lambda anchor: _HREF.sub(lambda found: _href(found, write), anchor[0]), text)
    pieces, at = list[str](), 0
    while found := _URL.search(text, at):
        url = _without_punctuation(found[0])
        pieces += [text[at : found.start()], write(url) or url]
        at = found.start() + len(url)
    return "".join(pieces) + text[at:]


def _href(found: re.Match[str], write: Callable[[str], str | None]) -> str:
    short = write(unescape(found[2]))
    return found[0] if short is None else f"{found[1]}{escape(short)}{found[3]}"


def _without_punctuation(url: str) -> str:
    """Leave out what ends the sentence, and whatever follows a bracket that was opened before the link."""
    opened = Counter[str]()
    for place, character in enumerate(url):
        if character in _PAIRS and not opened[_PAIRS[character]]:
            url = url[:place]
            break
        opened[_PAIRS.get(character, character)] += -1 if character in _PAIRS else 1
    while len(url) > _SHORTEST and url[-1] in _TRAILING:
        url = url[:-1]
    return url


def is_own_link(url: str, *, base_urls: Iterable[str]) -> bool:
    """Is it a link of ours already: a short one at one of these sites, or an unsubscribe link?

    An unsubscribe link is told by its form at any site: whoever follows it opts out, which is no click, also where the
    short links of a sender are at a site of its own.
    """
    ours = tuple(f"{base_url}/{path}/" for base_url in base_urls for path in ("u", "l"))
    return url.startswith(ours) or _UNSUBSCRIBE.fullmatch(url) is not None


def is_shortened(url: str, *, base_urls: Iterable[str]) -> bool:
    """Does this link become a short one?"""
    return len(url) <= MAX_URL and not is_own_link(url, base_urls=base_urls)


def sample_links(text: str, *, base_url: str) -> str:
    """Write a text with short links of the right length that lead nowhere, for a preview."""
    sample = sample_link(base_url)
    return replace_links(text, lambda url: sample if is_shortened(url, base_urls=[base_url]) else None, is_html=False)


def sample_link(base_url: str) -> str:
    """Return the short link that stands for each recipient's own."""
    return f"{base_url}/l/{'x' * CODE_LENGTH}"


def bot_reason(*, method: str, user_agent: str, purpose: str, sent_at: datetime | None, now: datetime) -> str:
    """Say why a click is no person's; empty when it may be one. `purpose` is what a prefetching browser says."""
    if method == "HEAD":
        return "head_request"
    if purpose and re.search("prefetch|prerender|preview", purpose, re.IGNORECASE):
        return "prefetch"
    if not user_agent.strip():
        return "no_user_agent"
    if _SCANNERS.search(user_agent):
        return "user_agent"
    if sent_at is not None and now - sent_at < TOO_SOON:
        return "too_soon"
    return ""


def unsubscribe_token(reference: uuid.UUID, *, secret: bytes) -> str:
    """Make the token of a message's unsubscribe link."""
    return base64.urlsafe_b64encode(reference.bytes + _mac(reference, secret)).decode().rstrip("=")


def unsubscribe_url(reference: uuid.UUID, *, base_url: str, secret: bytes) -> str:
    """Make a message's unsubscribe link."""
    return f"{base_url}/u/{unsubscribe_token(reference, secret=secret)}"


def read_token(token: str, *, secret: bytes) -> uuid.UUID | None:
    """Return the reference in a token; None for a token that was not made with this secret."""
    if not _TOKEN.fullmatch(token):
        return None
    raw = base64.urlsafe_b64decode(f"{token}=")
    reference = uuid.UUID(bytes=raw[:16])
    made = unsubscribe_token(reference, secret=secret)  # compared whole: one token has one spelling
    return reference if hmac.compare_digest(made, token) else None


def _mac(reference: uuid.UUID, secret: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + reference.bytes, "sha256")[:_MAC_BYTES]
