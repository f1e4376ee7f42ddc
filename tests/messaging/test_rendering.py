"""Templates: what is missing has a default or no text, and no template costs more than it may."""

from __future__ import annotations

import pytest

from messaging.rendering import MAX_TEXT, MissingValue, TemplateError, check_template, names_in, render_text

ADA = {"contact": {"first_name": "Ada", "last_name": "", "attributes": {"size": "L"}}, "tenant": {"name": "Shop"}}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Hi {{ contact.first_name }}", "Hi Ada"),
        ("{{ contact.attributes.size }} at {{ tenant.name | upcase }}", "L at SHOP"),
        ("{% if contact.last_name %}{{ contact.last_name }}{% else %}you{% endif %}", "you"),
        ("{{ contact.last_name | default: 'you' }}", "you"),
    ],
)
def test_what_is_there_is_written(template, text):
    assert render_text(template, ADA) == text


@pytest.mark.parametrize("name", ["contact.last_name", "contact.nickname", "order.name", "nothing"])
def test_what_is_missing_has_its_default_or_no_text(name):
    template = f"Hi {{{{ {name} }}}}"
    assert render_text(template, ADA, defaults={name: "you"}) == "Hi you"
    with pytest.raises(MissingValue):
        render_text(template, ADA)


def test_a_default_does_not_replace_what_is_there():
    assert render_text("{{ contact.first_name }}", ADA, defaults={"contact.first_name": "you"}) == "Ada"
    assert render_text("{{ tenant.name }}", ADA, defaults={"tenant.name.short": "x"}) == "Shop"


def test_a_default_of_a_name_that_is_not_written_is_a_mistake():
    check_template("Hi {{ contact.first_name }}", defaults={"contact.first_name": "you"})
    with pytest.raises(
        TemplateError, match=r"default for contact\.frist_name, and the template writes contact\.first_name"
    ):
        check_template("Hi {{ contact.first_name }}", defaults={"contact.frist_name": "you"})
    assert names_in("{% for tag in contact.tags %}{{ tag }}{% endfor %}") == {"contact.tags"}


@pytest.mark.parametrize("template", ["{{ contact.first_name", "{% if %}", "{% nonsense %}", "x" * 50_001])
def test_what_cannot_be_parsed_is_refused(template):
    with pytest.raises(TemplateError):
        check_template(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in (1..100000) %}x{% endfor %}",
        "{% for i in (1..900) %}{% for j in (1..900) %}x{% endfor %}{% endfor %}",
        "x" * (MAX_TEXT + 1),
        "{% assign a = 'xxxxxxxxxxxxxxxx' %}" + "{% assign a = a | append: a %}" * 20 + "{{ a }}",
        "{% assign a = 'xxxxxxxxxxxxxxxx' %}" + "{% assign a = a | append: a %}" * 60 + "{{ a }}",
        "{{ 'x' | times: 'y' | divided_by: 0 }}",
    ],
)
def test_a_template_that_costs_too_much_or_breaks_has_no_text(template):
    with pytest.raises(TemplateError):
        render_text(template, ADA)
