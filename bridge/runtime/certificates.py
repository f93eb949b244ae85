"""Certificates of the OPC UA server and its clients, as the admin API tells and changes them. Call it in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.northbound.opcua import pki

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path


def certificates(folder: Path, now: datetime) -> Sequence[Mapping[str, Any]]:
    """Every certificate that is kept, the server's own first (see `bridge.northbound.opcua.pki.told`)."""
    return [pki.told(entry, now) for entry in pki.entries(folder)]


def trust(folder: Path | None, thumbprint: str, by: str, now: datetime) -> None:
    """Let a client in that was refused. Raises KeyError."""
    pki.trust(*_found(folder, thumbprint, "rejected"), by, now)


def distrust(folder: Path | None, thumbprint: str, by: str, now: datetime) -> None:
    """Shut a client out that was trusted. Raises KeyError."""
    place, _ = _found(folder, thumbprint, "trusted")
    pki.reject(place, thumbprint, by, now)


def _found(folder: Path | None, thumbprint: str, where: str) -> tuple[Path, Any]:
    """The folder and the certificate; the whole thumbprint is wanted, since it is a program that asks."""
    for entry in pki.entries(folder) if folder else ():
        if entry.folder == where and entry.thumbprint == thumbprint:
            return entry.path.parents[1], entry.certificate
    raise KeyError(thumbprint)
