"""The container's health check: python -m config.probe asks the process beside it how it is, by SHOPSYNC_PROCESS.

web     GET /ready
worker  its heartbeat in Redis; a Redis that is away says nothing about the worker
others  nothing to ask (a process without a name is the web's)
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time

import redis

WEB_PORT = 8000
OLDEST_HEARTBEAT_SECONDS = 60.0
HEARTBEATS = "worker-heartbeats"  # config.infra.heartbeat, without its settings: this runs every few seconds


def web_problem(port: int = WEB_PORT) -> str:
    """Ask the web process whether it is ready; return what is wrong, empty when nothing is.

    It is asked under a name that it answers to: ALLOWED_HOSTS refuses all others.
    """
    host = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".") or "localhost"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready", headers={"Host": host if host != "*" else "localhost"})
        answer = connection.getresponse()
        text = answer.read(500).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from the web process: {error}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"/ready answered {answer.status}: {text}"


def worker_problem(name: str) -> str:
    """Look when the worker of this name was last heard of; return what is wrong, empty when nothing is."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"], socket_connect_timeout=2, socket_timeout=2)
    try:
        beaten_at = client.zscore(HEARTBEATS, name)
    except (redis.RedisError, OSError):
        return ""
    if not isinstance(beaten_at, float):
        return f"{name} was never heard of"
    age = time.time() - beaten_at
    return "" if age <= OLDEST_HEARTBEAT_SECONDS else f"{name} was last heard of {age:.0f} s ago"


def main() -> int:
    """Return 0 when the process is well, 1 (with a sentence) when it is not."""
    process = os.environ.get("SHOPSYNC_PROCESS", "web")  # as config.wsgi has it
    problem = ""
    if process == "web":
        problem = web_problem()
    elif process == "worker":
        problem = worker_problem(f"celery@{socket.gethostname()}")
    if problem:
        sys.stderr.write(problem + "\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
