"""A server on 127.0.0.1 that misbehaves as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIGN_IN = b"<!DOCTYPE html><html><body>Sign in to the network</body></html>"


class Place:
    """What a server holds and how it answers.

    Attributes:
        files: by name.
        how: what each answer does, the first for the first request and the last for all that follow: `well`; `cut`,
            half and no more; `stall`, half, then silence; `trickle`, a byte at a time; `page`, an HTML page;
            `status N`; `long`, `short`, another length said than sent; `endless`; `to URL`, redirected; `wrong`, as
            many bytes, others; `nothing`, closed.
    """

    def __init__(self, files: dict[str, bytes]):
        self.files, self.how = files, ["well"]
        self.url = ""

    def next(self) -> str:
        return self.how.pop(0) if len(self.how) > 1 else self.how[0]


@contextmanager
def serving(place: Place) -> Iterator[Place]:
    """A server for the place, at `place.url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):  # the client has gone
                answer(self, place)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    place.url = f"http://127.0.0.1:{server.server_address[1]}"
    work = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    work.start()
    try:
        yield place
    finally:
        server.shutdown()
        server.server_close()


def answer(request: Any, place: Place) -> None:
    """One answer."""
    how = place.next()
    if how == "nothing":
        return
    whole = place.files.get(request.path.rpartition("/")[2])
    if how.startswith("status") or whole is None:
        return send(request, int(how.split()[1]) if how.startswith("status") else 404, b"no", 2)
    if how.startswith("to "):
        return send(request, 302, b"", 0, Location=how[3:].replace("SELF", place.url + request.path))
    if how == "page":
        return send(request, 200, SIGN_IN, len(SIGN_IN))
    if how == "endless":
        return endless(request)
    length = len(whole) + {"long": 100, "short": -100}.get(how, 0)
    if how == "wrong":
        whole = whole[:-1] + bytes([whole[-1] ^ 1])
    if how == "trickle":
        send(request, 200, b"", length)
        for i in range(len(whole)):
            request.wfile.write(whole[i : i + 1])
            time.sleep(0.02)
        return None
    send(request, 200, whole[: len(whole) // 2] if how in ("cut", "stall") else whole, length)
    if how == "stall":
        time.sleep(5)
    return None


def send(request: Any, status: int, body: bytes, length: int, **headers: str) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(length))
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def endless(request: Any) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(100_000):
        request.wfile.write(bytes(1 << 16))
