"""Shipments in the admin: bought, handed over and given up after a page that asks, by operators of the tenant."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import AuditEvent
from config.infra import tenancy
from orders.models import Shipment, ShipmentCall
from tests.admin.pages import change_page, list_page
from tests.factories import reload


@pytest.fixture
def shipment(world, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    with tenancy.tenant_scope(world.tenant.pk):
        ShipmentCall.objects.update(status="done")
        offer = {"company": "USPS", "service": "Ground", "amount": "7.58", "currency": "USD", "delivery_days": 3}
        Shipment.objects.update(remote_id="shp_1", rates=[{"id": "rate_1", **offer}])
        return Shipment.objects.get()


def page(shipment, verb):
    return change_page(shipment).replace("/change/", f"/{verb}/")


def calls(world, kind):
    with tenancy.tenant_scope(world.tenant.pk):
        return ShipmentCall.objects.filter(kind=kind).count()


def test_an_operator_buys_after_a_page_that_asks(operator, world, shipment):
    asked = operator.get(page(shipment, "buy")).content.decode()
    assert "takes money" in asked
    assert "USPS Ground: 7.58 USD" in asked
    assert calls(world, "buy") == 0
    operator.post(page(shipment, "buy"), {"rate_id": "other"})
    assert calls(world, "buy") == 0
    for _ in range(2):
        operator.post(page(shipment, "buy"), {"rate_id": "rate_1"})
    assert calls(world, "buy") == 1


def test_an_operator_hands_over_with_a_number(operator, shipment):
    operator.get(page(shipment, "hand-over"))
    operator.post(page(shipment, "hand-over"), {"company": "UPS"})
    assert reload(shipment).status == "created"
    operator.post(page(shipment, "hand-over"), {"company": "UPS", "number": "1Z999"})
    assert (reload(shipment).status, reload(shipment).tracking_number) == ("shipped", "1Z999")
    again = operator.post(page(shipment, "void"), follow=True).content.decode()
    assert "only a label that was not used yet is refunded" in again


def test_an_operator_gives_up_after_a_page_that_asks(operator, shipment):
    operator.get(page(shipment, "void"))
    assert reload(shipment).status == "created"
    operator.post(page(shipment, "void"))
    assert reload(shipment).status == "voided"


@pytest.mark.parametrize(("verb", "name"), [("void", "shipment.voided"), ("hand-over", "shipment.shipped")])
def test_with_all_tenants_open_it_is_recorded_for_the_parcels_own_tenant(superuser, world, shipment, verb, name):
    superuser.post("/admin/tenant", {"tenant": "all"})
    superuser.post(page(shipment, verb), {"company": "UPS", "number": "1Z999"})
    with tenancy.tenant_scope(world.tenant.pk):
        assert AuditEvent.objects.filter(name=name, subject=f"shipment:{shipment.pk}").exists()


def test_viewers_and_strangers_do_nothing(viewer, stranger, world, shipment):
    for verb in ("buy", "hand-over", "void", "fetch"):
        assert viewer.post(page(shipment, verb), {"rate_id": "rate_1"}).status_code == 403
        assert stranger.post(page(shipment, verb), {"rate_id": "rate_1"}).status_code in {302, 403, 404}
    assert calls(world, "buy") == 0
    assert reload(shipment).status == "created"


def test_the_label_is_downloaded_by_the_tenants_people_alone(viewer, stranger, shipment, world):
    missing = viewer.get(page(shipment, "label"), follow=True).content.decode()
    assert "There is no label file yet" in missing
    with tenancy.tenant_scope(world.tenant.pk):
        name = default_storage.save("labels/x.pdf", ContentFile(b"%PDF-1.4"))
        Shipment.objects.update(label_file=name, label_type="application/pdf")
    answer = viewer.get(page(shipment, "label"))
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
    assert b"".join(answer.streaming_content) == b"%PDF-1.4"
    assert stranger.get(page(shipment, "label")).status_code in {302, 404}


def test_the_list_costs_the_same_for_one_and_for_many(owner, world, shipment):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as seen:
            assert owner.get(list_page(Shipment)).status_code == 200
        return len(seen)

    before = queries()
    with tenancy.tenant_scope(world.tenant.pk):
        for _ in range(5):
            Shipment.objects.create(order=shipment.order)
    assert queries() == before
