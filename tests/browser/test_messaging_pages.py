"""Templates are written and previewed in a real browser, the e-mail in a frame under our policy; and unsubscribing."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from config.infra import tenancy
from messaging.actions.templates import Draft, make_template
from messaging.actions.unsubscribes import unsubscribe_url
from messaging.models import Contact, Message, Suppression
from tests.browser.conftest import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
BODY = (
    "<style>body { background: #fff7ed; font-family: sans-serif } h1 { color: #c2410c }</style>"
    "<h1>Hello {{ contact.first_name }}</h1><p>Our <a href='https://shop.example.com/sale'>sale</a> begins.</p>"
    "<script>document.title = 'taken over'</script>"
)


def test_an_e_mail_is_written_and_previewed(tab, world):
    with tenancy.tenant_scope(world.tenant.pk):
        draft = Draft(subject="News of {{ tenant.name }}", body=BODY)
        version = make_template(name="Newsletter", channel="email", draft=draft, actor="test")
        contact = world.rows[Contact]
    sign_in(tab, world)
    tab.visit("/admin/messaging/template/make/", shot="template-make")
    page = tab.visit(f"/admin/messaging/template/{version.template_id}/write/", shot="template-write")
    page.fill("textarea[name=body]", BODY.replace("begins", "began"))
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page = tab.visit(f"/admin/messaging/template/{version.template_id}/preview/?contact={contact.pk}")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Hello Zoë")).to_be_visible()
    expect(frame.get_by_text("began")).to_be_visible()
    expect(frame.get_by_role("link", name="Unsubscribe")).to_be_visible()
    assert frame.locator("h1").evaluate("one => getComputedStyle(one).color") == "rgb(194, 65, 12)"
    tab.shoot("template-preview")


def test_a_person_unsubscribes_by_the_link(tab, world):
    with tenancy.tenant_scope(world.tenant.pk):
        message = Message.objects.filter(contact=world.rows[Contact]).first()
        path = unsubscribe_url(reference=message.reference).removeprefix("http://localhost")
        page = tab.visit(path, shot="unsubscribe")
        by_link = Suppression.objects.filter(reason="unsubscribed")
        assert by_link.count() == 0
        page.get_by_role("button", name="Unsubscribe").click()
        expect(page.get_by_text("You are unsubscribed.")).to_be_visible()
        assert by_link.count() == 1
        assert page.context.cookies() == []
