"""What a reply by SMS asks for (pure): to stop, to start again, for help; a near miss is left to a person.

A keyword is a whole message, whatever its case, accents, punctuation and emoji. A text that has a keyword among other
words, or a slip of the pen, is never acted upon: it goes to the review queue. A keyword that is plainly negated ("don't
stop") is conversation.
Sources: https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out (whole message, one word),
https://docs.aws.amazon.com/sms-voice/latest/userguide/keywords-required.html (ARRET, OPT-OUT, REMOVE, TD),
47 CFR 64.1200(a)(10) (stop, quit, end, revoke, opt out, cancel, unsubscribe).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["optout", "optin", "help", "review", "conversation"]

# By language; each tenant chooses the languages that its recipients write. English is always understood.
KEYWORDS: Mapping[str, Mapping[str, Kind]] = {
    "en": {
        **dict.fromkeys(("stop", "unsubscribe", "end", "quit", "stopall", "revoke", "optout", "cancel"), "optout"),
        **dict.fromkeys(("remove", "td", "arret"), "optout"),
        **dict.fromkeys(("start", "yes", "unstop"), "optin"),
        **dict.fromkeys(("help", "info"), "help"),
    },
    "de": {"stopp": "optout", "abmelden": "optout", "abbestellen": "optout", "anmelden": "optin", "hilfe": "help"},
    "el": {"στοπ": "optout", "διαγραφη": "optout", "τελος": "optout", "εναρξη": "optin", "βοηθεια": "help"},
    "es": {"alto": "optout", "baja": "optout", "parar": "optout", "iniciar": "optin", "alta": "optin", "ayuda": "help"},
    "fr": {"arret": "optout", "arreter": "optout", "desabonner": "optout", "debut": "optin", "aide": "help"},
    "it": {"ferma": "optout", "annulla": "optout", "cancellami": "optout", "inizia": "optin", "aiuto": "help"},
    "nl": {"afmelden": "optout", "stoppen": "optout", "aanmelden": "optin"},
    "pt": {"parar": "optout", "sair": "optout", "cancelar": "optout", "iniciar": "optin", "ajuda": "help"},
}
LANGUAGES = tuple(sorted(KEYWORDS))

# Ways to say it in a sentence: a person looks at these.
_WISHES = re.compile(
    r"\b(take me off|remove me|leave me alone|no more (texts?|messages?|sms|e?mails?)"
    r"|do(n ?t| not) (text|message|contact)"
    r"|stop (it|this|that|now|texting|messaging|sending|please)|please stop|unsubscribe|opt(ing)? (me )?out"
    r"|wrong number|delete (me|my (number|data))|lose (my|this) number)\b"
)
_NEGATED = re.compile(
    r"\b(do ?n ?t|do not|dont|never|not|wo ?n ?t|ca ?n ?t|cannot|no need to|please do not) ((ever|please|just|you) )?$"
)
_STOP_SIGNS = frozenset("🛑⛔🚫✋🤚")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a reply asks for; `keyword` is the one that was found, or nearly."""

    kind: Kind
    keyword: str = ""


def read_reply(text: str, *, languages: Iterable[str] = ()) -> Reply:
    """Read a reply; `languages` are codes of KEYWORDS beside English.

    Raises: KeyError for a language that has no keywords here.
    """
    known = _known(tuple(languages))
    words = _words(text)
    whole = "".join(words)
    # 1. A keyword by itself: spelled with dots or a hyphen it still is one word.
    if len(words) <= 1 and whole in known:
        return Reply(known[whole], whole)
    if words == ["opt", "out"] or (_is_spelled(text, words) and whole in known):
        return Reply(known[whole], whole)
    # 2. A near miss.
    if not words and (signs := _STOP_SIGNS.intersection(text)):
        return Reply("review", min(signs))
    if near := _near(words, known):
        return Reply("review", near)
    return Reply("conversation")


@lru_cache(maxsize=256)
def _known(languages: tuple[str, ...]) -> dict[str, Kind]:
    """Gather the keywords of English and of these languages, written as replies are read."""
    chosen = [KEYWORDS[language] for language in ("en", *languages)]
    return {"".join(_words(word)): kind for words in chosen for word, kind in words.items()}


def _words(text: str) -> list[str]:
    """List the words: lower case, without accents, punctuation and symbols."""
    plainer = unicodedata.normalize("NFKC", text)  # first: letters of mathematics ("𝗦𝗧𝗢𝗣") have no lower case
    decomposed = unicodedata.normalize("NFKD", plainer.casefold())
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    apart = re.sub(r"[‘’'`]", "", plain)
    return re.findall(r"[^\W_]+", apart)


def _is_spelled(text: str, words: list[str]) -> bool:
    """Is one word taken apart by punctuation alone ("S.T.O.P.", "opt-out")?"""
    return len(words) > 1 and not re.search(r"\w\s+\w", text.strip())


def _near(words: list[str], known: Mapping[str, Kind]) -> str:
    """Name the keyword that a text nearly is, or that stands in it without being denied; empty when there is none."""
    asks = {word for word, kind in known.items() if kind == "optout"}
    sentence = " ".join(words)
    whole = "".join(words)
    if len(words) <= 4 and whole in asks:
        return whole  # "ST OP"
    if wish := _WISHES.search(sentence):
        return "" if _NEGATED.search(sentence[: wish.start()]) else wish.group()
    if len(words) == 1 and len(whole) > 2:
        return next((word for word in sorted(asks) if len(word) > 3 and _is_slip(whole, word)), "")
    if len(words) > 12:
        return ""  # a letter, not a reply: a word like "end" in it says nothing
    for position, word in enumerate(words):
        before = "".join(f"{earlier} " for earlier in words[:position])
        if word in asks and len(word) > 2 and not _NEGATED.search(before):
            return word
    return ""


def _is_slip(word: str, keyword: str) -> bool:
    """Are they one slip apart: a letter too many, missing, wrong, or two exchanged?"""
    if word == keyword or abs(len(word) - len(keyword)) > 1:
        return False
    if len(word) == len(keyword):
        wrong = [at for at, (one, other) in enumerate(zip(word, keyword, strict=True)) if one != other]
        if len(wrong) == 1:
            return True
        exchanged = len(wrong) == 2 and wrong[1] == wrong[0] + 1
        return exchanged and word[wrong[0]] == keyword[wrong[1]] and word[wrong[1]] == keyword[wrong[0]]
    longer, shorter = sorted((word, keyword), key=len, reverse=True)
    return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))
