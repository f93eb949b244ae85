"""The server's own certificate, and what is written and read of certificates.

    pki/own/{certificate.der, key.pem}   made once, never remade silently
    pki/trusted   clients (or authorities) a person has let in; read anew at every connect, so no restart is needed
    pki/rejected  the last certificates that were refused
    pki/issuers   authorities that only complete a chain
    pki/crl       revocation lists

Source: OPC UA Part 6, 6.2.2 (what an application certificate holds); Part 12, F.1 (store layout). Everything here does
file I/O and RSA: call it in a worker thread.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

_log = logging.getLogger(__name__)

FOLDERS = ("own", "trusted", "rejected", "issuers", "crl")
SUFFIXES = {".der", ".cer", ".crt", ".pem"}
KEY_BITS, YEARS = 3072, 10
MAX_FILES = 1000
SOON_DAYS = 90
"""Days before its end from which a certificate is spoken of."""


class NotInstalled(Exception):
    """A certificate cannot become the server's own; says why."""


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """What the server shows."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    path: Path


def prepare(pki: Path) -> None:
    """Make the folders. Only the bridge's own user may look in."""
    for folder in FOLDERS:
        (pki / folder).mkdir(parents=True, exist_ok=True, mode=0o700)


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1 of the DER form in hex: what OPC UA and every client call the thumbprint."""
    return certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303


# --- our own ---------------------------------------------------------------------------------------------------------


def load_or_make(pki: Path, application_uri: str, names: tuple[str, ...], now: datetime) -> OwnCertificate:
    """Our certificate: made the first time, afterwards always the same one.

    Every client trusts it by its bytes, so a changed name or a passed date is only logged, with what to do.
    """
    prepare(pki)
    missing = [path for path in _own_paths(pki) if not path.exists()]
    if missing:
        if len(missing) == 1:
            _log.warning(
                "%s is missing: making another OPC UA key and certificate, which every client must trust anew",
                missing[0],
            )
        make(pki, application_uri, names, now)
    own = load(pki)
    _compare(own.certificate, pki, application_uri, names, now)
    return own


def load(pki: Path) -> OwnCertificate:
    """Our certificate as it is. Raises OSError, ValueError or TypeError."""
    certificate_path, key_path = _own_paths(pki)
    certificate = parse(certificate_path.read_bytes())
    key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{key_path}: this is not an RSA key")
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{key_path} is not the key of {certificate_path}")
    return OwnCertificate(certificate, key, certificate_path)


def _own_paths(pki: Path) -> tuple[Path, Path]:
    return pki / "own" / "certificate.der", pki / "own" / "key.pem"


def make(pki: Path, uri: str, names: tuple[str, ...], now: datetime) -> None:
    """A new key and certificate. What was there is kept beside them."""
    certificate_path, key_path = _own_paths(pki)
    _set_aside(certificate_path, key_path)
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    certificate = _self_signed(key, uri, names, now)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write(key_path, pem, 0o600)
    write(certificate_path, certificate.public_bytes(serialization.Encoding.DER))
    _log.info("Made the OPC UA certificate %s, thumbprint %s", certificate_path, thumbprint(certificate))


def _set_aside(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            path.replace(path.with_name(f"{path.name}.before"))


def request(pki: Path, uri: str, names: tuple[str, ...]) -> bytes:
    """A signing request for the key we have, PEM: what an authority turns into a certificate for `install`."""
    own = load(pki)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(uri))
    for extension, critical in _extensions(uri, names):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(own.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def install(pki: Path, data: bytes, now: datetime) -> x509.Certificate:
    """Show this certificate (DER or PEM) from now on. Raises NotInstalled; then nothing has changed."""
    own = load(pki)
    try:
        certificate = parse(data)
    except ValueError as error:
        raise NotInstalled("this is not a certificate") from error
    if certificate.public_key() != own.key.public_key():
        raise NotInstalled("it was made for another key; make the request with: plantbridge certs csr")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise NotInstalled(f"it is valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}")
    missing = set(application_uris(own.certificate)) - set(application_uris(certificate))
    if missing:
        raise NotInstalled(f"it does not name the ApplicationUri {', '.join(sorted(missing))}")
    path, _ = _own_paths(pki)
    before = path.read_bytes()
    write(path.with_name(f"{path.name}.before"), before)
    write(path, certificate.public_bytes(serialization.Encoding.DER))
    return certificate


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file as a whole, durably."""
    fresh = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _self_signed(key: rsa.RSAPrivateKey, uri: str, names: tuple[str, ...], now: datetime) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(uri))
        .issuer_name(_subject(uri))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # a client's clock may be behind ours
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension, critical in _extensions(uri, names):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256())


