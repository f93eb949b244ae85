"""The server's own certificate, and which client certificates are trusted.

    pki/own/{certificate.der, key.pem}   made once, never remade silently
    pki/trusted   clients (or authorities) a person has let in; read anew at every connect, so no restart is needed
    pki/rejected  the last certificates that were refused, to be moved to trusted
    pki/issuers   authorities that only complete a chain
    pki/crl       revocation lists

Source: OPC UA Part 4, 6.1.3 (steps of determining trust); Part 6, 6.2.2 (what an application certificate holds);
Part 12, F.1 (store layout). Everything here does file I/O and RSA: call it in a worker thread.
"""

from __future__ import annotations

import ipaddress
import itertools
import logging
import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.ports import Clock

_log = logging.getLogger(__name__)

FOLDERS = ("own", "trusted", "rejected", "issuers", "crl")
SUFFIXES = {".der", ".cer", ".crt", ".pem"}
CRL_SUFFIXES = SUFFIXES | {".crl"}
KEY_BITS, YEARS = 3072, 10
MIN_KEY_BITS, MAX_KEY_BITS = 2048, 4096
"""OPC UA Part 7, Basic256Sha256: 2048 to 4096."""
MAX_FILES = 1000
MAX_REJECTED = 100
MAX_CHAIN = 5


