"""Who may log in: salted scrypt hashes, checked in a bounded thread, slowed down per peer.

    login -> back-off of (peer, user)? -> known digest? -> scrypt in a worker -> remember the keyed digest

Rules:
1. Scrypt costs 50 ms and 16 MB on purpose, so it never runs on the event loop and never more than two at a time.
2. A password that was right once is known by a keyed digest; the key lives as long as the process.
3. An unknown user costs as much as a wrong password.
4. Back-off comes before everything else, so that guessing is slow even for a password that is known.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from bridge.northbound.opcua.config import OpcuaUser
    from bridge.ports import Clock

_log = logging.getLogger(__name__)

COST, BLOCK, LANES = 2**14, 8, 1
"""Scrypt parameters for new hashes: 16 MB and about 50 ms (RFC 7914, 2; N=2^14 is its interactive choice)."""
MAX_MEMORY = 128 * 2**20
SHORTEST, LONGEST = 12, 1024
"""Characters of a new password. NIST SP 800-63B wants 8 where there is a second factor (here: the client's trusted
certificate) and more where there is none (`trust: any_with_login`). A client keeps it, nobody types it every day."""
SALT_BYTES, DIGEST_BYTES = 16, 32
MAX_WAITING = 16
"""Logins that may wait for a worker; further ones are refused at once."""

FREE_FAILURES = 3
MAX_BACK_OFF_S = 60.0
MAX_PEERS = 1000


def hash_password(password: str) -> str:
    """A salted hash to be written into the configuration: "scrypt$<N>$<r>$<p>$<salt>$<hash>", base64."""
    salt = secrets.token_bytes(SALT_BYTES)
    return _format(salt, _scrypt(password, salt))


def password_fault(password: str, name: str) -> str:
    """Why this password is not taken for this user; "" where it is."""
    if len(password) < SHORTEST:
        return f"the password has {len(password)} characters; at least {SHORTEST} are wanted (a sentence is easiest)"
    if len(password) > LONGEST:
        return f"the password has {len(password)} characters; the server takes {LONGEST} at most"
    if not password.isprintable():
        return "the password has characters that cannot be seen, such as a line end or a tab"
    if len(set(password)) < 4:
        return "the password is the same few characters again and again"
    return "the password has the user's name in it" if name.casefold() in password.casefold() else ""


def weakness(password_hash: str) -> str:
    """Why a hash should be made anew; "" where it is as strong as a new one."""
    try:
        kind, cost, block, lanes, salt, digest = password_hash.split("$")
        sizes = len(base64.b64decode(salt, validate=True)), len(base64.b64decode(digest, validate=True))
        numbers = int(cost), int(block), int(lanes)
    except ValueError:
        return "it cannot be read, so nobody gets in by it"
    if kind != "scrypt":
        return f"it is {kind[:20]}, not scrypt"
    if numbers[0] < COST or numbers[1] < BLOCK or numbers[2] < LANES:
        return f"its cost is lower than that of a new one (N={numbers[0]}, r={numbers[1]}, p={numbers[2]})"
    is_short = sizes[0] < SALT_BYTES or sizes[1] < DIGEST_BYTES
    return "its salt or digest is shorter than that of a new one" if is_short else ""


def matches(password: str, password_hash: str) -> bool:
    """Whether `password` is the one that was hashed; False for a hash that cannot be read. Slow by design."""
    try:
        _, cost, block, lanes, salt, expected = password_hash.split("$")
        got = _scrypt(password, base64.b64decode(salt), int(cost), int(block), int(lanes))
        return hmac.compare_digest(got, base64.b64decode(expected))
    except (ValueError, MemoryError, OverflowError):
        return False


def _scrypt(password: str, salt: bytes, cost: int = COST, block: int = BLOCK, lanes: int = LANES) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=cost, r=block, p=lanes, maxmem=MAX_MEMORY, dklen=DIGEST_BYTES)


def _format(salt: bytes, digest: bytes) -> str:
    encoded = (base64.b64encode(data).decode("ascii") for data in (salt, digest))
    return "$".join(("scrypt", str(COST), str(BLOCK), str(LANES), *encoded))


def _fault(user: OpcuaUser | None) -> str:
    """For the log only: a client is not told which of them it was."""
    if user is None:
        return "there is no such user"
    return "wrong password" if user.password_hash else "this user logs in with a certificate, not a password"


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


class BackOff:
    """Slows down whoever gets a password wrong: three free tries, then 1, 2, 4 … 60 s."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def is_waiting(self, peer: str, name: str) -> bool:
        """This peer must not try this name now."""
        failures = self._failures.get((peer, name))
        return failures is not None and self._clock.monotonic() < failures.until

    def failed(self, peer: str, name: str) -> float:
        """Count a failure; the seconds the peer must wait now."""
        failures = self._failures.setdefault((peer, name), _Failures())
        self._failures.move_to_end((peer, name))
        if len(self._failures) > MAX_PEERS:
            self._failures.popitem(last=False)
        failures.count += 1
        excess = failures.count - FREE_FAILURES
        delay = min(MAX_BACK_OFF_S, 2.0 ** min(excess - 1, 10)) if excess > 0 else 0.0
        failures.until = self._clock.monotonic() + delay
        return delay

    def succeeded(self, peer: str, name: str) -> None:
        """Forget the failures."""
        self._failures.pop((peer, name), None)


