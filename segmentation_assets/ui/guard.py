"""Guard in front of Dagster's web server: who asks by its own name and from its own pages, and by JSON POST.

The web server has no login, runs GraphQL mutations that come by GET, as plain text or from any web page, and believes
whoever reports a check as passed. A page that is open in the browser of whoever runs `make ui` could launch runs, and
one whose host name is pointed at 127.0.0.1 could read them.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost")
GRAPHQL = "/graphql"
# The policy code of a web socket's closing: before it is accepted, the browser sees 403.
POLICY_VIOLATION = 1008
_SAFE_METHODS = ("GET", "HEAD")


class Guard:
    """An ASGI application around another one, which is asked only for what is allowed."""

    def __init__(self, app: "ASGIApp", port: int) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] not in ("http", "websocket"):  # the beginning and the end of the server
            await self._app(scope, receive, send)
            return
        refused = self.refusal(scope)
        if refused is None:
            await self._app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refused})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"Refused: {refused}.\n".encode()})

    def refusal(self, scope: "Scope") -> str | None:
        """Why a request is not let through; None where it is."""
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return f"this is http://{min(self._hosts)}, and was asked for under another name"
        if len(origins) > 1 or any(origin.lower() not in self._origins for origin in origins):
            return "it comes from another site's page"
        # Browsers add the path's slashes and cases as a page writes them; the router behind takes the plain one.
        path = "/" + "/".join(part for part in scope["path"].lower().split("/") if part)
        if scope["type"] == "websocket":
            # A browser names the page that opens a web socket, always.
            return None if origins and path == GRAPHQL else "web sockets are for the pages of this server"
        return self._refused_request(scope, path)

    def _refused_request(self, scope: "Scope", path: str) -> str | None:
        method = scope["method"]
        is_graphql = path == GRAPHQL or path.startswith(f"{GRAPHQL}/")
        if path.startswith("/report_asset"):
            return "what happened to an asset is reported by its runs"
        if method in _SAFE_METHODS:
            if is_graphql and scope.get("query_string"):
                return "GraphQL is asked by POST"
            is_followed_link = _values(scope, b"sec-fetch-mode") == ["navigate"]
            sites = _values(scope, b"sec-fetch-site")
            if not is_followed_link and any(site in ("cross-site", "same-site") for site in sites):
                return "it comes from another site's page"
            return None
        if method != "POST" or not is_graphql:
            return f"{method} is for GraphQL alone, by POST"
        if any(site not in ("same-origin", "none") for site in _values(scope, b"sec-fetch-site")):
            return "it comes from another site's page"
        kinds = _values(scope, b"content-type")
        # A page of any site may send text/plain, and `text/plain; application/json` too; JSON it may not.
        if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "application/json":
            return "GraphQL is asked in JSON (Content-Type: application/json)"
        return None


def _values(scope: "Scope", name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1").strip() for key, value in headers if key.lower() == name]


def _unframed(send: "Send") -> "Send":
    """No page shows this one inside of itself, where a click would land on what is not seen."""

    async def sent(message: "Message") -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-frame-options", b"DENY")]
        await send(message)

    return sent
