"""Who asks, and what they may: tokens and sessions, the origin of a page, the rate, and a log of what was done."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from contimg.api.answers import Problem
from contimg.service.limits import Bucket
from contimg.service.store import Store
from contimg.service.tokens import LOCAL, Role, Token, Tokens, hashed

COOKIE = "contimg_session"
CSRF_HEADER = "x-csrf-token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request cannot be served as it is"},
    401: {"model": Problem, "description": "No token, or none that is known"},
    403: {
        "model": Problem,
        "description": "The token's role does not reach this, or the page is another site's",
    },
    429: {"model": Problem, "description": "Too many requests"},
}
_FAILURES_PER_S, _FAILURES = 0.2, 10.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Who:
    """Whoever asks: the token, and the session if it came by cookie."""

    token: Token
    session: str | None = None


def is_loopback(host: str) -> bool:
    """Whether an address, or `localhost`, is this machine's alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Audit:
    """`audit.jsonl`: who changed what, and who was refused; one line each."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, **told: Any) -> None:
        """Write a line; nothing in it can break it, since it is JSON."""
        line = json.dumps({"time": round(time.time(), 3), **told})
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class Guard:
    """Lets requests in, or does not.

    Parameters
    ----------
    tokens : Tokens
    store : Store
        Holds the sessions.
    requests_per_s : float
        Of one client.
    session_s : float
        How long a session lasts.
    names : tuple of str
        Names that the service is called by, beside those of this machine.
    """

    def __init__(
        self, tokens: Tokens, store: Store, *, requests_per_s: float, session_s: float, names: tuple[str, ...]
    ) -> None:
        self.tokens, self._store, self._session_s = tokens, store, session_s
        self.rate = Bucket(requests_per_s, 10.0 * requests_per_s)
        self.failures = Bucket(_FAILURES_PER_S, _FAILURES)
        self._names = frozenset(names)

    def known_host(self, headers: Mapping[str, str]) -> bool:
        """Whether the name that the client called is ours: a page that had its own name lead here is stopped."""
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        return is_loopback(host) or host in self._names or host in ("testserver",)

    def same_site(self, headers: Mapping[str, str]) -> bool:
        """Whether a request that changes something came from no other site's page."""
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return False
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc == headers.get("host")

    def who(self, headers: Mapping[str, str], cookie: str | None, client: str) -> Who | None:
        """Tell who asks; None for nobody who is known."""
        if not self.tokens.all():
            return Who(LOCAL)
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and secret:
            token = self.tokens.find(secret.strip())
            if token is None:
                self.failures.take(client)
            return None if token is None else Who(token)
        if cookie is None:
            return None
        row = self._session(cookie)
        token = None if row is None else self.tokens.of_hash(row[0])
        return None if token is None else Who(token, cookie)

    def _session(self, cookie: str) -> tuple[str, str] | None:
        found = self._store.ask(
            "SELECT token, csrf FROM session WHERE hash = ? AND expires > ?", (hashed(cookie), time.time())
        )
        return (str(found[0][0]), str(found[0][1])) if found else None

    def csrf(self, session: str) -> str | None:
        """The token that a session's page must send along with what changes something."""
        row = self._session(session)
        return None if row is None else row[1]

    def csrf_is(self, session: str, given: str | None) -> bool:
        """Whether a page sent the token of its session."""
        return hmac.compare_digest(
            (self.csrf(session) or "").encode(), (given or "-").encode("utf-8", "replace")
        )

    def open_session(self, token: Token) -> tuple[str, str, float]:
        """Open a session: its number for the cookie, its CSRF token, and when it ends."""
        number, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        expires = time.time() + self._session_s
        with self._store.writing() as db:
            db.execute("DELETE FROM session WHERE expires < ?", (time.time(),))
            db.execute("INSERT INTO session VALUES (?,?,?,?)", (hashed(number), token.sha256, csrf, expires))
        return number, csrf, expires

    def close_session(self, number: str) -> None:
        """End a session."""
        with self._store.writing() as db:
            db.execute("DELETE FROM session WHERE hash = ?", (hashed(number),))


def client_of(request: Request) -> str:
    """Address of the client, as the server knows it."""
    return request.client.host if request.client else "unknown"


def needs(role: Role) -> Callable[[Request], Awaitable[Who]]:
    """Make the dependency that lets a role, and those above it, in.

    It runs where the request came in: a thread for it would cost more than what it does.
    """

    async def admit(request: Request) -> Who:
        guard: Guard = request.app.state.guard
        client = client_of(request)
        if guard.failures.full(client):
            raise HTTPException(429, "too many tokens that are not known", headers={"Retry-After": "10"})
        who = guard.who(request.headers, request.cookies.get(COOKIE), client)
        if who is None:
            _refused(request, 401, None)
            raise HTTPException(
                401, "send a token: Authorization: Bearer contimg_…", headers={"WWW-Authenticate": "Bearer"}
            )
        if not who.token.may(role):
            _refused(request, 403, who)
            raise HTTPException(
                403, f"the token {who.token.name} has the role {who.token.role}; this needs {role}"
            )
        wait = guard.rate.take(f"{who.token.name}@{client}")
        if wait:
            raise HTTPException(429, "too many requests", headers={"Retry-After": str(max(1, round(wait)))})
        by_cookie = request.method not in SAFE and who.session is not None
        if by_cookie and not guard.csrf_is(who.session or "", request.headers.get(CSRF_HEADER)):
            _refused(request, 403, who)
            raise HTTPException(403, f"send the session's CSRF token in the header {CSRF_HEADER}")
        request.state.who = who
        return who

    return admit


def _refused(request: Request, status: int, who: Who | None) -> None:
    request.app.state.audit.write(
        who=None if who is None else who.token.name,
        client=client_of(request),
        method=request.method,
        path=request.url.path[:500],
        status=status,
    )


Reader = Annotated[Who, Depends(needs("read"))]
Runner = Annotated[Who, Depends(needs("run"))]
Publisher = Annotated[Who, Depends(needs("publish"))]
