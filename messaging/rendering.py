"""Templates (pure): Liquid in, text out, with limits on what a template may cost."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from liquid import BoundTemplate, Environment, StrictUndefined
from liquid.exceptions import LiquidError

MAX_TEXT = 1600  # ten parts of a long SMS


class TemplateError(ValueError):
    """A template that can't be rendered; the message says why."""


class _Environment(Environment):
    context_depth_limit = 10
    loop_iteration_limit = 1_000
    output_stream_limit = 20_000


_environment = _Environment(undefined=StrictUndefined)


@lru_cache(maxsize=512)
def _parsed(template: str) -> BoundTemplate:
    return _environment.from_string(template)


def check_template(template: str) -> None:
    """Parse a template without rendering it.

    Raises: TemplateError.
    """
    try:
        _parsed(template)
    except LiquidError as error:
        raise TemplateError(f"the template can't be parsed: {error}") from error


def render_text(template: str, values: Mapping[str, object]) -> str:
    """Render a template into plain text of at most MAX_TEXT characters; a name that is not there is an error.

    Raises: TemplateError.
    """
    try:
        text = _parsed(template).render(**values).strip()
    except LiquidError as error:
        raise TemplateError(f"the template can't be rendered: {error}") from error
    if len(text) > MAX_TEXT:
        raise TemplateError(f"the text is {len(text)} characters long; {MAX_TEXT} is the most")
    return text
