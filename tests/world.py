"""A tenant with something of everything, and three people: owner, staff, and a stranger of another tenant."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Model
from django.utils import timezone

from audit.models import AuditEvent, DeadLetter, EventDelivery
from audit.tasks import drain_events
from config.infra import tenancy
from inventory.actions.reservations import Request, Wanted, reserve
from inventory.actions.thresholds import make_threshold
from inventory.models import (
    HoldPush,
    Location,
    Product,
    Reservation,
    ReservationLine,
    StockLevel,
    StockMovement,
    StockThreshold,
    Variant,
)
from messaging.actions.campaigns import Plan, save_campaign
from messaging.actions.credits import save_policy, top_up
from messaging.actions.forms import save_form
from messaging.actions.imports import Options, start_import
from messaging.actions.segments import change_members, save_segment
from messaging.actions.suppressions import suppress
from messaging.actions.templates import Draft, make_template
from messaging.models import (
    Attempt,
    Automation,
    AutomationVersion,
    Campaign,
    ConsentEntry,
    Contact,
    ContactImport,
    CreditAccount,
    CreditPolicy,
    CreditTransaction,
    DeliveryReport,
    InboundMessage,
    Message,
    QuietHours,
    Segment,
    SegmentMember,
    Sender,
    SendingPolicy,
    SendQueue,
    SignupForm,
    Suppression,
    Template,
    TemplateVersion,
)
from orders.actions.labels import request_rates
from orders.actions.payments import take_facts
from orders.actions.shipments import ship_lines
from orders.actions.watches import make_watch
from orders.models import Dispute, GatewayRefund, Order, OrderWatch, Payment, PaymentMismatch, Shipment, ShipmentCall
from orders.webhooks import Fact
from shopsync.actions.alerts import close_alert, raise_alert
from shopsync.actions.inbox import count_refused
from shopsync.actions.tenants import connect_service, create_api_key
from shopsync.models import (
    Alert,
    ApiKey,
    Connection,
    DigestPlan,
    Membership,
    RefusedDelivery,
    Tenant,
    User,
    WebhookEvent,
)
from shopsync.tasks import drain_webhooks
from tests.factories import deliver, make_tenant

SECRET = "marker-secret-that-no-page-shows"
PASSWORD = "a long pass phrase"
BIG = 9_007_199_254_740_993  # 2^53 + 1: JavaScript would round it


@dataclass
class World:
    """One tenant, its key and what is in it, by model."""

    tenant: Tenant
    api_key: str
    rows: dict[type[Model], Model] = field(default_factory=dict)


def make_person(name: str, *, tenant: Tenant | None = None, role: str = "owner", **fields: Any) -> User:
    """Create somebody who may sign in to the admin, with a membership if a tenant is given."""
    user = User.objects.create_user(name, f"{name}@example.com", PASSWORD, is_staff=True, **fields)
    if tenant is not None:
        Membership.objects.create(user=user, tenant=tenant, role=role)
    return user


def order_body(number: int = 1, **fields: Any) -> dict[str, Any]:
    """Build a paid order of two lines."""
    body = {
        "id": BIG + number,
        "name": f"#10{number:02}",
        "email": f"buyer{number}@example.com",
        "phone": f"+1514555{100 + number:04}",
        "currency": "USD",
        "presentment_currency": "JPY",
        "total_price": "129.00",
        "total_price_set": {"presentment_money": {"amount": "19350", "currency_code": "JPY"}},
        "subtotal_price": "120.00",
        "total_tax": "9.00",
        "current_total_price": "129.00",
        "financial_status": "paid",
        "created_at": "2026-11-02T08:00:00Z",
        "updated_at": "2026-11-02T08:16:00Z",
        "customer": {"id": BIG + 500 + number, "first_name": "Zoë", "last_name": "أحمد"},
        "line_items": [
            {"id": BIG + 1000 + number * 10 + i, "variant_id": BIG + 20 + i, "title": f"Shirt {i}", "sku": f"SKU-{i}",
             "quantity": 2, "fulfillable_quantity": 2, "price": "60.00"}
            for i in range(2)
        ],
        "refunds": [],
    }  # fmt: skip
    return body | fields


def product_body(number: int = 1) -> dict[str, Any]:
    """Build a product of two variants."""
    return {
        "id": BIG + 10 * number,
        "title": f"Shirt {number}",
        "vendor": "Acme",
        "status": "active",
        "tags": "cotton, blue",
        "updated_at": "2026-11-01T08:00:00Z",
        "variants": [
            {"id": BIG + 10 + number * 10 + i, "title": f"Size {i}", "sku": f"SKU-{i}", "price": "60.00",
             "inventory_item_id": BIG + 30 + number * 10 + i, "position": i + 1}
            for i in range(2)
        ],
    }  # fmt: skip


def make_world(**tenant_fields: str) -> World:
    """Fill a tenant through the inbox as Shopify would, and add what no webhook brings."""
    tenant = make_tenant(**tenant_fields)
    tenant.access_token = tenant.refresh_token = f"{SECRET}-token"
    tenant.save(update_fields=["access_token", "refresh_token"])
    with tenancy.tenant_scope(tenant.pk):
        key = create_api_key(name="erp", actor="test")
        connection = connect_service(
            service="mitto", actor="test", name="main", sender="Demo", base_url="https://mitto.example.com"
        )
        connection.api_key = connection.signing_secret = f"{SECRET}-connection"
        connection.token = f"{SECRET}-address-{tenant.pk}"
        connection.save()
        automation = Automation(name="thanks", trigger_event="order.paid")
        automation.save()
        draft = Draft(body="Hi {{ contact.first_name }}", defaults={"contact.first_name": "you"})
        make_template(name="hello", channel="sms", draft=draft, actor="test")
        AutomationVersion(
            automation=automation, number=1, channel="sms", template="Thanks {{ contact.first_name }}"
        ).save()
    for topic, body in _deliveries():
        deliver(topic, {**body, "shop": tenant.shop_domain}, tenant)  # equal bodies of two tenants are quarantined
    deliver("carts/create", {"id": BIG, "shop": tenant.shop_domain}, tenant)
    deliver("orders/create", order_body(1), "nobody-here.myshopify.com")
    count_refused(source="shopify", reason=RefusedDelivery.Reason.BAD_SIGNATURE, shop_domain=tenant.shop_domain)
    while drain_webhooks() + drain_events():
        pass
    with tenancy.tenant_scope(tenant.pk):
        _make_messages(connection)
        _make_campaign()
        _keep_people()
        _reserve_one()
        _make_alerts()
        DigestPlan(recipients=["ops@example.com"]).save()
        make_watch(kind="unpaid", hours=48, actor="test")
        _make_payments()
        _ship_one()
        return World(tenant, key.secret, _rows(tenant, connection))


def _deliveries() -> list[tuple[str, dict[str, Any]]]:
    level = {"inventory_item_id": BIG + 40, "location_id": BIG, "updated_at": "2026-11-01T09:00:00Z"}
    customer = {"id": BIG + 501, "email": "buyer1@example.com", "phone": "+15145550101", "first_name": "Zoë"}
    consent = {"state": "subscribed", "opt_in_level": "single_opt_in", "consent_updated_at": "2026-11-01T07:00:00Z"}
    paid_back = {"amount": "10.00", "currency": "USD", "kind": "refund", "status": "success"}
    refund = {"id": BIG + 7, "order_id": BIG + 1, "processed_at": "2026-11-03T08:00:00Z", "transactions": [paid_back]}
    parcel = {"id": BIG + 8, "order_id": BIG + 1, "status": "success", "tracking_company": "UPS",
              "tracking_number": "1Z999", "updated_at": "2026-11-03T08:00:00Z"}  # fmt: skip
    return [
        ("products/create", product_body()),
        ("inventory_levels/update", {**level, "available": 7}),
        ("inventory_levels/update", {**level, "available": 5, "updated_at": "2026-11-01T10:00:00Z"}),
        ("customers/create", {**customer, "sms_marketing_consent": consent, "updated_at": "2026-11-01T07:00:00Z"}),
        *[("orders/create", order_body(number)) for number in (1, 2, 3)],
        ("refunds/create", refund),
        ("fulfillments/create", parcel),
    ]


def _make_messages(connection: Connection) -> None:
    """Move the automation's messages on by hand: one delivered, one nobody knows the end of, one buried."""
    attempt = Attempt(connection=connection, message_count=1)
    attempt.save()
    first, second, third = Message.objects.order_by("id")
    done = {"status": "done", "sent_at": timezone.now(), "provider_id": f"p-{first.pk}", "connection": connection}
    done |= {"attempt": attempt, "finished_at": timezone.now(), "text": "Thanks Zoë", "reason": ""}
    Message.objects.filter(pk=first.pk).update(**done, outcome="delivered", delivered_at=timezone.now())
    DeliveryReport(connection=connection, message=first, provider_id=f"p-{first.pk}", status="delivered").save()
    lost = {"status": "unknown", "outcome": "", "reason": "", "finished_at": None, "started_at": timezone.now()}
    Message.objects.filter(pk=second.pk).update(**lost, attempts=1, last_error="no answer to the call")
    lost |= {"status": "buried", "finished_at": timezone.now(), "last_error": "refused eight times"}
    Message.objects.filter(pk=third.pk).update(**lost, attempts=8)


