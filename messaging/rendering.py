"""Templates (pure): Liquid in, text out, with limits on what a template may cost.

A value that is not there, or is empty, is missing: where it is to be written, the template's declared default stands
for it, else there is no text. A condition may ask for it: `{% if contact.first_name %}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from liquid import BoundTemplate, Environment, FalsyStrictUndefined
from liquid.exceptions import LiquidError, UndefinedError

MAX_TEXT = 1600  # ten parts of a long SMS
MAX_TEMPLATE = 50_000


class TemplateError(ValueError):
    """A template that can't be rendered; the message says why."""


class MissingValue(TemplateError):  # noqa: N818  (of the recipient, not of the template)
    """A value is to be written that this recipient has not, and the template has no default for it."""


class _Environment(Environment):
    context_depth_limit = 10
    loop_iteration_limit = 1_000
    output_stream_limit = 20_000
    local_namespace_limit = 100_000


_environment = _Environment(undefined=FalsyStrictUndefined)


@lru_cache(maxsize=512)
def _parsed(template: str) -> BoundTemplate:
    return _environment.from_string(template)


def check_template(template: str, *, defaults: Mapping[str, str] | None = None) -> None:
    """Parse a template without rendering it; defaults are by the name that they stand for, e.g. contact.first_name.

    Raises: TemplateError, also for a default of a name that the template does not write.
    """
    if len(template) > MAX_TEMPLATE:
        raise TemplateError(f"the template is longer than {MAX_TEMPLATE} characters")
    try:
        names = names_in(template)
    except LiquidError as error:
        raise TemplateError(f"the template can't be parsed: {error}") from error
    if strange := sorted(set(defaults or {}) - names):
        raise TemplateError(f"there is a default for {strange[0]}, and the template writes {_list(names)}")


def names_in(template: str) -> set[str]:
    """List the names that a template uses, e.g. contact.first_name.

    Raises: LiquidError.
    """
    used = _parsed(template).analyze().globals
    return {".".join(map(str, variable.segments)) for variables in used.values() for variable in variables}


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "no names"


def render_text(template: str, values: Mapping[str, object], *, defaults: Mapping[str, str] | None = None) -> str:
    """Render a template into plain text of 1 to MAX_TEXT characters.

    Raises: MissingValue, TemplateError.
    """
    text = _render(template, values, defaults or {}).strip()
    if len(text) > MAX_TEXT:
        raise TemplateError(f"the text is {len(text)} characters long; {MAX_TEXT} is the most")
    return text


def _render(template: str, values: Mapping[str, object], defaults: Mapping[str, str]) -> str:
    try:
        return _parsed(template).render(**_with_defaults(values, defaults))
    except UndefinedError as error:
        raise MissingValue(str(error).partition("\n")[0].removesuffix(" is undefined")) from error
    except LiquidError as error:
        raise TemplateError(f"the template can't be rendered: {error}") from error


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


def _known(values: Mapping[str, object]) -> dict[str, Any]:
    found = {name: _known(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None and value != ""}