class Refused(Exception):
    """A client certificate is not let in. `status` is the name of the OPC UA status code."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


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
    certificate_path, key_path = pki / "own" / "certificate.der", pki / "own" / "key.pem"
    if not (certificate_path.exists() and key_path.exists()):
        _make(certificate_path, key_path, application_uri, names, now)
    certificate = x509.load_der_x509_certificate(certificate_path.read_bytes())
    key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{key_path}: this is not an RSA key")
    _compare(certificate, certificate_path, application_uri, names, now)
    return OwnCertificate(certificate, key, certificate_path)


def _make(certificate_path: Path, key_path: Path, uri: str, names: tuple[str, ...], now: datetime) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    certificate = _self_signed(key, uri, names, now)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_once(key_path, pem, 0o600)
    _write_once(certificate_path, certificate.public_bytes(serialization.Encoding.DER), 0o644)
    _log.info("Made the OPC UA certificate %s, thumbprint %s", certificate_path, thumbprint(certificate))


def _write_once(path: Path, data: bytes, mode: int) -> None:
    fresh = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _self_signed(key: rsa.RSAPrivateKey, uri: str, names: tuple[str, ...], now: datetime) -> x509.Certificate:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, uri.rpartition(":")[2][:64] or "plantbridge"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "plantbridge"),
        ]
    )
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
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # a client's clock may be behind ours
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName(_alternative_names(uri, names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _alternative_names(uri: str, names: Iterable[str]) -> list[x509.GeneralName]:
    result: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
    for name in names:
        try:
            result.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            result.append(x509.DNSName(name))
    return result


def _compare(
    certificate: x509.Certificate, path: Path, application_uri: str, names: tuple[str, ...], now: datetime
) -> None:
    wanted = {str(name.value) for name in _alternative_names(application_uri, names)}
    missing = sorted(wanted - {str(name.value) for name in _names_of(certificate)})
    remedy = "Move the folder's two files away to have a new one made; every client must then trust that one anew"
    if missing:
        _log.warning(
            "The certificate %s does not name %s; some clients will refuse. %s", path, ", ".join(missing), remedy
        )
    if certificate.not_valid_after_utc < now + timedelta(days=90):
        _log.warning("The certificate %s ends on %s. %s", path, certificate.not_valid_after_utc.date(), remedy)


def _names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, ValueError):
        return []


# --- theirs ----------------------------------------------------------------------------------------------------------


class TrustStore:
    """Decides about client certificates by the files in pki, as they are at that moment."""

    def __init__(self, pki: Path, clock: Clock, *, trust_required: bool) -> None:
        self._pki = pki
        self._clock = clock
        self._trust_required = trust_required
        self._told: OrderedDict[str, float] = OrderedDict()

    def check(self, der: bytes, application_uri: str | None) -> None:
        """Let a client certificate in, or raise Refused and keep it in pki/rejected."""
        try:
            certificate = x509.load_der_x509_certificate(der)
            uris = [str(name.value) for name in _names_of(certificate) if _is_uri(name)]
            key = certificate.public_key()
        except Exception as error:  # the parser raises many kinds for hostile bytes
            raise Refused("BadCertificateInvalid", "This is not a certificate") from error
        self._check_form(certificate, key, uris, application_uri)
        if self._trust_required:
            self._check_trust(certificate)

    def _check_form(
        self, certificate: x509.Certificate, key: object, uris: list[str], application_uri: str | None
    ) -> None:
        now = self._clock.now()
        if not isinstance(key, rsa.RSAPublicKey) or not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
            raise Refused("BadCertificatePolicyCheckFailed", "The key must be RSA with 2048 to 4096 bits")
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise Refused("BadCertificateTimeInvalid", "The certificate is not valid at this time")
        if application_uri not in uris:
            raise Refused("BadCertificateUriInvalid", "The certificate names another ApplicationUri than the client")

    def _check_trust(self, certificate: x509.Certificate) -> None:
        trusted = self._certificates("trusted")
        chain = _chain(certificate, [*trusted.values(), *self._certificates("issuers").values()])
        for child, issuer in itertools.pairwise(chain):
            if self._is_revoked(child, issuer):
                raise Refused("BadCertificateRevoked", f"{thumbprint(child)} has been revoked by its issuer")
        if not any(thumbprint(one) in trusted for one in chain):
            raise Refused("BadCertificateUntrusted", self._keep(certificate))

    def _certificates(self, folder: str) -> dict[str, x509.Certificate]:
        found = {}
        for path in _files(self._pki / folder, SUFFIXES):
            try:
                certificate = _parse(path.read_bytes())
                found[thumbprint(certificate)] = certificate
            except (OSError, ValueError) as error:
                self._tell_once(str(path), "Passing over %s, which is not a certificate: %s", path, error)
        return found

    def _is_revoked(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        for path in _files(self._pki / "crl", CRL_SUFFIXES):
            try:
                data = path.read_bytes()
                crl = x509.load_pem_x509_crl(data) if data.startswith(b"-----") else x509.load_der_x509_crl(data)
                revoked = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
                if crl.issuer == issuer.subject and revoked and _signed(crl, issuer):
                    return True
            except (OSError, ValueError) as error:
                self._tell_once(str(path), "Passing over %s, which is not a revocation list: %s", path, error)
        return False

    def _keep(self, certificate: x509.Certificate) -> str:
        mark = thumbprint(certificate)
        path = self._pki / "rejected" / f"{_common_name(certificate)}-{mark}.der"
        try:
            if not path.exists():
                path.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
            self._forget_oldest()
        except OSError as error:
            return f"The certificate {mark} is not trusted, and could not be kept in {path}: {error}"
        sentence = f"The certificate {mark} is not trusted"
        self._tell_once(
            mark,
            "Refused an OPC UA client: %s. If it is yours, move %s to %s and let it connect again",
            sentence,
            path,
            self._pki / "trusted",
        )
        return sentence

    def _forget_oldest(self) -> None:
        kept = sorted((self._pki / "rejected").glob("*.der"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-MAX_REJECTED]:
            path.unlink(missing_ok=True)

    def _tell_once(self, key: str, message: str, *arguments: object) -> None:
        """One line per thing and ten minutes: whoever knocks again does not fill the log."""
        now = self._clock.monotonic()
        if now - self._told.get(key, -1e9) < 600:
            return
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > MAX_FILES:
            self._told.popitem(last=False)
        _log.warning(message, *arguments)


def _files(folder: Path, suffixes: set[str]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)[:MAX_FILES]
    except FileNotFoundError:
        return []


def _parse(data: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(data) if data.startswith(b"-----") else x509.load_der_x509_certificate(data)


def _is_uri(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.UniformResourceIdentifier)


def _chain(leaf: x509.Certificate, authorities: list[x509.Certificate]) -> list[x509.Certificate]:
    """`leaf` and whoever signed it, as far as known, at most MAX_CHAIN."""
    chain = [leaf]
    while len(chain) < MAX_CHAIN:
        issuer = next((one for one in authorities if one not in chain and _issued(chain[-1], one)), None)
        if issuer is None:
            break
        chain.append(issuer)
    return chain


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return True


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    return isinstance(key, rsa.RSAPublicKey) and crl.is_signature_valid(key)


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(names[0].value) if names else "client"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:40].strip("-") or "client"
