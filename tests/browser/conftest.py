"""A real browser on a real server: every console error, page error, failed request and CSP violation fails the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.install import install
from tests.world import World, make_person, make_world

SHOTS = Path(__file__).parent / "shots"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
_HEAR_VIOLATIONS = """document.addEventListener('securitypolicyviolation',
    event => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`))"""


@pytest.fixture(autouse=True)
def _plain_sign_in(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop runs in this thread, beside our own queries
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=install(), args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@dataclass
class Tab:
    """A page, and whatever went wrong on it."""

    page: Page
    base_url: str
    scheme: str
    troubles: list[str] = field(default_factory=list)

    def visit(self, path: str, *, shot: str = "") -> Page:
        """Open a path, wait until it is quiet, take a picture."""
        answer = self.page.goto(self.base_url + path, wait_until="networkidle")
        assert answer is not None
        assert answer.status == 200, (path, answer.status)
        if shot:
            self.shoot(shot)
        return self.page

    def shoot(self, name: str) -> None:
        """Take a picture of the whole page."""
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(SHOTS / f"{name}-{self.scheme}.png"), full_page=True)


@pytest.fixture
def world(transactional_db: None) -> World:
    return make_world(shop_domain="demo-one.myshopify.com", name="Demo One")


@pytest.fixture(params=["light", "dark"])
def tab(request: pytest.FixtureRequest, chromium: Browser, live_server: Any) -> Iterator[Tab]:
    context = chromium.new_context(color_scheme=request.param, viewport={"width": 1400, "height": 900})
    context.add_init_script(_HEAR_VIOLATIONS)
    page = context.new_page()
    tab = Tab(page, live_server.url, request.param)
    page.on("console", lambda message: message.type == "error" and tab.troubles.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: tab.troubles.append(f"page: {error}"))
    page.on("requestfailed", lambda failed: tab.troubles.append(f"request: {failed.url} {failed.failure}"))
    page.on("response", lambda one: one.status >= 400 and tab.troubles.append(f"{one.status}: {one.url}"))
    yield tab
    context.close()
    assert tab.troubles == []


def sign_in(tab: Tab, world: World, **fields: Any) -> None:
    """Give the browser the session of an owner (or of a superuser)."""
    client = Client()
    client.force_login(make_person("owner", tenant=world.tenant, **fields))
    cookie = client.cookies[django_settings.SESSION_COOKIE_NAME].value
    tab.page.context.add_cookies([{"name": django_settings.SESSION_COOKIE_NAME, "value": cookie, "url": tab.base_url}])
