"""API keys of one organisation: read-only or read-write, 90 days by default, shown once.

Source: the authentication page (401 invalid or expired; 403 and its sentence for writing with a read-only key).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.ports import Clock

LIFETIME = timedelta(days=90)


@dataclass(slots=True)
class ApiKey:
    """One key."""

    name: str
    """What the journal calls it."""
    secret: str = field(repr=False)
    writes: bool
    expires: datetime
    revoked: bool = False


class ApiKeys:
    """The keys by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}

    def issue(self, name: str, secret: str, writes: bool, lifetime: timedelta = LIFETIME) -> ApiKey:
        """A new key, in place of one of the same name."""
        self._keys[name] = ApiKey(name, secret, writes, self._clock.now() + lifetime)
        return self._keys[name]

    def __getitem__(self, name: str) -> ApiKey:
        if name not in self._keys:
            raise ValueError(f"there is no key {name!r}: expected one of {', '.join(self._keys)}")
        return self._keys[name]

    def of(self, authorization: str) -> ApiKey | None:
        """Whose header this is, whether or not the key is still good."""
        scheme, _, secret = authorization.partition(" ")
        if scheme != "Bearer":
            return None
        given = secret.strip().encode(errors="surrogateescape")
        return next((key for key in self._keys.values() if hmac.compare_digest(given, key.secret.encode())), None)

    def is_good(self, key: ApiKey) -> bool:
        """Neither revoked nor expired."""
        return not key.revoked and self._clock.now() < key.expires
