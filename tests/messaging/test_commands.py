"""The two commands that make a shop known and give it an automation."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from audit.models import AuditEvent
from audit.tasks import drain_events
from config.infra import tenancy
from messaging.actions.automations import NAMES, publish_automation
from messaging.models import Automation, AutomationVersion, CreditAccount, Message
from shopsync.models import Tenant
from shopsync.tasks import drain_webhooks
from tests.factories import deliver
from tests.messaging.test_contacts import customer, order

pytestmark = pytest.mark.django_db(transaction=True)
SHOP = "new-shop.myshopify.com"
NO_CREDITS = [(kind, 0) for kind in ("available", "funding", "held", "house", "spent")]


def create(**options):
    call_command("create_tenant", options.pop("shop_domain", SHOP), name="New", country="GR", **options)


def publish(**options):
    call_command("publish_automation", SHOP, name="thanks", **{"template": "Hello {{ contact.first_name }}", **options})


def test_a_new_shop_gets_its_tenant_and_its_automation_version_by_version(capsys):
    create(currency="EUR")
    publish()
    publish(template="Second")
    tenant = Tenant.objects.get(shop_domain=SHOP)
    with tenancy.tenant_scope(tenant.pk):
        assert Automation.objects.count() == 1
        assert list(AutomationVersion.objects.order_by("number").values_list("number", "template")) == [
            (1, "Hello {{ contact.first_name }}"),
            (2, "Second"),
        ]
        assert AuditEvent.objects.filter(name="automation.published").count() == 2
    assert "version 2" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["new-shop", "new-shop.example.com", "x y.myshopify.com", ""])
def test_what_is_no_shops_name_is_refused(name):
    with pytest.raises(CommandError, match=r"name\.myshopify\.com"):
        create(shop_domain=name)


def test_a_shop_that_is_there_already_is_refused_in_words():
    create()
    with pytest.raises(CommandError, match="already exists"):
        create()


def test_a_currency_that_is_none_is_refused_in_words():
    with pytest.raises(CommandError, match="tenant_currency_is_iso_4217"):
        create(currency="eur")


def test_a_template_that_can_not_be_parsed_is_refused():
    create()
    with pytest.raises(CommandError, match="can't be parsed"):
        publish(template="{% if %}")


def test_an_unknown_tenant_is_refused():
    with pytest.raises(CommandError, match="create_tenant"):
        publish()


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("Hi {{ contact.frist_name }}", "there is no contact.frist_name: .* did you mean contact.first_name"),
        ("{% if order.nmae %}x{% endif %}", "there is no order.nmae: .* did you mean order.name"),
        ("Hi {{ contact.attributes.size }}", "there is no contact.attributes.size: a template may write contact.first"),
        ("{{ unsubscribe_url }}", "there is no unsubscribe_url: .* order.total, tenant.name"),
    ],
)
def test_a_template_that_writes_a_name_which_nobody_fills_in_is_refused(template, words):
    create()
    with pytest.raises(CommandError, match=words):
        publish(template=template)
    with tenancy.tenant_scope(Tenant.objects.get(shop_domain=SHOP).pk):
        assert not Automation.objects.exists()


def test_every_name_that_is_filled_in_may_be_written(tenant):
    template = "/".join(f"{{{{ {name} }}}}" for name in sorted(NAMES.texts))
    with tenancy.tenant_scope(tenant.pk):
        fields = {"name": "all", "trigger_event": "order.paid", "channel": "sms", "actor": "test"}
        publish_automation(**fields, template=template)
        deliver("customers/create", customer(last_name="Lee", phone="+306900000001"), tenant)
        paid = {"name": "#1", "customer": {"id": 1}, "financial_status": "paid", "total_price": "7.50"}
        deliver("orders/paid", order(1, **paid), tenant)
        drain_webhooks()
        drain_events()
        assert Message.objects.get().text == "Zoe/Lee/EUR/#1/7.50/First shop"


def test_a_new_shop_has_its_credit_accounts():
    create()
    drain_events()
    with tenancy.tenant_scope(Tenant.objects.get(shop_domain=SHOP).pk):
        assert sorted(CreditAccount.objects.values_list("kind", "balance")) == NO_CREDITS


def test_a_shop_from_before_gets_its_credit_accounts_by_the_migration():
    create()
    with connection.cursor() as cursor:
        for _ in range(2):
            cursor.execute(import_module("messaging.migrations.0110_accounts_of_all").OPEN)
    with tenancy.tenant_scope(Tenant.objects.get(shop_domain=SHOP).pk):
        assert sorted(CreditAccount.objects.values_list("kind", "balance")) == NO_CREDITS
