"""The frame holds: the vocabulary of modules is closed, reaching over tenants is listed, tasks are of two kinds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from celery import current_app
from django.apps import apps
from django.db import models

from config.infra.tasks import SystemTask, TenantTask
from config.infra.tenancy import NoTenantInScopeError, TenantManager
from config.infra.work import WorkRow, queues

ROOT = Path(__file__).resolve().parent.parent
APPS = ("audit", "shopsync", "inventory", "orders", "messaging")
PRODUCT = [
    path for folder in ("config", *APPS) for path in (ROOT / folder).rglob("*.py") if "migrations" not in path.parts
]

MODULES = {  # the six kinds, by name
    *(
        "models",
        "actions",
        "queries",
        "apps",
        "checks",
        "admin",
        "auth",
        "middleware",
        "serializers",
        "tasks",
        "urls",
        "views",
    ),
    *(
        "shopify",
        "identity",
        "money",
        "storing",
        "rules",
        "rendering",
        *("encoding", "keywords", "quiet", "segments", "tables", "imports", "emails", "email_events", "links"),
        "accounts",
        "senders",
        "inbound",
        "webhooks",
        "providers",
        "payments",
        "carriers",
        "client",
        "management",
        "migrations",
        "templates",
    ),
    *("views_sql", "sites", "static"),  # audit's view of the dead letters; the admin site and its files
}
NOUNS = {  # what a module that became a package may be split into
    "actions": {
        *(
            "products",
            "policies",
            *("returning", "bisecting"),
            "levels",
            "stock",
            "authority",
            "reservations",
            "at_once",
            "holds",
            "order_holds",
            "upkeep",
            "verification",
        ),
        *("thresholds", "watching", "watches"),
        *("alerts", "sync", "backorders", "placing", "moves", "refunds", "gateway_refunds", "handover", "own_stock"),
        "sent_stock",
        *("shopify_stock", "paid_orders", "authorisations", "authorised_holds", "releases", "dues"),
        *("shipments", "labels", "carrier_calls", "tracking"),
        "breakers",
        "alerts",
        "schedules",
        "digests",
        "inbox",
        *("tenants", "idempotency", "locations", "refusals"),
        "dead_letters",
        "contacts",
        "consent",
        "automations",
        "sending",
        "reports",
        *("credits", "segments", "suppressions"),
        *("imports", "merging", "profiles", "exports", "forms", "templates", "links", "unsubscribes", "senders"),
        *("prices", "replies", "campaigns", "freezing", "preparing", "composing", "flows", "claiming", "unknowns"),
        *("routing", "answers", "opt_outs", "reviews", "questions"),
        *("previews", "estimates", "limits", "charges", "frequencies", "outcomes", "progress", "messages", "bounces"),
        *("orders", "payments", "refunds", "calls", "reconciliation"),
    },
    "models": {
        *("products", "stock", "thresholds", "reservations", "tenants", "inbox", "alerts", "schedules", "digests"),
        *("orders", "payments"),
        *("contacts", "automations", "messages", "credits", "links", "segments"),
        *("templates", "imports", "forms", "senders", "campaigns", "flows", "replies", "policies"),
        *("shipments", "watches", "constraints"),
    },
    "carriers": {"base", "easypost", "events", "tracking", "sandbox", "sandbox_state"},
    "providers": {
        "base",
        "mitto",
        "mitto_classic",
        *("email", "postmark", "mailgun"),
        "sandbox",
        "sandbox_state",
        "sandbox_reports",
        "sandbox_email",
        "sandbox_classic",
    },
    "shopify": {"bodies", "shapes", "snapshots"},
    "admin": {
        *("alerts", "schedules", "digests", "base", "inbox", "people", "settings", "trail"),
        *("shop", "orders", "payments", "messages", "shipments", "forms", "moves", "refunds", "handover"),
        *("products", "stock", "ledger", "reservations", "locations", "thresholds", "watches"),
        *(
            "contacts",
            "automations",
            "segments",
            "suppressions",
            "imports",
            "templates",
            "links",
            "campaigns",
            "credits",
        ),
        *("senders", "replies", "policies", "profiles", "progress"),
    },
    "serializers": {
        *("contacts", "messages", "segments", "suppressions", "imports", "forms", "templates", "campaigns", "credits"),
        *("senders", "replies", "policies", "limits"),
        *("products", "stock", "thresholds", "reservations", "watches", "orders", "writes", "payments", "shipments"),
    },
    "payments": {"base", "states", "sums", "stripe", "sandbox", "sandbox_state", "sandbox_events"},
    "views": {
        *("products", "stock", "reservations", "idempotency", "alerts", "orders", "payments", "shipments", "carriers"),
        *("intake", "inbox", "problems", "sign_in", "api", "schema", "thresholds", "watches"),
        *("contacts", "messages", "webhooks", "segments", "suppressions", "imports", "forms", "templates", "links"),
        *("unsubscribes", "campaigns", "credits", "senders", "replies", "policies", "limits"),
    },
}
REACHES = {  # every place that reaches over tenants, and why
    "audit/actions.py": ["write audit events of the system"],
    "config/health.py": ["health counts the work of every tenant"] * 2,
    "config/infra/work/calls.py": ["ask about parked calls of every tenant"],
    "config/infra/work/claims.py": ["_CLAIM_REASON"] * 3 + ["expire leases of every tenant"],
    "inventory/actions/upkeep.py": ["find the tenants with overdue reservations"],
    "inventory/actions/watching.py": ["find the tenants of whose stock there is news"],
    "messaging/actions/preparing.py": ["find the tenants whose single messages wait to be prepared"],
    "messaging/actions/progress.py": ["find the campaigns of every tenant that have a step to take"],
    "messaging/actions/unknowns.py": [
        "find the connections that have unknown messages and reports of unknown ids",
        "find what was left of refused calls, of every tenant",
        *["a report is of whichever tenant of its account has the message"] * 2,
        "find the tenants whose unknown messages are too old to be heard of",
    ],
    "messaging/actions/limits.py": ["a limit may be of any account, whichever tenants use it"],
    "messaging/actions/opt_outs.py": ["of two replies to one number the later one holds, whosever they are"],
    "messaging/actions/replies.py": [
        "a reply is kept once, whosever it has become",
        "an opt-out is for whoever wrote from that number, in the language of each",
    ],
    "messaging/actions/reviews.py": [
        "find the opt-outs beside which calls may have begun",
        "find the tenants that were told of replies",
        "find the tenants whose replies wait for a person, or could not be read",
    ],
    "messaging/actions/reports.py": [
        "a report is of whichever tenant of its account has the message",
        *["reports of unknown ids are kept where they came in"] * 2,
    ],
    "messaging/actions/routing.py": [
        "a reply concerns every tenant that wrote from its number",
        "a number is shared by those who hold the key of its provider account",
        "what looks like one account is told apart by its key",
        "the table of numbers says whose a reply is",
    ],
    "messaging/actions/forms.py": ["a form's address names its tenant"],
    "messaging/actions/imports.py": ["find the tenants with imports to forget"],
    "messaging/queries/finding.py": [
        "an unsubscribe link names its tenant by its message's reference",
        "a short link names its tenant by its code",
    ],
    "orders/actions/watches.py": ["find the tenants whose orders are watched"],
    "shopsync/actions/alerts.py": ["close an alert, of a tenant or of the system"],
    "shopsync/actions/digests.py": ["write the digests of every tenant, and the system's"],
    "shopsync/actions/schedules.py": ["the system's own alerts about schedules"],
    "shopsync/auth.py": ["an API key names its tenant"],
    "shopsync/management/commands/replay.py": ["an operator chooses deliveries of any tenant to replay"],
    "shopsync/middleware.py": ["an administrator chose all tenants in the admin, which was recorded"],
    "shopsync/queries.py": [
        "a call-back names its tenant by its connection's token",
        "a breaker names its tenant by its connection",
    ],
}
SYSTEM_TASKS = {
    "audit.tasks.drain_events",
    "inventory.tasks.drain_holds",
    "inventory.tasks.expire_reservations",
    "inventory.tasks.settle_lost_holds",
    "inventory.tasks.watch_stock",
    "messaging.tasks.drain_imports",
    "messaging.tasks.drain_messages",
    "messaging.tasks.move_campaigns",
    "messaging.tasks.settle_unknowns",
    "messaging.tasks.watch_messages",
    "messaging.tasks.forget_old_imports",
    "orders.tasks.verify_stock",
    "shopsync.tasks.collect_digests",
    "shopsync.tasks.drain_digests",
    "orders.tasks.drain_payments",
    "orders.tasks.reconcile_payments",
    "orders.tasks.settle_lost_payments",
    "orders.tasks.drain_shipping",
    "orders.tasks.settle_lost_shipping",
    "orders.tasks.watch_orders",
    "shopsync.tasks.drain_webhooks",
    "shopsync.tasks.forget_old_payloads",
    "shopsync.tasks.record_breaker_openings",
    "shopsync.tasks.sweep_work",
}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def calls(path: Path, name: str) -> list[ast.Call]:
    """Find the calls of a function or method of this name."""
    return [
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) == name or getattr(node.func, "id", None) == name)
    ]


@pytest.mark.parametrize("app", APPS)
def test_an_app_has_no_module_of_another_kind(app):
    found = {path.stem for path in (ROOT / app).iterdir() if not path.name.startswith("__")}
    assert found <= MODULES


def test_packages_are_split_by_known_nouns():
    for path in PRODUCT:
        kind = path.parent.name
        if kind in NOUNS and path.parent.parent.name in APPS and path.stem != "__init__":
            assert path.stem in NOUNS[kind], name_of(path)


def test_every_reach_over_tenants_is_listed_with_its_reason():
    found: dict[str, list[str]] = {}
    for path in PRODUCT:
        if name_of(path).startswith("config/local/") or name_of(path) == "config/infra/tenancy.py":
            continue  # the local set-up reads every demo tenant; tenancy.py defines it
        for call in calls(path, "all_tenants"):
            reason = call.keywords[0].value
            text = reason.value if isinstance(reason, ast.Constant) else ast.unparse(reason)
            found.setdefault(name_of(path), []).append(text)
    assert {name: sorted(reasons) for name, reasons in found.items()} == {
        name: sorted(reasons) for name, reasons in REACHES.items()
    }


def test_every_task_is_for_one_tenant_or_listed_as_the_systems():
    for app in APPS:
        if (ROOT / app / "tasks.py").exists():
            __import__(f"{app}.tasks")
    ours = {name: task for name, task in current_app.tasks.items() if name.split(".")[0] in APPS}
    assert {name for name, task in ours.items() if isinstance(task, SystemTask)} == SYSTEM_TASKS
    assert all(isinstance(task, SystemTask | TenantTask) for task in ours.values())


def tenant_models() -> list[type[models.Model]]:
    return [model for model in apps.get_models() if isinstance(model._default_manager, TenantManager)]


def test_models_with_a_tenant_column_have_the_closed_door_in_front_and_behind():
    open_doors = {"membership"}  # read at sign-in, before there is a tenant
    for model in apps.get_models():
        columns = {field.attname for field in model._meta.concrete_fields}
        if "tenant_id" in columns and model._meta.model_name not in open_doors:
            assert isinstance(model._default_manager, TenantManager), model
            assert isinstance(model._base_manager, TenantManager), f"{model}: its Meta must inherit TenantModel.Meta"


@pytest.mark.parametrize("model", tenant_models(), ids=lambda model: model._meta.label)
def test_no_tenant_in_scope_no_query(model):
    for manager in (model._default_manager, model._base_manager):
        with pytest.raises(NoTenantInScopeError):
            manager.all()
        with pytest.raises(NoTenantInScopeError):
            manager.bulk_create([model()])
    with pytest.raises(NoTenantInScopeError):
        model().save(force_insert=True)


def test_work_is_of_the_known_queues_and_named_apart():
    assert [model.queue.name for model in queues()] == [
        *("digests", "events", "holds", "imports", "messages", "payments", "shipping", "webhooks"),
    ]
    assert all(issubclass(model, WorkRow) for model in queues())


def test_only_the_bell_publishes():
    publishers = {
        name_of(path) for path in PRODUCT for name in ("send_task", "apply_async", "delay") if calls(path, name)
    }
    assert publishers == {"config/infra/work/bell.py"}


def test_actions_call_no_network():
    allowed = {  # between two transactions; outcomes only knows the shape of answers
        *("messaging/actions/sending.py", "messaging/actions/outcomes.py", "messaging/actions/unknowns.py"),
        "shopsync/actions/digests.py",
    }
    for path in PRODUCT:
        if "actions" in path.parts or path.name == "actions.py":
            text = path.read_text()
            assert "outbound" not in text, name_of(path)
            assert not re.search(r"providers|infra import .*\bmail\b", text) or name_of(path) in allowed, name_of(path)


def test_files_and_functions_stay_readable():
    for path in PRODUCT:
        assert len(path.read_text().splitlines()) <= 400, name_of(path)
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 45, f"{name_of(path)}:{node.name}"


def test_nobody_sleeps_without_a_condition():
    waits = {
        "config/local/processes.py",
        "config/local/valkey.py",
        "config/local/postgres.py",
        "config/local/running.py",
    }
    allowed = {
        *waits,
        "config/infra/transactions.py",
        "messaging/actions/sending.py",
        "messaging/providers/sandbox.py",
        "orders/payments/sandbox.py",
        "orders/carriers/sandbox.py",
    }  # each in a loop over a condition, jitter between attempts, or a delay asked of the twin
    sleepers = {name_of(path) for path in PRODUCT if calls(path, "sleep")}
    assert sleepers <= allowed


def test_every_module_says_what_it_is_for():
    for path in PRODUCT:
        if path.read_text().strip():
            assert ast.get_docstring(tree_of(path)), name_of(path)