def _make_campaign() -> None:
    """Write a campaign, and everything that one is sent with; nothing is launched."""
    top_up(amount=Decimal(1000), key="world", actor="test")
    save_policy(daily_cap=Decimal(500), low_balance_at=Decimal(50), countries=["CA", "GR", "US"], actor="test")
    segment = save_segment(segment_id=None, name="everybody", definition={"all": []}, actor="test")
    template = Template.objects.create(name="greeting", channel="sms")
    version = TemplateVersion.objects.create(template=template, number=1, body="Hello {{ contact.first_name }}")
    sender = Sender.objects.create(channel="sms", value="Shopsync", is_two_way=True)
    plan = Plan(
        name="Greetings",
        channel="sms",
        segment_id=segment.pk,
        template_version_id=version.pk,
        sender_id=sender.pk,
    )
    save_campaign(campaign_id=None, plan=plan, actor="test")
    SendingPolicy.objects.create(batch_size=100)
    QuietHours.objects.create(country="GR", starts_at="09:00", ends_at="21:00")
    SendQueue.objects.create(channel="sms", blocker="no_connection")
    asked = {"kind": "review", "keyword": "stop", "review": "open", "routed_by": "number", "text": "please stop this"}
    asked |= {"came_by": sender.pk, "once_key": "world", "received_at": timezone.now(), "recipient": "Shopsync"}
    InboundMessage.objects.create(address="+15145550101", **asked)


