"""The vendor's tokens: JSON Web Tokens signed with HS256 (RFC 7519, RFC 7515), good for 24 h.

Nothing is kept of a token but its number, so that any number of them may be alive.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

import orjson

LIFETIME_S = 24 * 3600
_HEADER = b'{"typ":"JWT","alg":"HS256"}'


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of itself."""

    email: str
    number: int
    issued: int
    """Seconds since the epoch."""
    expires: int


class Tokens:
    """Makes tokens and reads its own."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def issue(self, email: str, number: int, now: float) -> str:
        """A token of this account."""
        claims = {"userEmail": email, "jti": str(number), "iat": int(now), "exp": int(now) + LIFETIME_S}
        signed = _encode(_HEADER) + b"." + _encode(orjson.dumps(claims))
        return (signed + b"." + _encode(self._sign(signed))).decode()

    def read(self, token: str) -> Claims | None:
        """What a token of ours says, expired or not; None where the signature is not ours."""
        signed, _, signature = token.encode("utf-8", "replace").rpartition(b".")
        if not hmac.compare_digest(_encode(self._sign(signed)), signature):
            return None
        claims: dict[str, Any] = orjson.loads(_decode(signed.partition(b".")[2]))
        return Claims(claims["userEmail"], int(claims["jti"]), claims["iat"], claims["exp"])

    def _sign(self, signed: bytes) -> bytes:
        return hmac.new(self._key, signed, hashlib.sha256).digest()


def _encode(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