def _subject(uri: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, uri.rpartition(":")[2][:64] or "plantbridge"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "plantbridge"),
        ]
    )


def _extensions(uri: str, names: tuple[str, ...]) -> list[tuple[x509.ExtensionType, bool]]:
    """What the certificate of an application holds, and whether each is critical."""
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # Part 6, Table 51: set for a self-signed one, so that clients may build its chain
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return [
        (x509.SubjectAlternativeName(_alternative_names(uri, names)), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    ]


def _alternative_names(uri: str, names: Iterable[str]) -> list[x509.GeneralName]:
    result: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    for name in names:
        try:
            result.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            result.append(x509.DNSName(name))
    return result


def _compare(
    certificate: x509.Certificate, pki: Path, application_uri: str, names: tuple[str, ...], now: datetime
) -> None:
    """Say what is wrong with it, and the command that makes another: that is never done unasked."""
    wanted = {str(name.value) for name in _alternative_names(application_uri, names)}
    missing = sorted(wanted - set(names_of(certificate)))
    hosts = " ".join(f"--host {name}" for name in names)
    remedy = f"plantbridge certs new --pki {pki} --uri {application_uri} {hosts}"
    if missing:
        _log.warning(
            "The OPC UA certificate does not name %s; some clients will refuse it. To make another, which every "
            "client must trust anew: %s",
            ", ".join(missing),
            remedy,
        )
    if certificate.not_valid_after_utc < now + timedelta(days=SOON_DAYS):
        _log.warning(
            "The OPC UA certificate %s on %s. To make another, which every client must trust anew: %s",
            "has ended" if certificate.not_valid_after_utc < now else "ends",
            certificate.not_valid_after_utc.date(),
            remedy,
        )


# --- reading ---------------------------------------------------------------------------------------------------------


def parse(data: bytes) -> x509.Certificate:
    """A certificate in DER or PEM; of several the first. Raises ValueError."""
    return x509.load_pem_x509_certificate(data) if b"-----BEGIN" in data else x509.load_der_x509_certificate(data)


def files_of(folder: Path, suffixes: set[str]) -> list[Path]:
    """The files of a folder with these suffixes, at most MAX_FILES."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)[:MAX_FILES]
    except FileNotFoundError:
        return []


def names_of(certificate: x509.Certificate) -> list[str]:
    """ApplicationUri, host names and addresses it is for."""
    return [printable(str(name.value)) for name in _general_names(certificate)]


def application_uris(certificate: x509.Certificate) -> list[str]:
    """The ApplicationUri; there should be one."""
    return [str(name.value) for name in _general_names(certificate) if isinstance(name, x509.UniformResourceIdentifier)]


def host_names(certificate: x509.Certificate) -> list[str]:
    """Host names and addresses it is for."""
    found = (name for name in _general_names(certificate) if isinstance(name, x509.DNSName | x509.IPAddress))
    return [printable(str(name.value)) for name in found]


def _general_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, ValueError):
        return []


def printable(text: str) -> str:
    """As it can be shown on a terminal and in a line of a log: strangers choose what their certificates say."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:500])


def subject_of(certificate: x509.Certificate) -> str:
    """Whose it is, as RFC 4514 writes it."""
    return printable(certificate.subject.rfc4514_string())


def common_name(certificate: x509.Certificate) -> str:
    """Its CommonName as it can be part of a file's name."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(names[0].value) if names else "client"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:40].strip("-") or "client"


def days_left(certificate: x509.Certificate, now: datetime) -> float:
    """Until it ends; below 0 afterwards."""
    return (certificate.not_valid_after_utc - now).total_seconds() / 86_400
