"""Tokens: 256 random bits each, kept as their SHA-256, with a role; and a browser's sessions in their place."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from contimg.core.constants import SECONDS_PER_DAY
from contimg.core.errors import InputError
from contimg.core.products import read_json, write_json

Role = Literal["read", "run", "publish"]
ROLES: tuple[Role, ...] = ("read", "run", "publish")
"""Each may what those before it may."""
PREFIX = "contimg_"
_FILE = "tokens.json"


@dataclass(frozen=True)
class Token:
    """A token as it is kept: never the token itself."""

    name: str
    role: Role
    sha256: str
    created: float
    expires: float | None = None

    def may(self, role: Role) -> bool:
        """Whether its role reaches another."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def lives(self, now: float) -> bool:
        """Whether it has not expired."""
        return self.expires is None or now < self.expires


LOCAL = Token("local", "publish", "", 0.0)
"""Whoever reaches a service without tokens, which listens on loopback only."""


def hashed(secret: str) -> str:
    """SHA-256 of a token or of a session's number, in hex."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class Tokens:
    """The tokens of a service, `tokens.json` in its folder; read anew when the file changes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE
        self._stamp: tuple[int, int] | None = None
        self._known: list[Token] = []

    def all(self) -> list[Token]:
        """Every token, in order of their making."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            self._known, self._stamp = [], None
            return []
        stamp = (state.st_mtime_ns, state.st_ino)
        if stamp != self._stamp:
            self._known = [Token(**entry) for entry in read_json(self.path)]
            self._stamp = stamp
        return self._known

    def find(self, secret: str) -> Token | None:
        """The token that a secret is; every one is compared, in constant time."""
        digest, found = hashed(secret), None
        for token in self.all():
            if hmac.compare_digest(token.sha256, digest) and token.lives(time.time()):
                found = token
        return found

    def of_hash(self, digest: str) -> Token | None:
        """The token of a hash, that a session was opened with; None if it was revoked."""
        return next(
            (token for token in self.all() if token.sha256 == digest and token.lives(time.time())), None
        )

    def add(self, name: str, role: Role, *, days: float | None = None) -> str:
        """Make a token and return it: it is not kept and cannot be shown again."""
        if not name or not name.isprintable() or len(name) > 100:
            raise InputError(f"{name!r}: expected a name of 1 to 100 printable characters")
        if any(token.name == name for token in self.all()):
            raise InputError(
                f"{name}: there is a token of this name; revoke it first: contimg token revoke {name}"
            )
        secret = PREFIX + secrets.token_urlsafe(32)
        now = time.time()
        expires = None if days is None else now + SECONDS_PER_DAY * days
        self._write([*self.all(), Token(name, role, hashed(secret), now, expires)])
        return secret

    def revoke(self, name: str) -> None:
        """Take a token back, and with it the sessions opened with it."""
        left = [token for token in self.all() if token.name != name]
        if len(left) == len(self.all()):
            known = ", ".join(token.name for token in self.all()) or "none"
            raise InputError(f"{name}: no token of this name; expected one of {known}")
        self._write(left)

    def _write(self, tokens: list[Token]) -> None:
        before = os.umask(0o077)
        try:
            write_json(self.path, [asdict(token) for token in tokens])
        finally:
            os.umask(before)
