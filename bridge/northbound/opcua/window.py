"""A window in which unknown clients are trusted, and the record of who trusted what.

    pki/accept.json   {"until": "2026-…", "networks": ["10.0.0.0/24"], "by": "anna"}; read at every check
    pki/audit.log     one line per act, the last MAX_LINES

For commissioning: open for some minutes, from the network of the new clients, and each that comes is trusted for good.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bridge.northbound.opcua.certificates import write

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

FILE, AUDIT = "accept.json", "audit.log"
LONGEST_S = 24 * 3600.0
MAX_LINES, MAX_BYTES = 2000, 400_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Window:
    """Until when, and from where."""

    until: datetime
    networks: tuple[Network, ...]
    by: str

    def is_open(self, now: datetime) -> bool:
        """Not over yet."""
        return now < self.until

    def holds(self, peer: str) -> bool:
        """Whether the peer's address is in one of the networks."""
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # how a socket for both versions shows an IPv4 client
        return any((mapped or address) in network for network in self.networks)


def open_window(pki: Path, window: Window) -> None:
    """Let unknown clients in; takes the place of an earlier window."""
    networks = [str(network) for network in window.networks]
    document = {"until": window.until.isoformat(), "networks": networks, "by": window.by}
    write(pki / FILE, json.dumps(document).encode(), 0o600)


def close_window(pki: Path) -> None:
    """Let nobody else in."""
    (pki / FILE).unlink(missing_ok=True)


def read_window(pki: Path) -> Window | None:
    """The window that was opened last; None where there is none, or its file cannot be read."""
    try:
        found = json.loads((pki / FILE).read_bytes())
        networks = tuple(ipaddress.ip_network(text) for text in found["networks"])
        until = datetime.fromisoformat(found["until"])
        return Window(until, networks, str(found["by"])) if until.tzinfo else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("Passing over %s: %s", pki / FILE, error)
        return None


def lets_in(pki: Path, peer: str, now: datetime) -> bool:
    """Whether an unknown client of this address is to be trusted now."""
    found = read_window(pki)
    return found is not None and found.is_open(now) and found.holds(peer)


def audit(pki: Path, now: datetime, what: str) -> None:
    """Write down who trusted what. A disk that does not take it is logged."""
    path = pki / AUDIT
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(f"{now.isoformat(timespec='seconds')} {what}\n")
        if path.stat().st_size > MAX_BYTES:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            write(path, "".join(lines[-MAX_LINES // 2 :]).encode(), 0o600)
    except OSError as error:
        _log.error("%s could not be written (%s): %s", path, error.strerror, what)