def _keep_people() -> None:
    """Keep a segment, a form, an address that is not written to, and a file on its way in."""
    wanted = {"field": "contact.email", "op": "is_known"}
    save_segment(segment_id=None, name="with e-mail", definition=wanted, actor="test")
    listed = save_segment(segment_id=None, name="regulars", definition=None, actor="test")
    change_members(segment_id=listed.pk, add=[Contact.objects.get(email="buyer1@example.com").pk], actor="test")
    values = {"name": "news", "channels": ["email"], "text_shown": "Write to me"}
    save_form(form_id=None, values=values, actor="test", now=timezone.now())
    suppress(channel="email", addresses=["gone@example.com"], reason="manual", source="", actor="test")
    start_import(pieces=[b"email\nnew@example.com\n"], options=Options(file_name="new.csv"), actor="test")


def _make_alerts() -> None:
    """Raise two alerts; one of them is over."""
    for number in (12, 13):
        raise_alert(kind="stock.low" if number == 13 else "stock.drift", subject=f"level:{number}", message="3 left")
    close_alert(kind="stock.drift", subject="level:12")


def _reserve_one() -> None:
    variant = Variant.objects.get(sku="SKU-0")
    request = Request(lines=(Wanted(variant.pk, 1),))
    reserve(request=request, idempotency_key="cart-1", actor="test", now=timezone.now())
    make_threshold(variant_id=variant.pk, location_id=None, low_at=2, recovered_at=4, actor="test")
    told = {"status": "done", "finished_at": timezone.now(), "outcome": "set aside"}
    HoldPush(line=ReservationLine.objects.get(), direction="hold", quantity=1, **told).save()


