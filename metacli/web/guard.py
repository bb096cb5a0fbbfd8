"""RequestGuard: accepts only requests of the page itself, from this machine, with the secret token."""

from __future__ import annotations

import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class RequestGuard:
    """Refuses requests that do not come from the page, and removes the token from the path of all others.

    The Host must be this machine and port, so that a foreign name that resolves to this machine (DNS rebinding) is
    refused. The Origin, which a browser sends with every POST, must be the page's. The first part of the path must be
    the token.

    Args:
        app: the application.
        token: the first part of every path.
        port: the port of the server.
    """

    def __init__(self, app: ASGIApp, token: str, port: int):
        self._app = app
        self._token = token.encode()
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            raise RuntimeError(f"unsupported protocol: {scope['type']}")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        token, _, path = scope["path"][1:].partition("/")
        if refusal := self._refusal_reason(Headers(scope=scope), scope["method"], token):
            await JSONResponse({"error": refusal}, 403)(scope, receive, send_with_headers)
            return
        await self._app({**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}, receive, send_with_headers)

    def _refusal_reason(self, headers: Headers, method: str, token: str) -> str:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return "wrong host: open the address that metacli draw printed"
        if (origins or method not in ("GET", "HEAD")) and origins != [f"http://{hosts[0]}"]:
            return "this request does not come from the page"
        if not secrets.compare_digest(token.encode(errors="surrogateescape"), self._token):
            return "wrong token: open the whole address that metacli draw printed"
        return ""
