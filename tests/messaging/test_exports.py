"""Exports: what is exported can be imported again, and no cell is a formula."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from audit.models import AuditEvent
from config.infra import tenancy
from messaging.actions.contacts import Profile, ensure_contact
from messaging.actions.exports import ExportRefused, export_contacts, export_problems
from messaging.actions.imports import Options, start_import
from messaging.actions.profiles import change_contact, create_contact
from messaging.actions.segments import save_segment
from messaging.imports import read_attribute, write_attribute
from messaging.models import Contact, ContactImport
from messaging.tables import guard, unguard
from messaging.tasks import drain_imports
from tests.factories import make_tenant
from tests.messaging.people import with_key

pytestmark = pytest.mark.django_db(transaction=True)
PROOF = {"consent_source": "us", "consent_text": "Yes", "consent_at": datetime(2026, 1, 1, tzinfo=UTC)}


@pytest.fixture
def tenant():
    return make_tenant(country="GR")


def fill(tenant):
    with tenancy.tenant_scope(tenant.pk):
        for number, name in enumerate(["=1+1", "'=quoted", "-Zoë", "@x", "plain, with comma", '"q"\nline']):
            contact = ensure_contact(
                profile=Profile(
                    customer_shopify_id=number if number % 2 else None,
                    external_id=f"+{number}",
                    email=f"p{number}@example.com",
                    phone=f"+30690000000{number}",
                    first_name=name,
                    country="GR",
                ),
                actor="t",
            )
            attributes = {"n": number - 2, "yes": True, "text": f"{number}", "=cell": "=HYPERLINK(1)", "f": 1.5,
                          "third": 1 / 3, "small": 1e-07, "written": "1e-07", "nothing": ""}  # fmt: skip
            tags = ["=tag", f"t{number}"]
            Contact.objects.filter(pk=contact.pk).update(attributes=attributes, tags=tags, timezone="Europe/Athens")


def people(tenant):
    with tenancy.tenant_scope(tenant.pk):
        names = ("email", "phone", "first_name", "country", "timezone", "attributes", "tags")
        contacts = Contact.objects.order_by("email").values(*names)
        rows = list(contacts)
        for row, contact in zip(rows, Contact.objects.order_by("email"), strict=True):
            row["identities"] = sorted(contact.identities.values_list("kind", "value"))
            row["tags"] = sorted(row["tags"])
        return rows


def export(tenant, **options):
    with tenancy.tenant_scope(tenant.pk):
        lines = export_contacts(segment_id=options.get("segment_id"), actor="t")
    return "".join(lines)  # read outside of the scope, as a streamed answer is


def take(tenant, text, **options):
    with tenancy.tenant_scope(tenant.pk):
        made = start_import(pieces=[text.encode()], options=Options(**options), actor="t")
        drain_imports()
        return ContactImport.objects.get(pk=made.pk)


def test_what_is_exported_is_the_same_once_it_is_imported_elsewhere(tenant):
    fill(tenant)
    text = export(tenant)
    other = make_tenant(country="US")
    made = take(other, text, **PROOF)
    assert (made.created_count, made.error_count, made.note_count) == (6, 0, 0)
    assert people(other) == people(tenant)
    assert sorted(export(other).splitlines()) == sorted(text.splitlines())


def test_no_cell_of_an_export_is_a_formula(tenant):
    fill(tenant)
    rows = list(csv.reader(io.StringIO(export(tenant))))
    assert len(rows) == 7
    cells = [cell for row in rows for cell in row]
    assert [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "\t", "\r"}] == []
    assert {"'=1+1", "''=quoted", "'-Zoë", "'+306900000000"} <= set(cells)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_guarded_cell_is_read_as_it_was_and_runs_nothing(value):
    assert unguard(guard(value)) == value
    assert guard(value)[:1] not in {"=", "+", "-", "@", "\t", "\r", "\n"}


@given(
    st.one_of(
        st.booleans(),
        st.integers(-(10**15) + 1, 10**15 - 1),
        st.floats(-(10**15), 10**15, exclude_min=True, exclude_max=True),
        st.floats(-1, 1),
        st.floats(-1, 1).map(repr),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
)
def test_an_attribute_is_read_as_it_was_written(value):
    read = read_attribute(write_attribute(value).strip())
    assert (read, type(read)) == (value, type(value))


def test_every_attribute_is_exported_and_imported_or_the_export_is_refused(tenant):
    with tenancy.tenant_scope(tenant.pk):
        for number in range(10):
            email, facts = f"w{number}@example.com", {f"{number}-{'wide name ' * 5}-{place}": 1 for place in range(100)}
            create_contact(values={"email": email, "attributes": facts}, actor="t", now=timezone.now())
    other = make_tenant()
    made = take(other, export(tenant), **PROOF)
    assert (made.created_count, made.error_count, made.note_count) == (10, 0, 0)
    assert people(other) == people(tenant)
    with tenancy.tenant_scope(tenant.pk):
        one = create_contact(values={"email": "z@example.com", "attributes": {"z": 1}}, actor="t", now=timezone.now())
        with pytest.raises(ExportRefused, match="more than 1000 different attributes"):
            export_contacts(actor="t")
        assert AuditEvent.objects.filter(name="contacts.exported").count() == 1
        lines = export_contacts(contact_ids=[one.pk], actor="t")
    (row,) = csv.DictReader(io.StringIO("".join(lines)))
    assert row["attributes.z"] == "1"
    assert with_key(tenant).get("/api/v1/contacts/export").json()["type"].endswith("export-refused")


def test_a_segment_is_exported_alone(tenant):
    fill(tenant)
    with tenancy.tenant_scope(tenant.pk):
        wanted = {"field": "contact.email", "op": "is", "value": "p3@example.com"}
        segment = save_segment(segment_id=None, name="one", definition=wanted, actor="t")
    rows = list(csv.DictReader(io.StringIO(export(tenant, segment_id=segment.pk))))
    assert [row["email"] for row in rows] == ["p3@example.com"]


def test_an_export_holds_nobody_elses_contacts(tenant):
    fill(tenant)
    assert len(export(make_tenant()).splitlines()) == 1


def test_the_file_of_problems_can_be_mended_and_imported(tenant):
    made = take(tenant, "email,first_name,attributes.f\nnobody,=1,'=1+1\nb@example.com,Bea,x\nno,'=2,''=3\n")
    with tenancy.tenant_scope(tenant.pk):
        lines = export_problems(source=made)
    text = "".join(lines)
    row, other = csv.DictReader(io.StringIO(text))
    assert (row["line"], row["taken"], row["email"], row["first_name"]) == ("2", "no", "nobody", "'=1")
    assert (other["first_name"], other["attributes.f"]) == ("'=2", "''=3")
    again = take(tenant, text.replace("nobody,", "a@example.com,").replace("no,'=2", "c@example.com,'=2"))
    assert (again.created_count, again.error_count) == (2, 0)
    with tenancy.tenant_scope(tenant.pk):
        told = dict(Contact.objects.values_list("first_name", "attributes"))
    assert told == {"=1": {"f": "=1+1"}, "Bea": {"f": "x"}, "=2": {"f": "'=3"}}


def test_of_several_identities_of_a_kind_the_newest_is_exported(tenant):
    with tenancy.tenant_scope(tenant.pk):
        first, new = ({"whatsapp": f"+30691111111{n}", "external_id": f"e{n}"} for n in range(2))
        made = create_contact(values={"email": "a@example.com", **first}, actor="t", now=timezone.now())
        change_contact(contact_id=made.pk, values=new, actor="t", now=timezone.now())
    (row,) = csv.DictReader(io.StringIO(export(tenant)))
    assert (row["whatsapp"], row["external_id"]) == ("'+306911111111", "e1")
