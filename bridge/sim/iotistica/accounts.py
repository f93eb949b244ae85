"""Users and their tokens: JSON Web Tokens signed with HS256 (RFC 7519, RFC 7515), good for 15 minutes and 7 days.

Source: the vendor's middleware/jwt-auth.ts and utils/hs256-jwt.ts as described in the facts; claims as recorded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any

import orjson

ISSUER, AUDIENCE = "iotistic-api", "iotistic-dashboard"
ACCESS_S = 15 * 60
DOCUMENTED_ACCESS_S = 3600
REFRESH_S = 7 * 24 * 3600
_HEADER = b'{"alg":"HS256","typ":"JWT"}'


@dataclass(slots=True)
class User:
    """Who may log in."""

    id: int
    username: str
    email: str
    role: str
    password: str = field(repr=False)
    full_name: str | None = None
    must_change_password: bool = False
    issued: int = 0
    """Number of the last token."""
    revoked: int = 0
    """Refresh tokens up to this number are no longer good."""
    ended: int = 0
    """Tokens of any kind up to this number are no longer good: a switch, the vendor has no such thing."""

    def as_json(self) -> dict[str, Any]:
        """As login tells it."""
        return {
            "id": self.id, "username": self.username, "email": self.email, "role": self.role,
            "fullName": self.full_name,
        }  # fmt: skip


class BadToken(Exception):
    """The token is refused; the first argument is the vendor's sentence, `details` its reason."""

    def __init__(self, message: str, details: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Accounts:
    """The users, and the key that signs their tokens."""

    def __init__(self, users: list[User], access_s: int) -> None:
        self.users = users
        self.access_s = access_s
        self._key = secrets.token_bytes(32)

    def by_name(self, name: str) -> User | None:
        """By user name or e-mail address."""
        return next((user for user in self.users if name and name in (user.username, user.email)), None)

    def issue(self, user: User, kind: str, now: float) -> str:
        """A token of this user, "access" or "refresh"."""
        user.issued += 1
        life = self.access_s if kind == "access" else REFRESH_S
        claims = {
            "userId": user.id, "username": user.username, "email": user.email, "role": user.role, "type": kind,
            "jti": user.issued, "iat": int(now), "iss": ISSUER, "aud": AUDIENCE, "exp": int(now) + life,
        }  # fmt: skip
        signed = _encode(_HEADER) + b"." + _encode(orjson.dumps(claims))
        return (signed + b"." + _encode(self._sign(signed))).decode()

    def claims(self, token: str) -> dict[str, Any]:
        """What a token of ours says, expired or not. Raises BadToken."""
        header, _, rest = token.partition(".")
        payload, _, signature = rest.partition(".")
        algorithm = _json(header).get("alg")
        if algorithm != "HS256":
            raise BadToken(f"Unsupported token algorithm: {algorithm}")
        expected = self._sign(f"{header}.{payload}".encode())
        if not hmac.compare_digest(_encode(expected), signature.encode()):
            raise BadToken("Invalid or expired token", "Invalid token: Invalid token signature")
        return _json(payload)

    def user_of(self, token: str, kind: str, now: float) -> User:
        """Whose token it is. Raises BadToken."""
        claims = self.claims(token)
        user = next((user for user in self.users if user.id == claims["userId"]), None)
        if now >= claims["exp"] or user is None or claims["jti"] <= user.ended:
            raise BadToken("Invalid or expired token", "Invalid token: Token has expired")
        if claims["type"] != kind:
            raise BadToken("Invalid token type. Use access token for API requests.")
        if kind == "refresh" and claims["jti"] <= user.revoked:
            raise BadToken("Invalid or expired refresh token")
        return user

    def expires(self, token: str) -> float:
        """When a token of ours ends, in seconds since the epoch. Raises BadToken."""
        return float(self.claims(token)["exp"])

    def _sign(self, signed: bytes) -> bytes:
        return hmac.new(self._key, signed, hashlib.sha256).digest()


def _encode(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _json(part: str) -> dict[str, Any]:
    try:
        content = orjson.loads(base64.urlsafe_b64decode(part.encode() + b"=" * (-len(part) % 4)))
    except (ValueError, UnicodeError, binascii.Error):
        raise BadToken("Invalid token format") from None
    if not isinstance(content, dict):
        raise BadToken("Invalid token format")
    return content
