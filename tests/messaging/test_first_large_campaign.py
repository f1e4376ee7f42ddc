"""The first large campaign, or import, of a young installation: what was planned for small tables is not kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection

from config.infra import tenancy
from messaging.actions.imports import Options, start_import
from messaging.models import Contact
from messaging.tasks import drain_imports, drain_messages
from tests.factories import make_tenant
from tests.messaging.campaigns import add_contacts, counts, launch, make_campaign, make_ready_tenant

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 3000
FEW_TIMES = 100  # a table may be read whole for a batch, never for a row: that would be MANY / 2 times and more


def rows_read_in_order():
    """Return by table how many rows were read by going through it from its start."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT relname, coalesce(seq_tup_read, 0) FROM pg_stat_user_tables")
        return dict(cursor.fetchall())


def most_read_since(before):
    """Return how many rows were read in order since, of the table of which it were most, and the table's name."""
    now = rows_read_in_order()
    return max((count - before.get(table, 0), table) for table, count in now.items())


def keep_plans_of_small_tables(act):
    """Do a small thing twice: the tables' sizes are known for the second time, whose plans are kept."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(relname, ', ') FROM pg_stat_user_tables WHERE relname LIKE 'messaging%'")
        (tables,) = cursor.fetchone()
        cursor.execute(f"VACUUM {tables}")  # small also where tests before this one wrote
        act()
        cursor.execute(f"ANALYZE {tables}")
    act()


def test_the_first_large_campaign_reads_no_table_for_each_of_its_rows(sandbox):
    tenant = make_ready_tenant(sandbox.base_url)

    def campaign():
        made = make_campaign(tenant, text="{{ contact.first_name }}: https://example.com/sale", shortens_links=True)
        launch(made)
        drain_messages()
        return made

    add_contacts(tenant, 20)
    keep_plans_of_small_tables(campaign)
    add_contacts(tenant, MANY, first=1000)
    before = rows_read_in_order()
    made = campaign()
    most = most_read_since(before)
    print(f"at most {most} rows read in order for {MANY} messages")
    assert most[0] < FEW_TIMES * MANY, most
    with tenancy.tenant_scope(tenant.pk):
        assert counts(made) == {"sent": MANY + 20}


def test_the_first_large_import_reads_no_table_for_each_of_its_rows():
    tenant = make_tenant(country="GR")
    proof = Options(
        consent_channels=("sms",),
        consent_source="test",
        consent_text="Yes",
        consent_at=datetime(2026, 1, 1, tzinfo=UTC),
    )

    def import_rows(count):
        first = Contact.objects.count()
        lines = (f"p{number}@example.com,69{number:08},vip\n" for number in range(first, first + count))
        start_import(pieces=[b"email,phone,tags\n", "".join(lines).encode()], options=proof, actor="test")
        drain_imports()

    with tenancy.tenant_scope(tenant.pk):
        keep_plans_of_small_tables(lambda: import_rows(10))
        before = rows_read_in_order()
        import_rows(MANY)
        most = most_read_since(before)
        print(f"at most {most} rows read in order for {MANY} rows")
        assert most[0] < FEW_TIMES * MANY, most
        assert Contact.objects.count() == MANY + 20
