"""Templates: what is missing has a default or no text, and no template costs more than it may."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from messaging.rendering import (
    MAX_TEXT,
    MissingValue,
    TemplateError,
    check_names,
    check_template,
    fill_gaps,
    names_in,
    render_text,
    values_of,
)

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


@pytest.mark.parametrize(
    ("template", "name", "meant"),
    [
        ("{{ contact.nope }}", "contact.nope", ""),
        ("{{ contact.frist_name }}", "contact.frist_name", "contact.first_name"),
        ("{{ tenat.name }}", "tenat.name", "tenant.name"),
        ("{{ tenant.nmae | upcase }}", "tenant.nmae", "tenant.name"),
        ("{% if contact.fist_name %}x{% endif %}", "contact.fist_name", "contact.first_name"),
        ("{{ contact.nickname | default: 'you' }}", "contact.nickname", ""),
        ("{{ contact['nope'] }}", "contact.nope", ""),
        ("{{ contact.attribute.size }}", "contact.attribute.size", ""),
        ("{{ attributes.size }}", "attributes.size", ""),
        ("{{ unsubscribe }}", "unsubscribe", "unsubscribe_url"),
        ("{{ first_name }}", "first_name", ""),
        ("{% for tag in contact.tgas %}{{ tag }}{% endfor %}", "contact.tgas", "contact.tags"),
        ("{{ contact.first_name.nope }}", "contact.first_name.nope", ""),
        ("{{ tenant }}", "tenant", ""),
    ],
)
def test_a_misspelt_name_is_refused_with_those_there_are(template, name, meant):
    with pytest.raises(TemplateError) as caught:
        check_names(template, field="body")
    sentence = str(caught.value)
    assert sentence.startswith(f"there is no {name}: a template may write ")
    assert "contact.first_name, " in sentence
    assert caught.value.field == "body"
    if meant:
        assert sentence.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    "template",
    [
        "Hi, nothing",
        "{{ contact.first_name }} {{ contact['last_name'] }} {{ contact.email }} {{ contact.phone }}",
        "{{ contact.country }} {{ contact.locale }} {{ tenant.name }} {{ campaign.name }} {{ unsubscribe_url }}",
        "{{ contact.attributes.anything }} {{ contact.attributes['shoe size'] }} {{ contact.attributes.a.b }}",
        "{% for tag in contact.tags %}{{ tag }} {{ forloop.index }}{% endfor %} {{ contact.tags.first }}",
        "{{ contact.tags[0] }} {{ contact.tags.size }} {{ contact.first_name.size }}",
        "{% assign who = contact.first_name %}{{ who }} {% capture x %}y{% endcapture %}{{ x }}",
        "{{ now | date: '%Y' }} {% if contact.tags contains 'vip' %}x{% endif %}",
        "{% assign field = 'first_name' %}{{ contact[field] }}",
        "{% for pair in contact.attributes %}{{ pair[0] }}{% endfor %}",
    ],
)
def test_what_there_is_and_what_is_the_merchants_own_may_be_written(template):
    check_names(template)


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


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in (1..100000) %}x{% endfor %}",
        "{% for i in (1..999) %}{{ contact.first_name }} and a good deal more than that{% endfor %}",
        "{{ 'aaaaaaaaaa'" + " | replace: 'a', 'aaaaaaaaaa'" * 9 + " }}",
        "{{ contact.first_name | nonsense }}",
    ],
)
def test_what_would_cost_too_much_is_found_before_it_is_sent(template):
    with pytest.raises(TemplateError):
        check_template(template, field="body")


def test_gaps_are_filled_with_names_and_named():
    template = "Hi {{ contact.first_name }} {{ contact.last_name }} {{ contact.attributes['shoe size'] }}"
    text, missing = fill_gaps(lambda defaults: render_text(template, ADA, defaults=defaults), {})
    assert text == "Hi Ada [contact.last_name] [contact.attributes.shoe size]"
    assert missing == ("contact.last_name", "contact.attributes.shoe size")
    assert fill_gaps(lambda defaults: render_text("{{ tenant.name }}", ADA, defaults=defaults), {}) == ("Shop", ())


def test_a_template_may_write_all_that_there_is_of_a_contact():
    person = SimpleNamespace(
        first_name="Ada", last_name="L", email="a@x.io", phone="+1", country="GB", locale="en", attributes={"size": 3},
        tags=["vip", "b2b"],
    )  # fmt: skip
    values = values_of(person, tenant_name="Shop", unsubscribe_url="https://x/u/t", campaign_name="Sale")
    names = ("first_name", "last_name", "email", "phone", "country", "locale", "attributes.size", "tags")
    template = " ".join(f"{{{{ contact.{name} }}}}" for name in names)
    template += " {{ tenant.name }} {{ campaign.name }} {{ unsubscribe_url }} {{ contact.tags | join: '+' }}"
    assert render_text(template, values) == "Ada L a@x.io +1 GB en 3 vipb2b Shop Sale https://x/u/t vip+b2b"


@pytest.mark.parametrize("name", ["size", "first", "last"])
def test_an_attribute_may_be_called_as_liquid_calls_something(name):
    template = f"{{{{ contact.attributes.{name} }}}}"
    assert render_text(template, {"contact": {"attributes": {name: "L"}}}) == "L"
    for attributes in ({}, {"other": "x"}):
        with pytest.raises(MissingValue, match=rf"^contact\.attributes\.{name}$"):
            render_text(template, {"contact": {"attributes": attributes}})
    assert render_text("{{ contact.tags.size }} {{ contact.tags.first }}", {"contact": {"tags": ["a", "b"]}}) == "2 a"


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ contact.attributes.x | date: '%Y' }}", 1735689600000),
        ("{{ contact.attributes.x | ceil }}", "inf"),
        ("{{ contact.attributes.x | base64_decode }}", "/////w=="),
        ("{{ contact.attributes.x | modulo: 0 }}", 1.5),
    ],
)
def test_a_value_that_does_not_suit_a_filter_is_an_error_of_the_template(template, value):
    check_template(template)
    with pytest.raises(TemplateError, match="can't be rendered"):
        render_text(template, {"contact": {"attributes": {"x": value}}})
