"""Which client certificates are let in.

    form (is it one, RSA, in time, of this application) -> chain -> revoked? -> trusted? -> within an open window?

Every refusal names the failing check, and what to do, in the log and keeps the certificate in pki/rejected.
Source: OPC UA Part 4, 6.1.3 (steps of determining trust). Reads files and does RSA: call it in a worker thread.
"""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from bridge.northbound.opcua import window
from bridge.northbound.opcua.certificates import (
    MAX_FILES,
    SUFFIXES,
    application_uris,
    common_name,
    files_of,
    parse,
    printable,
    subject_of,
    thumbprint,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bridge.ports import Clock

_log = logging.getLogger(__name__)

CRL_SUFFIXES = SUFFIXES | {".crl"}
MIN_KEY_BITS, MAX_KEY_BITS = 2048, 4096
"""OPC UA Part 7, Basic256Sha256: 2048 to 4096; the other two policies want the same."""
DIGESTS = {"sha224", "sha256", "sha384", "sha512"}
MAX_REJECTED = 100
MAX_CHAIN = 5
QUIET_S = 600.0
_MINUTE = "%Y-%m-%d %H:%M UTC"


class Refused(Exception):
    """A client certificate is not let in. `status` is the name of the OPC UA status code."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Unknown(Refused):
    """Nobody has trusted it, or whoever signed it."""


class TrustStore:
    """Decides about client certificates by the files in pki, as they are at that moment."""

    def __init__(self, pki: Path, clock: Clock, *, trust_required: bool, lists_required: bool = True) -> None:
        self._pki = pki
        self._clock = clock
        self._trust_required = trust_required
        self._lists_required = lists_required
        self._told: OrderedDict[str, float] = OrderedDict()

    def check(self, der: bytes, application_uri: str | None, peer: str = "") -> None:
        """Let a client certificate in, or raise Refused, keep it in pki/rejected and say why."""
        try:
            certificate = x509.load_der_x509_certificate(der)
            uris = application_uris(certificate)
            key = certificate.public_key()
        except Exception as error:  # the parser raises many kinds for hostile bytes
            raise Refused("BadCertificateInvalid", "This is not a certificate") from error
        try:
            with _readable():
                self._check_form(certificate, key)
                _check_uri(uris, application_uri)
                if self._trust_required:
                    self._check_trust(certificate, peer)
        except Refused as refused:
            self._keep(certificate, refused, peer)
            raise

    def check_again(self, der: bytes) -> None:
        """Whether a client that was let in would still be. Raises Refused; tells and keeps nothing."""
        certificate = x509.load_der_x509_certificate(der)
        self._check_time(certificate, "BadCertificateTimeInvalid", "it")
        if self._trust_required:
            self._check_chain(certificate)

    def fault(self, certificate: x509.Certificate) -> Refused | None:
        """Why a client with this certificate would be refused now; tells and keeps nothing.

        None: only what the client calls itself may still be wrong.
        """
        try:
            with _readable():
                uris = application_uris(certificate)
                self._check_form(certificate, certificate.public_key())
                _check_uri(uris, next(iter(uris), None))
                if self._trust_required:
                    self._check_chain(certificate)
        except _Unknown:
            return self._untrusted(certificate)
        except Refused as refused:
            return refused
        return None

    def stamp(self) -> frozenset[tuple[str, int, int, int]]:
        """Another one when a file that decides is another one, or was there between two looks.

        A client may be trusted, come in and be rejected within a second: then only its folder has another time.
        """
        folders = {"trusted": SUFFIXES, "issuers": SUFFIXES, "crl": CRL_SUFFIXES}
        files = (path for name, suffixes in folders.items() for path in files_of(self._pki / name, suffixes))
        return frozenset(_stamps(itertools.chain((self._pki / name for name in folders), files)))

    def _check_form(self, certificate: x509.Certificate, key: object) -> None:
        if not isinstance(key, rsa.RSAPublicKey) or not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
            raise Refused(
                "BadCertificatePolicyCheckFailed",
                "its key must be RSA with 2048 to 4096 bits; give the client another certificate",
            )
        _check_digest(certificate, "it")
        _check_usage(certificate)
        self._check_time(certificate, "BadCertificateTimeInvalid", "it")

    def _check_time(self, certificate: x509.Certificate, status: str, what: str) -> None:
        now = self._clock.now()
        if now > certificate.not_valid_after_utc:
            raise Refused(status, f"{what} ended on {certificate.not_valid_after_utc.date()}; it must be renewed")
        if now < certificate.not_valid_before_utc:
            begin = certificate.not_valid_before_utc
            raise Refused(
                status, f"{what} begins on {begin:{_MINUTE}}, and it is {now:{_MINUTE}} here: compare the clocks"
            )

    def _is_over(self, certificate: x509.Certificate) -> bool:
        now = self._clock.now()
        return not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc

    def _check_trust(self, certificate: x509.Certificate, peer: str) -> None:
        try:
            self._check_chain(certificate)
        except _Unknown:
            self._let_in_by_window(certificate, peer)

    def _check_chain(self, certificate: x509.Certificate) -> None:
        trusted = self._certificates("trusted")
        authorities = [*trusted.values(), *self._certificates("issuers").values()]
        chain = _chain(certificate, sorted(authorities, key=self._is_over))  # a renewed one before its predecessor
        unlisted = []
        for child, issuer in itertools.pairwise(chain):
            revoked = self._is_revoked(child, issuer)
            if revoked:
                whose = "it" if child is certificate else f"its issuer {thumbprint(child)}"
                raise Refused("BadCertificateRevoked", f"{whose} was revoked by {subject_of(issuer)}")
            if revoked is None:
                unlisted.append((child, issuer))
        anchor = next((number for number, one in enumerate(chain) if thumbprint(one) in trusted), None)
        if anchor is None:
            raise _Unknown("BadCertificateUntrusted", "nobody trusts it")
        for issuer in chain[1:]:
            _check_digest(issuer, f"its issuer {thumbprint(issuer)}")
            self._check_time(issuer, "BadCertificateIssuerTimeInvalid", f"its issuer {thumbprint(issuer)}")
        if self._lists_required:
            self._check_lists(chain[:anchor], unlisted)

    def _check_lists(
        self, below: list[x509.Certificate], unlisted: list[tuple[x509.Certificate, x509.Certificate]]
    ) -> None:
        """Whoever was not trusted himself needs an authority that says whom it has revoked.

        Part 4, 6.1.3, "Find Revocation List": the check fails where there is none; an administrator may suppress it.
        """
        for child, issuer in unlisted:
            if child in below:
                status = (
                    "BadCertificateRevocationUnknown" if child is below[0] else "BadCertificateIssuerRevocationUnknown"
                )
                raise Refused(
                    status,
                    f"there is no revocation list of {subject_of(issuer)}, which signed "
                    f"{'it' if child is below[0] else 'its issuer'}. Get one from whoever runs that authority, then: "
                    f"plantbridge certs crl FILE --pki {self._pki}; or set opcua.revocation: if_known",
                )

    def _let_in_by_window(self, certificate: x509.Certificate, peer: str) -> None:
        if not window.lets_in(self._pki, peer, self._clock.now()):
            raise self._untrusted(certificate)
        path = self._pki / "trusted" / file_name(certificate)
        try:
            path.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
        except OSError as error:
            raise Refused("BadCertificateUntrusted", f"it cannot be kept in {path}: {error.strerror}") from error
        window.audit(self._pki, self._clock.now(), f"trusted {thumbprint(certificate)} of {peer}: the window was open")
        _log.warning(
            "Trusted the OPC UA client %s of %s, certificate %s, because somebody opened the window for it",
            common_name(certificate),
            peer,
            thumbprint(certificate),
        )

    def _untrusted(self, certificate: x509.Certificate) -> Refused:
        return Refused(
            "BadCertificateUntrusted",
            f"nobody has trusted it. If it is yours: plantbridge certs trust {thumbprint(certificate)} "
            f"--pki {self._pki}",
        )

    def _certificates(self, folder: str) -> dict[str, x509.Certificate]:
        found = {}
        for path in files_of(self._pki / folder, SUFFIXES):
            try:
                certificate = parse(path.read_bytes())
                found[thumbprint(certificate)] = certificate
            except (OSError, ValueError) as error:
                self._tell_once(str(path), "Passing over %s, which is not a certificate: %s", path, error)
        return found

    def _is_revoked(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool | None:
        """By a list of this issuer; None where there is none."""
        listed: bool | None = None
        for path in files_of(self._pki / "crl", CRL_SUFFIXES):
            try:
                crl = revocation_list(path.read_bytes())
                if not is_by(crl, issuer):
                    continue
                if crl.next_update_utc is not None and crl.next_update_utc < self._clock.now():
                    self._tell_once(
                        str(path), "The revocation list %s is old: there is one since %s", path, crl.next_update_utc
                    )
                listed = bool(listed) or bool(crl.get_revoked_certificate_by_serial_number(certificate.serial_number))
            except (OSError, ValueError) as error:
                self._tell_once(str(path), "Passing over %s, which is not a revocation list: %s", path, error)
        return listed

    def _keep(self, certificate: x509.Certificate, refused: Refused, peer: str) -> None:
        mark = thumbprint(certificate)
        path = self._pki / "rejected" / file_name(certificate)
        try:
            # One that is trusted is not at the door: `certs list` would show it twice, and nothing is left to trust.
            if not path.exists() and mark not in self._certificates("trusted"):
                path.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
            self._forget_oldest()
        except OSError as error:
            self._tell_once(str(path), "A refused certificate could not be kept in %s: %s", path, error)
        self._tell_once(
            f"{mark} {refused.status}",
            "Refused the OPC UA client %s%s, certificate %s: %s: %s",
            common_name(certificate),
            f" of {peer}" if peer else "",
            mark,
            refused.status,
            refused,
        )

    def _forget_oldest(self) -> None:
        kept = sorted((self._pki / "rejected").glob("*.der"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-MAX_REJECTED]:
            path.unlink(missing_ok=True)

    def _tell_once(self, key: str, message: str, *arguments: object) -> None:
        """One line per thing and ten minutes: whoever knocks again does not fill the log."""
        now = self._clock.monotonic()
        if now - self._told.get(key, -1e9) < QUIET_S:
            return
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > MAX_FILES:
            self._told.popitem(last=False)
        _log.warning(message, *arguments)


def _stamps(paths: Iterable[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in paths:
        with suppress(FileNotFoundError):
            status = path.stat()
            yield str(path), status.st_mtime_ns, status.st_ino, status.st_size


def file_name(certificate: x509.Certificate) -> str:
    """Under which a client's certificate is kept."""
    return f"{common_name(certificate)}-{thumbprint(certificate)}.der"


@contextmanager
def _readable() -> Iterator[None]:
    """The parser looks at extensions when they are asked for, and any of them may be nonsense."""
    try:
        yield
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused(
            "BadCertificateInvalid", f"it cannot be read: {printable(str(error))}; give the client another certificate"
        ) from error


def _check_digest(certificate: x509.Certificate, what: str) -> None:
    """Part 7, of all three policies: certificates are signed with SHA-2. Others can be forged (SHAttered, 2017)."""
    digest = certificate.signature_hash_algorithm
    if digest is None or digest.name not in DIGESTS:
        raise Refused(
            "BadCertificatePolicyCheckFailed",
            f"{what} is signed with {digest.name if digest else 'no digest'}; it must be SHA-256 or a longer SHA-2",
        )


def _check_uri(uris: list[str], application_uri: str | None) -> None:
    """Part 4, 6.1.3, "Application URI"."""
    if not uris:
        raise Refused("BadCertificateUriInvalid", "it names no ApplicationUri; give the client another certificate")
    if application_uri not in uris:
        raise Refused(
            "BadCertificateUriInvalid",
            f"it is for {printable(', '.join(uris))}, the client calls itself {application_uri!r:.200}; "
            "set the client's ApplicationUri to the one of its certificate, or make it a new certificate",
        )


def _check_usage(certificate: x509.Certificate) -> None:
    """Part 4, 6.1.3, "Certificate Usage": what a certificate says it is for; many clients' say nothing."""
    extensions = certificate.extensions
    with suppress(x509.ExtensionNotFound):
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        if not (usage.digital_signature and (usage.key_encipherment or usage.data_encipherment)):
            raise Refused(
                "BadCertificateUseNotAllowed", "its key is not for signing and encrypting; give it another certificate"
            )
    with suppress(x509.ExtensionNotFound):
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(purposes):
            raise Refused("BadCertificateUseNotAllowed", "it is not for clients; give it one that is (clientAuth)")


def _chain(leaf: x509.Certificate, authorities: list[x509.Certificate]) -> list[x509.Certificate]:
    """`leaf` and whoever signed it, as far as known, at most MAX_CHAIN."""
    chain = [leaf]
    while len(chain) < MAX_CHAIN and not _is_self_signed(chain[-1]):
        issuer = next((one for one in authorities if one not in chain and _issued(chain, one)), None)
        if issuer is None:
            break
        chain.append(issuer)
    return chain


def _is_self_signed(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _issued(chain: list[x509.Certificate], issuer: x509.Certificate) -> bool:
    """Whether `issuer` is an authority that may sign, and signed, the last of `chain` (RFC 5280, 4.2.1.3 and .9)."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca or not _may_sign(issuer):
            return False
        if constraints.path_length is not None and len(chain) - 1 > constraints.path_length:
            return False
        chain[-1].verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return True


def _may_sign(issuer: x509.Certificate) -> bool:
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def revocation_list(data: bytes) -> x509.CertificateRevocationList:
    """From DER or PEM. Raises ValueError."""
    return x509.load_pem_x509_crl(data) if data.startswith(b"-----") else x509.load_der_x509_crl(data)


def is_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """This authority itself made and signed the list."""
    key = issuer.public_key()
    if crl.issuer != issuer.subject or not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return False
    try:
        return crl.is_signature_valid(key)
    except (TypeError, ValueError, UnsupportedAlgorithm):  # a key of another kind than the signature's
        return False
