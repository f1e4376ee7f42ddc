"""What a campaign costs is what is held or settled for it: what was given back, or the house paid, is not counted."""

from importlib import import_module

from django.db import migrations

tallies = import_module("messaging.migrations.0041_tallies")
PAID = "CASE WHEN credit IN ('held', 'settled') THEN price ELSE 0 END AS price"


def _functions(counted: str) -> list[str]:
    """Write the three functions anew, counting rows so; their triggers stay."""
    came, went = counted.format(sign=1, rows="came"), counted.format(sign=-1, rows="went")
    bodies = {"insert": came, "update": f"{came} UNION ALL {went}", "delete": went}
    made = [tallies._TALLY.format(name=name, counted=body, tables="") for name, body in bodies.items()]
    return [sql[: sql.index("CREATE TRIGGER")].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION") for sql in made]


def _count_anew(counted: str) -> list[str]:
    rows = counted.format(sign=1, rows="messaging_message")
    return [
        "DELETE FROM messaging_campaigntally",
        f"""INSERT INTO messaging_campaigntally (tenant_id, campaign_id, state, reason, messages, parts, cost)
        SELECT tenant_id, campaign_id, state, reason, sum(n), sum(n * parts), sum(n * price) FROM ({rows}) counted
        GROUP BY 1, 2, 3, 4""",  # noqa: S608  our own words
    ]


OLD, NEW = tallies._COUNTED, tallies._COUNTED.replace("parts, price", f"parts, {PAID}")


class Migration(migrations.Migration):
    dependencies = [("messaging", "0100_lapsed_consent")]
    operations = [
        migrations.RunSQL("LOCK messaging_message IN SHARE ROW EXCLUSIVE MODE", migrations.RunSQL.noop),
        migrations.RunSQL(
            [*_functions(NEW), *_count_anew(NEW)],
            [*_functions(OLD), *_count_anew(OLD)],
        ),
    ]
