"""What a person does with the certificates: list, trust, reject. Works on the files; no restart is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bridge.northbound.opcua import window
from bridge.northbound.opcua.certificates import (
    SUFFIXES,
    application_uris,
    common_name,
    days_left,
    files_of,
    host_names,
    parse,
    printable,
    subject_of,
    thumbprint,
    write,
)
from bridge.northbound.opcua.trust import file_name, is_by, revocation_list

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

SHORTEST = 6
"""Characters of a thumbprint that are enough to mean one."""


class NotFound(Exception):
    """No certificate, or more than one, is meant."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate that is kept."""

    folder: str
    path: Path
    certificate: x509.Certificate

    @property
    def thumbprint(self) -> str:
        """As clients show it."""
        return thumbprint(self.certificate)

    @property
    def subject(self) -> str:
        """Whose it is."""
        return subject_of(self.certificate)


def told(entry: Entry, now: datetime) -> dict[str, Any]:
    """A certificate as people are told of it; times are ISO 8601."""
    return {
        "folder": entry.folder,
        "thumbprint": entry.thumbprint,
        "subject": entry.subject,
        "application_uri": printable(next(iter(application_uris(entry.certificate)), "")),
        "hosts": host_names(entry.certificate),
        "ends": entry.certificate.not_valid_after_utc.isoformat(),
        "days_left": round(days_left(entry.certificate, now), 1),
    }


def entries(pki: Path) -> list[Entry]:
    """Every certificate in pki, the server's own first; files that are none are passed over."""
    return [entry for folder in ("own", "trusted", "issuers", "rejected") for entry in _entries(pki, folder)]


def _entries(pki: Path, folder: str) -> Iterator[Entry]:
    for path in files_of(pki / folder, SUFFIXES):
        try:
            yield Entry(folder, path, parse(path.read_bytes()))
        except (OSError, ValueError):
            continue


def find(pki: Path, mark: str, *folders: str) -> list[Entry]:
    """The files of the one certificate whose thumbprint begins so. Raises NotFound."""
    wanted = mark.replace(":", "").replace(" ", "").lower()
    found = [one for one in entries(pki) if one.folder in folders and one.thumbprint.startswith(wanted)]
    if len(wanted) < SHORTEST:
        raise NotFound(f"{mark!r} is too short for a thumbprint; give {SHORTEST} characters at least")
    if not found:
        raise NotFound(f"no certificate in {' or '.join(folders)} has a thumbprint that begins with {wanted}")
    if len({one.thumbprint for one in found}) > 1:
        raise NotFound(f"several thumbprints begin with {wanted}; give more of it")
    return found


def trust(pki: Path, certificate: x509.Certificate, by: str, now: datetime) -> Path:
    """Let the client (or all clients of the authority) of this certificate in, from its next connect on."""
    path = pki / "trusted" / file_name(certificate)
    write(path, certificate.public_bytes(Encoding.DER))
    mark = thumbprint(certificate)
    for entry in _entries(pki, "rejected"):
        if entry.thumbprint == mark:
            entry.path.unlink(missing_ok=True)
    window.audit(pki, now, f"trusted {mark} by {by}: {subject_of(certificate)}")
    return path


def reject(pki: Path, mark: str, by: str, now: datetime) -> Entry:
    """Shut the client of this certificate out; a running bridge ends its sessions. Raises NotFound."""
    found = find(pki, mark, "trusted")
    (pki / "rejected" / file_name(found[0].certificate)).write_bytes(found[0].certificate.public_bytes(Encoding.DER))
    for entry in found:
        entry.path.unlink(missing_ok=True)
    window.audit(pki, now, f"rejected {found[0].thumbprint} by {by}: {found[0].subject}")
    return found[0]


def take_crl(pki: Path, data: bytes, by: str, now: datetime) -> tuple[Entry, x509.CertificateRevocationList]:
    """Keep a revocation list, in place of an older one of the same authority, which is returned too.

    Raises ValueError: no list, of nobody we know, or older than the one there is.
    """
    try:
        crl = revocation_list(data)
    except ValueError as error:
        raise ValueError("this is not a revocation list") from error
    known = [*_entries(pki, "trusted"), *_entries(pki, "issuers")]
    authority = next((one for one in known if is_by(crl, one.certificate)), None)
    if authority is None:
        raise ValueError(
            f"{printable(crl.issuer.rfc4514_string())}, which made it, is neither trusted nor among the issuers; "
            "first: plantbridge certs trust FILE, with that authority's certificate"
        )
    path = pki / "crl" / f"{common_name(authority.certificate)}-{authority.thumbprint}.crl"
    if path.exists() and revocation_list(path.read_bytes()).last_update_utc > crl.last_update_utc:
        raise ValueError(f"there is a newer one in {path}")
    write(path, crl.public_bytes(Encoding.DER))
    window.audit(pki, now, f"revocation list of {authority.thumbprint}, {len(crl)} revoked, by {by}")
    return authority, crl


def soonest_end(pki: Path, now: datetime) -> float | None:
    """Days until the first of the trusted certificates ends; None where there is none."""
    return min((days_left(one.certificate, now) for one in _entries(pki, "trusted")), default=None)