class Passwords:
    """The users, and whether a password is theirs."""

    def __init__(self, users: Iterable[OpcuaUser], clock: Clock) -> None:
        self._users = {user.name: user for user in users}
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}
        self._back_off = BackOff(clock)
        self._nobody = _format(secrets.token_bytes(SALT_BYTES), secrets.token_bytes(DIGEST_BYTES))
        self._waiting = 0

    def user(self, name: str) -> OpcuaUser | None:
        """The user of this name."""
        return self._users.get(name)

    def of_certificate(self, *thumbprints: str) -> OpcuaUser | None:
        """The user who logs in with the certificate of one of these thumbprints, in lower case."""
        return next((one for one in self._users.values() if (one.certificate or "").lower() in thumbprints), None)

    def is_known(self, name: str, password: str) -> bool:
        """This password was verified before in this process. Fast."""
        digest = self._known.get(name)
        return digest is not None and hmac.compare_digest(digest, self._digest(name, password))

    async def verify(self, name: str, password: str, peer: str, workers: Executor) -> bool:
        """Whether this user may come in from this peer, now."""
        user = self._users.get(name)
        key = name if user else ""  # unknown names share one count: trying names is guessing too
        if self._back_off.is_waiting(peer, key) or self._waiting >= MAX_WAITING:
            return False
        if self.is_known(name, password) or await self._matches(user, password, workers):
            self._back_off.succeeded(peer, key)
            if user:
                self._known[name] = self._digest(name, password)
            return True
        delay = self._back_off.failed(peer, key)
        # Back-off bounds these lines; what is refused while waiting has none.
        _log.warning(
            "Login of %r from %s failed: %s%s",
            name[:64],
            peer,
            _fault(user),
            f"; refused for {delay:.0f} s, with the right password too" if delay else "",
        )
        return False

    async def _matches(self, user: OpcuaUser | None, password: str, workers: Executor) -> bool:
        if not self._users or len(password) > 1024:
            return False
        written = user.password_hash if user else None
        password_hash = written.get_secret_value() if written else self._nobody
        self._waiting += 1
        try:
            good = await asyncio.get_running_loop().run_in_executor(workers, matches, password, password_hash)
        finally:
            self._waiting -= 1
        return good and written is not None

    def _digest(self, name: str, password: str) -> bytes:
        text = f"{len(name)}:{name}{password}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).digest()
