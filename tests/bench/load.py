"""A small load generator: N keep-alive connections on loopback, each request signed and new, answers counted."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from dataclasses import dataclass

from shopsync.webhooks import shopify_signature


@dataclass(frozen=True, slots=True)
class Load:
    """What one run did: acknowledged (200) deliveries, the seconds it took, and other answers."""

    acknowledged: int
    seconds: float
    others: int

    @property
    def per_second(self) -> float:
        return self.acknowledged / self.seconds


def _request(port: int, secret: str, shop: str, number: int) -> bytes:
    body = json.dumps({**_ORDER, "id": 10**12 + number}).encode()
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Shopify-Topic": "orders/create",
        "X-Shopify-Shop-Domain": shop,
        "X-Shopify-API-Version": "2026-07",
        "X-Shopify-Webhook-Id": str(uuid.uuid4()),
        "X-Shopify-Event-Id": str(uuid.uuid4()),
        "X-Shopify-Triggered-At": "2026-11-02T08:16:02.101071364Z",
        "X-Shopify-Hmac-Sha256": shopify_signature(secret, body),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /webhooks/shopify HTTP/1.1\r\n{lines}\r\n"
    return head.encode() + body


_ORDER = {
    "updated_at": "2026-11-02T10:00:00Z",
    "currency": "EUR",
    "financial_status": "paid",
    "line_items": [
        {"id": n, "title": "A line of a middling order", "quantity": 1, "price": "10.00"} for n in range(40)
    ],
}  # about 3 kB, as Shopify's own samples are


def run_load(*, port: int, secret: str, shop: str, connections: int, requests: int) -> Load:
    """Send `requests` new deliveries over `connections` connections; requests are built before the clock starts."""
    share = requests // connections
    batches = [
        [_request(port, secret, shop, c * share + n + uuid.uuid4().int % 10**9 * 1000) for n in range(share)]
        for c in range(connections)
    ]
    counts: list[tuple[int, int]] = []
    barrier = threading.Barrier(connections + 1)

    def send(batch: list[bytes]) -> None:
        good = bad = 0
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            barrier.wait()
            for request in batch:
                sock.sendall(request)
                if _answer(sock).startswith(b"HTTP/1.1 200"):
                    good += 1
                else:
                    bad += 1
        counts.append((good, bad))

    threads = [threading.Thread(target=send, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return Load(sum(good for good, _ in counts), seconds, sum(bad for _, bad in counts))


def _answer(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    length = next(int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length"))
    while len(rest) < length:
        rest += sock.recv(65536)
    return head
