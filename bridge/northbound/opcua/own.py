"""The certificate we show while the server runs: is it another by now, does it name us as clients know us?"""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bridge.northbound.opcua import certificates
from bridge.northbound.opcua.pki import soonest_end
from bridge.ports import CertificateDays

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from bridge.northbound.opcua.certificates import OwnCertificate

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[\w.:-]{1,255}")
MAX_NAMES, MAX_STRANGERS_NAMES = 20, 10
"""Host names that are told of, and how many of them by clients that nobody has let in: those may invent any."""


class Own:
    """Watches pki/own. `show` it first; then `changed` says when there is another."""

    def __init__(self, pki: Path) -> None:
        self._pki = pki
        self._own: OwnCertificate | None = None
        self._names: frozenset[str] = frozenset()
        self._told: set[str] = set()
        self._stamp: tuple[int, int] = (0, 0)

    def show(self, own: OwnCertificate) -> None:
        """This one is shown."""
        self._own = own
        self._names = frozenset(name.lower() for name in certificates.host_names(own.certificate))
        self._stamp = self._look()
        self._told.clear()

    def _look(self) -> tuple[int, int]:
        try:
            status = (self._pki / "own" / "certificate.der").stat()
        except OSError:
            return self._stamp
        return status.st_mtime_ns, status.st_ino

    def is_replaced(self) -> bool:
        """The file is not the one that was read. Cheap."""
        return self._look() != self._stamp

    def days(self, now: datetime) -> CertificateDays:
        """How long ours, and the trusted one that ends first, last. Reads files."""
        try:
            ends = soonest_end(self._pki, now)
        except OSError:  # told where it matters: see `trust_watch`
            ends = None
        own = certificates.days_left(self._own.certificate, now) if self._own else None
        return CertificateDays(*(None if days is None else math.floor(days) for days in (own, ends)))

    def replacement(self) -> OwnCertificate | None:
        """The certificate that is there now; None where it cannot be shown, which is logged once."""
        self._stamp = self._look()
        try:
            own = certificates.load(self._pki)
        except (OSError, ValueError, TypeError) as error:
            _log.error("%s cannot be shown, the certificate of before still is: %s", self._pki / "own", error)
            return None
        _log.warning(
            "Showing another OPC UA certificate, thumbprint %s: clients have to trust it before they connect again",
            certificates.thumbprint(own.certificate),
        )
        return own

    def reached_as(self, endpoint_url: str, *, is_known: bool) -> None:
        """A client came by this URL: say it once where the certificate does not name its host.

        `is_known`: its certificate was let in. One that minds the name leaves before that, so its Hello counts, too.
        """
        try:
            host = urlsplit(endpoint_url).hostname or ""
        except ValueError:
            return
        most = MAX_NAMES if is_known else MAX_STRANGERS_NAMES
        if self._own is None or host in self._names or host in self._told or len(self._told) >= most:
            return
        if not _NAME.fullmatch(host):  # the line below is to be pasted into a shell
            return
        self._told.add(host)
        known = certificates.host_names(self._own.certificate)
        uri = next(iter(certificates.application_uris(self._own.certificate)), "")
        hosts = " ".join(f"--host {name}" for name in (*known, host))
        _log.warning(
            "A client reached this server as %.200r, which its certificate does not name; some clients refuse that "
            "(BadCertificateHostNameInvalid). Let it connect to one of %s, or make another certificate, which every "
            "client must trust anew: plantbridge certs new --pki %s --uri %s %.400s",
            host,
            ", ".join(known),
            self._pki,
            uri,
            hosts,
        )
