"""How a text becomes parts of an SMS (pure): GSM-7 or UCS-2, how many parts, and what could be written shorter.

GSM-7: 160 septets in one part, 153 in each of several; a character of the extension table takes two, and both lie in
one part. One other character turns the whole text to UCS-2: 70 UTF-16 units in one part, 67 in each of several, and a
surrogate pair lies in one part.
Sources: 3GPP TS 23.038, section 6.2.1 (the tables) and TS 23.040, section 9.2.3.24 (parts).
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Encoding = Literal["GSM-7", "UCS-2"]

GSM_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = "\f^{}\\[~]|€"
_SEPTETS = dict.fromkeys(GSM_BASIC, 1) | dict.fromkeys(GSM_EXTENSION, 2)
_ROOM: dict[Encoding, tuple[int, int]] = {"GSM-7": (160, 153), "UCS-2": (70, 67)}


@dataclass(frozen=True, slots=True)
class Sms:
    """A text as it is sent: `units` are septets (GSM-7) or UTF-16 code units (UCS-2); an empty text is one part."""

    encoding: Encoding
    units: int
    parts: tuple[str, ...]


def split_sms(text: str) -> Sms:
    """Cut a text into the parts that it is sent and charged as.

    Raises: ValueError for half of a surrogate pair, which no encoding can carry.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("the text holds half of a surrogate pair")
    encoding: Encoding = "GSM-7" if all(character in _SEPTETS for character in text) else "UCS-2"
    sizes = [_size(character, encoding) for character in text]
    single, several = _ROOM[encoding]
    units = sum(sizes)
    parts = (text,) if units <= single else tuple(_cut(zip(text, sizes, strict=True), several))
    return Sms(encoding, units, parts)


def _size(character: str, encoding: Encoding) -> int:
    if encoding == "GSM-7":
        return _SEPTETS[character]
    return 2 if character > "\uffff" else 1


def _cut(sized: Iterable[tuple[str, int]], room: int) -> Iterable[str]:
    part: list[str] = []
    used = 0
    for character, size in sized:
        if used + size > room:
            yield "".join(part)
            part, used = [], 0
        part.append(character)
        used += size
    yield "".join(part)


@dataclass(frozen=True, slots=True)
class Change:
    """A character that smart encoding writes otherwise, and how often it stands in the text."""

    was: str
    now: str
    count: int


# What word processors put in of their own accord, and characters that look like those of GSM-7.
_PLAIN = {
    **dict.fromkeys("‘’‚‛′‵ʼˈ´`", "'"),
    **dict.fromkeys("“”„‟″‶«»", '"'),
    **dict.fromkeys("‐‑‒–—―−⁃", "-"),
    **dict.fromkeys("•·∙●▪", "*"),
    **dict.fromkeys(
        "\u00a0\t\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "
    ),
    **dict.fromkeys("\u00ad\u200b\u200e\u200f\u2060\ufeff", ""),
    **dict.fromkeys("\u2028\u2029\u0085", "\n"),
    "…": "...",
    "‹": "<",
    "›": ">",
    "⁄": "/",
    "™": "TM",
    "©": "(c)",
    "®": "(R)",
}
_GREEK_CAPITALS = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True))
_REPLACED = _PLAIN | _GREEK_CAPITALS


def smart_encode(text: str) -> tuple[str, tuple[Change, ...]]:
    """Write a text so that it fits GSM-7, if replacing what looks alike is enough; say what was changed.

    Letters are never exchanged for others that read differently: a text that would stay UCS-2 stays as it is. A letter
    and the accents that follow it become one character, where GSM-7 has it.
    """
    if split_sms(text).encoding == "GSM-7":
        return text, ()
    clusters = list(_clusters(text))
    written = [_write(cluster) for cluster in clusters]
    encoded = "".join(written)
    if split_sms(encoded).encoding != "GSM-7":
        return text, ()
    counts = Counter((was, now) for was, now in zip(clusters, written, strict=True) if was != now)
    return encoded, tuple(Change(was, now, count) for (was, now), count in counts.items())


def _clusters(text: str) -> Iterable[str]:
    """Cut a text into characters, each with the combining marks behind it."""
    cluster = ""
    for character in text:
        if cluster and not unicodedata.combining(character):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _write(cluster: str) -> str:
    return "".join(_REPLACED.get(character, character) for character in unicodedata.normalize("NFC", cluster))
