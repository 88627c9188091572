"""Who may see the live view, and what a browser may do with it.

Without a token it listens on loopback only, and takes no request for another host's name: else a page from anywhere
could point its own name at 127.0.0.1 and read what the cameras see. With a token, every path but /healthz asks for it:

    Authorization: Bearer TOKEN       scripts, Prometheus
    Authorization: Basic ANY:TOKEN    players, as http://view:TOKEN@host:8080/...
    /?token=TOKEN                     browsers: kept as a cookie, and gone from the address at once
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .live_view import Address

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_COOKIE_AGE_S = 30 * 24 * 3600
_MOST_ANSWERS = 256  # at a time; what a machine asks of /healthz is answered beside them


class Guard:
    """Middleware around everything else: `app`, served on `address`, for those who know the `token` if there is one."""

    def __init__(self, app: ASGIApp, *, address: Address, token: str | None) -> None:
        self._app = app
        self._checks_host = token is None and address.is_loopback
        self._address = address
        self._token = token
        self._cookie = f"roadmask_{address.port}"  # cookies are shared by all ports of a host
        self._answers = 0  # under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        self._answers += 1
        try:
            await (refusal or self._app)(scope, receive, send_guarded)
        finally:
            self._answers -= 1

    def _refusal(self, scope: Scope) -> Response | None:
        """What to answer in place of the app, if anything."""
        headers = Headers(scope=scope)
        if self._checks_host and not _is_local(headers.get("host", "")):
            return PlainTextResponse(
                f"This is served to {self._address.url} only. For other names, start roadmask with --token.\n", 403
            )
        if scope["path"] == "/healthz":
            return None
        if self._answers >= _MOST_ANSWERS:
            return PlainTextResponse("There are too many viewers; try again when some have left.\n", 503)
        if self._token is None:
            return None
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", []) if scope["path"] == "/" else []
        if tokens and self._is_token(tokens[0]):
            return self._welcome()
        if self._has_token(headers):
            return None
        # Players send what they know when asked; a browser would ask its user for a name that does not exist.
        challenge = "Bearer" if "sec-fetch-mode" in headers else 'Basic realm="roadmask", charset="UTF-8"'
        return PlainTextResponse(
            "This live view needs its token: open /?token=TOKEN once, with the one that roadmask was started with.\n",
            401,
            {"WWW-Authenticate": challenge},
        )

    def _welcome(self) -> Response:
        """Keep the token as a cookie, and go on to the address without it.

        By `Refresh`, not by a redirect: after a link from elsewhere, a redirect would come without a strict cookie.
        Both hold for the path that the browser knows, which a reverse proxy may have put in front.
        """
        response = Response(headers={"Refresh": "0; url=./"}, media_type="text/html")
        value, age_s = self._cookie_value(), _COOKIE_AGE_S
        response.set_cookie(self._cookie, value, max_age=age_s, path=None, httponly=True, samesite="strict")
        return response

    def _has_token(self, headers: Headers) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._is_token(value.strip())
        if kind.lower() == "basic":
            return self._is_token(_password(value))
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._cookie_value().encode())

    def _is_token(self, word: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(word.encode(), self._token.encode())

    def _cookie_value(self) -> str:
        """Not the token itself; the same after a restart, so that open pages go on."""
        assert self._token is not None
        return hmac.new(self._token.encode(), b"roadmask live view", hashlib.sha256).hexdigest()


def _is_local(host: str) -> bool:
    """Whether a `Host` header names this machine's loopback."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