def _make_payments() -> None:
    """Let a gateway tell of a paid order, a refund of it and a dispute that was won; note something that differs."""
    stripe = connect_service(service="stripe", actor="test", name="pay", base_url="https://stripe.example.com")
    at = datetime(2026, 11, 2, 8, 20, tzinfo=UTC)
    paid = {"amount": 12900, "currency": "USD", "status": "succeeded", "captured": 12900, "error": ""}
    paid |= {"is_expired": False, "order_key": "name:#1001"}
    back = {"amount": 1000, "currency": "USD", "status": "succeeded", "reason": "", "failure_reason": "", "key": ""}
    won = {"amount": 12900, "currency": "USD", "status": "won", "reason": "fraudulent", "due_by": None}
    things = (("intent", "pi_world", paid), ("refund", "re_world", back), ("dispute", "dp_world", won))
    facts = [Fact(f"evt_{kind}", kind, "told", subject, "pi_world", at, values) for kind, subject, values in things]
    take_facts(connection_id=stripe.pk, facts=facts)
    PaymentMismatch(kind="refunds_differ", subject="order:1", detail="10 by the order, 5 by its payments").save()


def _ship_one() -> None:
    """Pack an order and ask for rates of a carrier that answers nobody."""
    connect_service(
        service="easypost", actor="test", name="post", base_url="http://127.0.0.1:9", api_key=f"{SECRET}-key"
    )
    shipment = ship_lines(order_id=Order.objects.get(shopify_id=BIG + 2).pk, lines=[], actor="test")
    place = {"name": "Zoë", "address1": "1 Main St", "city": "Austin", "country_code": "US"}
    request_rates(
        shipment_id=shipment.pk, from_address=place, to_address=place, parcel={"weight_grams": 500}, actor="test"
    )


def _rows(tenant: Tenant, connection: Connection) -> dict[type[Model], Model]:
    lists: list[type[Any]] = [Payment, GatewayRefund, Dispute, PaymentMismatch, Shipment, ShipmentCall]
    lists += [Campaign, CreditAccount, CreditTransaction, CreditPolicy, SendQueue, Sender, SendingPolicy, QuietHours]
    lists += [Segment, Template, Location, StockMovement, Reservation, HoldPush, StockThreshold, OrderWatch]
    lists += [Location, StockMovement, Reservation, HoldPush, StockThreshold, OrderWatch]
    lists += [InboundMessage, Segment, SegmentMember, SignupForm, Suppression, ContactImport, ConsentEntry]
    lists += [Order, Product, StockLevel, Message, Automation, AuditEvent, EventDelivery, DeadLetter]
    rows: dict[type[Model], Model] = {model: model.objects.first() for model in [*lists, Alert, ApiKey]}
    rows[Order] = Order.objects.get(shopify_id=BIG + 1)
    rows[Contact] = Contact.objects.get(email="buyer1@example.com")
    rows[WebhookEvent] = WebhookEvent.objects.get(topic="products/create")
    rows[Connection], rows[Tenant] = connection, tenant
    rows[RefusedDelivery] = RefusedDelivery.objects.get(shop_domain=tenant.shop_domain)
    return rows
