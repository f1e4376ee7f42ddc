"""Templates (pure): Liquid in, text or HTML out, with limits on what a template may cost.

A value that is not there, or is empty, is missing: where it is to be written, the template's declared default stands
for it, else there is no text. A condition may ask for it: `{% if contact.first_name %}`.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, Protocol, TypeVar

from liquid import BoundTemplate, Environment, FalsyStrictUndefined, RenderContext
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.exceptions import LiquidError, ResourceLimitError, UndefinedError, UnknownFilterError

T = TypeVar("T")

MAX_TEXT = 1600  # ten parts of a long SMS
MAX_TEMPLATE = 50_000
MAX_HTML_TEMPLATE = 300_000
MAX_HTML = 500_000
_MOST_GAPS = 200
_IN_BRACKETS = re.compile(r"""\[(['"])(.*?)\1\]""")


class TemplateError(ValueError):
    """A template that can't be rendered; the message says why, and `field` which of its texts, where that is known."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class MissingValue(TemplateError):  # noqa: N818  (of the recipient, not of the template)
    """A value is to be written that this recipient has not, and the template has no default for it."""


class _Environment(Environment):
    context_depth_limit = 10
    loop_iteration_limit = 1_000
    output_stream_limit = 20_000
    local_namespace_limit = 100_000


class _HtmlEnvironment(_Environment):
    output_stream_limit = MAX_HTML


def _bounded(filter_: Callable[..., Any], growth: Callable[..., int]) -> Callable[..., Any]:
    """Refuse to make a text that no limit of the environment would see until it is there."""

    @wraps(filter_)
    def run(value: Any, *args: Any, **options: Any) -> Any:
        if growth(value, *map(str, args)) > MAX_HTML:
            raise ResourceLimitError("a filter's result is too long", token=None)
        return filter_(value, *args, **options)

    return run


def _made(environment: _Environment) -> _Environment:
    """Bound the filters that multiply: a chain of ten could make gigabytes of a line."""
    filters = environment.filters
    filters["replace"] = _bounded(filters["replace"], lambda text, old, new="": str(text).count(old) * len(new))
    filters["join"] = _bounded(filters["join"], lambda items, between=" ": _length_of(items) * len(between))
    return environment


_evaluate_range = RangeLiteral.evaluate


def _evaluate_short_range(literal: RangeLiteral, context: RenderContext) -> range:
    """Refuse a range that is longer than a loop may be: filters and `reversed` make a list of it before any limit of
    the environment is asked."""
    found = _evaluate_range(literal, context)
    if found.stop - found.start > _Environment.loop_iteration_limit:
        raise ResourceLimitError("a range is too long", token=literal.token)
    return found


RangeLiteral.evaluate = _evaluate_short_range  # type: ignore[method-assign, assignment]  # there is no other way in


def _length_of(items: Any) -> int:
    return len(items) if hasattr(items, "__len__") else 1


_plain = _made(_Environment(undefined=FalsyStrictUndefined))
_html = _made(_HtmlEnvironment(undefined=FalsyStrictUndefined, autoescape=True))


@lru_cache(maxsize=512)
def _parsed(template: str, is_html: bool = False) -> BoundTemplate:
    return (_html if is_html else _plain).from_string(template)


class Person(Protocol):
    """What a template may know of its recipient."""

    @property
    def first_name(self) -> str:
        """The given name."""

    @property
    def last_name(self) -> str:
        """The family name."""

    @property
    def email(self) -> str:
        """The address, or nothing."""

    @property
    def phone(self) -> str:
        """The number in E.164, or nothing."""

    @property
    def country(self) -> str:
        """ISO 3166-1, or nothing."""

    @property
    def locale(self) -> str:
        """A language tag, or nothing."""

    @property
    def attributes(self) -> Any:
        """The merchant's own values, by name."""

    @property
    def tags(self) -> Sequence[str]:
        """The merchant's own words."""


_FIELDS = ("first_name", "last_name", "email", "phone", "country", "locale")
# What values_of returns; what stands below an open one is the merchant's to name, or Liquid's.
_TEXTS = frozenset((*(f"contact.{name}" for name in _FIELDS), "tenant.name", "campaign.name", "unsubscribe_url"))
_OPEN = frozenset(("contact.attributes", "contact.tags"))
_LIQUIDS = frozenset(("now", "today"))  # moments of its own


@dataclass(frozen=True, slots=True)
class Names:
    """The names that messages of a kind have; below an open one any may be written."""

    texts: frozenset[str]
    open: frozenset[str] = frozenset()

    def __str__(self) -> str:
        shown = [f"{name}.NAME" if name == "contact.attributes" else name for name in sorted(self.open, reverse=True)]
        return ", ".join((*sorted(self.texts), *shown))


MESSAGE_NAMES = Names(_TEXTS, _OPEN)


def values_of(
    contact: Person, *, tenant_name: str, unsubscribe_url: str = "", campaign_name: str = ""
) -> dict[str, object]:
    """Return all that a message's template may write, by name."""
    return {
        "contact": {
            **{name: getattr(contact, name) for name in _FIELDS},
            "attributes": dict(contact.attributes or {}),
            "tags": list(contact.tags or ()),
        },
        "tenant": {"name": tenant_name},
        "campaign": {"name": campaign_name},
        "unsubscribe_url": unsubscribe_url,
    }


def check_template(
    template: str, *, defaults: Mapping[str, str] | None = None, is_html: bool = False, field: str = ""
) -> set[str]:
    """Parse a template, and try what it costs; return the names that it uses.

    Defaults are by the name that they stand for, e.g. contact.first_name. `field` is what an error is about.

    Raises: TemplateError, also for a default of a name that the template does not write.
    """
    most = MAX_HTML_TEMPLATE if is_html else MAX_TEMPLATE
    if len(template) > most:
        raise TemplateError(f"the template is longer than {most} characters", field=field)
    try:
        names = names_in(template, is_html=is_html)
    except (LiquidError, RecursionError) as error:
        raise TemplateError(f"the template can't be parsed: {error}", field=field) from error
    check_defaults(defaults or {}, names)
    _try(template, names, is_html=is_html, field=field)
    return names


def check_names(template: str, *, is_html: bool = False, field: str = "", names: Names = MESSAGE_NAMES) -> None:
    """Refuse a name that no message has: it would keep the message from everybody, or be empty in every condition.

    The merchant's own attributes are known by no list: of these any name may be written.

    Raises: TemplateError that names the first such name, and those there are; LiquidError.
    """
    used = _parsed(template, is_html).analyze().globals
    for variable in itertools.chain.from_iterable(used.values()):
        segments = variable.segments
        is_plain = all(isinstance(segment, str | int) for segment in segments)
        if is_plain and not _is_known(tuple(map(str, segments)), names):
            name = ".".join(map(str, segments))
            close = difflib.get_close_matches(name, [*names.texts, *names.open], n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            raise TemplateError(f"there is no {name}: a template may write {names}{hint}", field=field)


def _is_known(segments: tuple[str, ...], names: Names) -> bool:
    """Is it a name there is, or something of one, e.g. contact.first_name.size? All of a contact is known too."""
    below = segments[:2]
    if ".".join(below) in names.open or segments == ("contact",):
        return True
    *parents, last = segments
    texts = names.texts | _LIQUIDS
    return ".".join(segments) in texts or (last == "size" and ".".join(parents) in texts)


def check_defaults(defaults: Mapping[str, str], names: set[str]) -> None:
    """Refuse a default of a name that is not among those used.

    Raises: TemplateError.
    """
    if strange := sorted(set(defaults) - names):
        sentence = f"there is a default for {strange[0]}, and the template writes {_list(names)}"
        raise TemplateError(sentence, field="defaults")


# What filters raise for values that do not suit them: a date of the year 60,000, a number that is none, half a base64.
_OF_VALUES = (LiquidError, ArithmeticError, ValueError, TypeError, LookupError, OSError, RecursionError)


def _try(template: str, names: set[str], *, is_html: bool, field: str) -> None:
    """Render with a value for every name, to find the loop or the output that is without end before it is sent."""
    try:
        _parsed(template, is_html).render(**_with_defaults({}, dict.fromkeys(sorted(names), "x")))
    except ResourceLimitError as error:
        raise TemplateError(f"the template costs too much: {_first_line(error)}", field=field) from error
    except UnknownFilterError as error:
        raise TemplateError(f"the template can't be rendered: {_first_line(error)}", field=field) from error
    except _OF_VALUES:
        return  # the sample does not suit its filters: what a recipient's values do is seen when it is rendered


def names_in(template: str, *, is_html: bool = False) -> set[str]:
    """List the names that a template uses, e.g. contact.first_name.

    Raises: LiquidError.
    """
    used = _parsed(template, is_html).analyze().globals
    return {".".join(map(str, variable.segments)) for variables in used.values() for variable in variables}


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "no names"


def render_text(
    template: str, values: Mapping[str, object], *, defaults: Mapping[str, str] | None = None, most: int = MAX_TEXT
) -> str:
    """Render a template into plain text of at most `most` characters.

    Raises: MissingValue, TemplateError.
    """
    text = _render(template, values, defaults or {}).strip()
    if len(text) > most:
        raise TemplateError(f"the text is {len(text)} characters long; {most} is the most")
    return text


def render_html(template: str, values: Mapping[str, object], *, defaults: Mapping[str, str] | None = None) -> str:
    """Render a template into HTML: values are escaped, and what the template itself says is not.

    Raises: MissingValue, TemplateError.
    """
    return _render(template, values, defaults or {}, is_html=True)


def fill_gaps(render: Callable[[dict[str, str]], T], defaults: Mapping[str, str]) -> tuple[T, tuple[str, ...]]:
    """Call `render` with defaults, with `[name]` for each value that is missing; return the result and those names.

    Raises: TemplateError.
    """
    known, missing = dict(defaults), list[str]()
    while len(missing) < _MOST_GAPS:
        try:
            return render(known), tuple(missing)
        except MissingValue as error:
            name = str(error)
            if name in known:
                raise  # it can't be filled: another name stands in its place
            known[name] = f"[{name}]"
            missing.append(name)
    raise TemplateError(f"more than {_MOST_GAPS} values are missing")


def _render(template: str, values: Mapping[str, object], defaults: Mapping[str, str], *, is_html: bool = False) -> str:
    try:
        return str(_parsed(template, is_html).render(**_with_defaults(values, defaults)))
    except UndefinedError as error:
        name = _first_line(error).removesuffix(" is undefined")
        raise MissingValue(_IN_BRACKETS.sub(r".\2", name)) from error
    except _OF_VALUES as error:
        raise TemplateError(f"the template can't be rendered: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _with_defaults(values: Mapping[str, object], defaults: Mapping[str, str]) -> dict[str, Any]:
    """Leave out what is empty, and put the defaults in where nothing is."""
    known = _known(values)
    for name, default in defaults.items():
        *parents, last = name.split(".")
        place = known
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                break
        else:
            place.setdefault(last, default)
    return known


def _known(values: Mapping[str, object], path: str = "") -> dict[str, Any]:
    """Leave out what is empty."""
    known = _Named(path)
    for name, value in values.items():
        found = _known(value, f"{path}{name}.") if isinstance(value, Mapping) else value
        if found is not None and found != "":
            known[name] = found
    return known


class _Named(dict[str, Any]):
    """Values by name: an attribute called size is that, and not Liquid's word for how many there are."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def __missing__(self, name: object) -> object:
        if name in {"size", "first", "last"}:
            return FalsyStrictUndefined(str(name), hint=f"{self._path}{name} is undefined", token=None)
        raise KeyError(name)
