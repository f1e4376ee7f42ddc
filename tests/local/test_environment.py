"""The local environment: keys that stay, servers of the environment used instead, one session at a time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from config import env
from config.local.environment import SHOP_DOMAINS, local_environment, local_keys
from config.local.session import BusyError, only_one, stop_all

HOLD = """
import sys
from pathlib import Path
from config.local.session import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_keys_are_random_private_and_the_same_from_run_to_run(tmp_path):
    keys = local_keys(tmp_path / "one")
    assert local_keys(tmp_path / "one") == keys
    assert local_keys(tmp_path / "two").secret_key != keys.secret_key
    assert set(keys.tenants) == set(SHOP_DOMAINS)
    assert (tmp_path / "one" / "keys.json").stat().st_mode & 0o777 == 0o600


def test_keys_of_an_older_version_are_kept_and_completed(tmp_path):
    kept = local_keys(tmp_path)
    path = tmp_path / "keys.json"
    document = json.loads(path.read_text())
    del document["digest_key"], document["tenants"][SHOP_DOMAINS[1]]
    path.write_text(json.dumps(document))
    completed = local_keys(tmp_path)
    assert completed.secret_key == kept.secret_key
    assert completed.digest_key
    assert completed.tenants[SHOP_DOMAINS[0]] == kept.tenants[SHOP_DOMAINS[0]]
    assert local_keys(tmp_path) == completed


@pytest.mark.parametrize("text", ["{", '{"unknown": 1}', '{"tenants": []}'])
def test_a_damaged_file_of_keys_is_named_in_a_sentence(tmp_path, text):
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(ValueError, match=r"keys\.json is damaged .*remove it"):
        local_keys(tmp_path)


def test_servers_and_keys_of_the_environment_are_used_instead(tmp_path, monkeypatch):
    given = {"DATABASE_URL": "postgresql://a:b@c/d", "REDIS_URL": "redis://e", "SHOPIFY_API_SECRET": "theirs"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SECRET_KEY", raising=False)
    environment = local_environment(tmp_path)
    assert {name: environment[name] for name in given} == given
    assert environment["SECRET_KEY"] == local_keys(tmp_path).secret_key
    assert environment["SHOPSYNC_ENV"] == "local"
    assert environment["MEDIA_ROOT"] == str(tmp_path / "media")  # beside the rest, wherever that is
    assert not list(tmp_path.glob("postgres*"))


def test_a_second_session_is_refused_until_the_first_ends_even_by_sigkill(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=rf"already up .*pid {holder.pid}.*make stop"), only_one(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with only_one(tmp_path):
        pass


def test_stop_ends_a_living_session_and_says_so(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    assert stop_all(tmp_path) == [f"a demo or run (pid {holder.pid})"]
    holder.communicate()
    assert stop_all(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("smtp://127.0.0.1", ("127.0.0.1", 25, "", False, False)),
        ("smtp+tls://me%40x:p%2Fw@mail.example.com", ("mail.example.com", 587, "p/w", True, False)),
        ("smtps://me:pw@mail.example.com:1465", ("mail.example.com", 1465, "pw", False, True)),
    ],
)
def test_an_email_url_becomes_djangos_settings(url, wanted):
    found = env.mail(url)
    names = ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_PASSWORD", "EMAIL_USE_TLS", "EMAIL_USE_SSL")
    assert tuple(found[name] for name in names) == wanted


def test_an_email_url_may_be_a_folder_or_nothing_and_nothing_else():
    assert env.mail("file:///var/mail/out")["EMAIL_FILE_PATH"] == "/var/mail/out"
    assert env.mail("") == {"EMAIL_BACKEND": ""}
    for wrong in ("http://x", "smtp://", "file://", "mail.example.com"):
        with pytest.raises(env.SettingsError, match="EMAIL_URL"):
            env.mail(wrong)
