"""Who may ask: the token, and the headers that tell requests of our own pages from others.

A browser shows the token once, in the address that `mkt serve` prints. It gets a cookie that
scripts cannot read and that other sites cannot send, and an address without the token. Scripts send
`Authorization: Bearer`. Host, Origin and Sec-Fetch-Site are checked on every request: another site
whose name leads to this machine (DNS rebinding), or whose page sends requests here (CSRF), is
refused before the token is compared.
"""

import hashlib
import hmac
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mkt_search.web.problems import ProblemResponse

EVERY_ADDRESS = ("0.0.0.0", "::")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SCHEMES = ("http", "https")  # https where a proxy encrypts
NO_TOKEN = "Open the address that `mkt serve` printed: it has a token, which this page needs."
NO_TOKEN_API = (
    "The request has no valid token. Send the one that `mkt serve` printed, as "
    "`Authorization: Bearer TOKEN`."
)
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>MKT search</title>'
    f"<h1>MKT search</h1><p>{NO_TOKEN}</p></html>"
)


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Args:
        token: the secret of the server.
        port: names the cookie, because browsers send cookies to every port of a host.
        host: what the server listens on. It may be addressed so, as it may by the names of the
            loopback. If that is every address of the machine, it may be addressed by any of them,
            and by the machine's name.
    """

    token: str
    port: int
    host: str = "127.0.0.1"

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return f"mkt-{self.port}"

    @property
    def session(self) -> str:
        """The value of the cookie: not the token, which servers on other ports would get, too."""
        return hmac.digest(self.token.encode(), b"mkt session cookie", hashlib.sha256).hex()

    def is_host(self, header: str) -> bool:
        """Whether a Host header names this server; any port, because it may be forwarded."""
        try:
            found = urlsplit(f"//{header}")
            named, _ = found.hostname, found.port
        except ValueError:
            return False
        has_more = found.username or found.password or found.path or found.query or found.fragment
        return named is not None and not has_more and self._is_name(named)

    def _is_name(self, name: str) -> bool:
        if name in LOOPBACK or name == self.host.lower():
            return True
        if self.host not in EVERY_ADDRESS:
            return False
        try:
            return bool(ip_address(name))  # an attack by DNS has a name
        except ValueError:
            own = socket.gethostname().lower()
            return name in (own, f"{own}.local")

    def has_token(self, headers: Headers) -> bool:
        """Whether a request shows the token or the cookie."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return same(given.strip(), self.token)
        return any(same(value, self.session) for value in _cookies(headers, self.cookie))


def same(given: str, secret: str) -> bool:
    """Compare with a secret in a time that does not depend on it."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())


class Security:
    """Answers only requests that may ask, and adds the headers that restrict the pages."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no WebSockets here
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                is_data = scope["path"].startswith("/api/")
                headers.setdefault("Cache-Control", "no-store" if is_data else "no-cache")
            await send(message)

        response = self.refusal(scope) or self.login(scope)
        await (response or self.app)(scope, receive, send_with_headers)

    def refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request that another site may have caused, None for others."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.access.is_host(hosts[0]):
            return ProblemResponse(
                403,
                "The Host header does not name this server. Use the address that `mkt serve` "
                "printed, or start it with --host NAME.",
            )
        is_start = scope["path"] == "/" and scope["method"] == "GET"
        site = headers.get("sec-fetch-site", "none")
        is_navigation = is_start and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not is_navigation:
            return ProblemResponse(403, f"The request comes from another site ({site}).")
        for origin in headers.getlist("origin"):
            if origin.lower() not in [f"{kind}://{hosts[0].lower()}" for kind in SCHEMES]:
                return ProblemResponse(403, "The request comes from a page of another origin.")
        return None

    def login(self, scope: Scope) -> Response | None:
        """Take the token out of the address of the first page; refuse requests without it."""
        given = _parameters(scope)
        if scope["path"] == "/" and scope["method"] == "GET" and "token" in dict(given):
            if not same(dict(given)["token"], self.access.token):
                return HTMLResponse(PAGE, 401)
            rest = urlencode([(name, value) for name, value in given if name != "token"])
            response = RedirectResponse(f"/?{rest}" if rest else "/", 303)
            response.set_cookie(
                self.access.cookie,
                self.access.session,
                httponly=True,
                samesite="strict",
                path="/",
            )
            return response
        if self.access.has_token(Headers(scope=scope)):
            return None
        if scope["path"].startswith(("/api/", "/thumbnails/", "/static/")):
            return ProblemResponse(401, NO_TOKEN_API, headers={"WWW-Authenticate": "Bearer"})
        return HTMLResponse(PAGE, 401, {"WWW-Authenticate": "Bearer"})


def _cookies(headers: Headers, name: str) -> Iterable[str]:
    """Yield the values of a cookie."""
    for line in headers.getlist("cookie"):
        try:
            found = SimpleCookie(line).get(name)
        except CookieError:
            continue
        if found is not None:
            yield found.value


def _parameters(scope: Scope) -> list[tuple[str, str]]:
    query = scope["query_string"].decode("latin-1")
    try:
        return parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=100)
    except ValueError:  # too many of them
        return []
