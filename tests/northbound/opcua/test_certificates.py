"""Our certificate, and theirs."""

import base64
import ipaddress
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bridge.northbound.opcua import window
from bridge.northbound.opcua.certificates import load_or_make, prepare, thumbprint
from bridge.northbound.opcua.pki import entries, told, trust
from bridge.northbound.opcua.trust import MAX_REJECTED, Refused, TrustStore, is_by
from bridge.transport.clock import SystemClock
from tests.northbound.opcua.house import APPLICATION, HOSTS, Identity, crl, identity, own_certificate

NOW = datetime.now(UTC)


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    prepare(tmp_path)
    return tmp_path


@pytest.fixture
def store(pki: Path) -> TrustStore:
    return TrustStore(pki, SystemClock(), trust_required=True)


def refusal(store: TrustStore, client: Identity, uri: str | None = None) -> str:
    with pytest.raises(Refused) as caught:
        store.check(client.der, uri or client.uri)
    return caught.value.status


def test_own_certificate_names_application_and_hosts_and_lasts_ten_years() -> None:
    certificate = x509.load_der_x509_certificate((own_certificate() / "certificate.der").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [APPLICATION]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert certificate.public_key().key_size == 3072  # type: ignore[union-attr]
    assert certificate.not_valid_after_utc - NOW > timedelta(days=3640)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert all((usage.digital_signature, usage.content_commitment, usage.key_encipherment, usage.data_encipherment))
    extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= set(extended)


def test_key_is_for_the_owner_only() -> None:
    assert (own_certificate() / "key.pem").stat().st_mode & 0o777 == 0o600


def test_own_certificate_is_never_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    pki = own_certificate().parent
    before = (own_certificate() / "certificate.der").read_bytes()
    with caplog.at_level(logging.WARNING):
        load_or_make(pki, APPLICATION, HOSTS, NOW)
        assert not caplog.records
        late = load_or_make(pki, "urn:another", ("new-name",), NOW + timedelta(days=3640))
    assert late.certificate.public_bytes(serialization.Encoding.DER) == before
    assert "new-name, urn:another" in caplog.text
    assert "ends on" in caplog.text
    assert f"plantbridge certs new --pki {pki} --uri urn:another --host new-name" in caplog.text


def test_stranger_is_refused_kept_and_let_in_once_moved(
    pki: Path, store: TrustStore, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = identity("stranger")
    with caplog.at_level(logging.WARNING):
        assert refusal(store, stranger) == "BadCertificateUntrusted"
        refusal(store, stranger)
    (kept,) = (pki / "rejected").iterdir()
    assert kept.read_bytes() == stranger.der
    (line,) = caplog.messages
    assert f"plantbridge certs trust {thumbprint(stranger.certificate)} --pki {pki}" in line
    assert "BadCertificateUntrusted" in line
    kept.rename(pki / "trusted" / kept.name)
    store.check(stranger.der, stranger.uri)
    (pki / "trusted" / kept.name).unlink()
    assert refusal(store, stranger) == "BadCertificateUntrusted"


def test_a_trusted_client_that_is_refused_is_not_listed_as_rejected_too(
    pki: Path, store: TrustStore, caplog: pytest.LogCaptureFixture
) -> None:
    client = identity("stranger")
    (pki / "trusted" / "client.der").write_bytes(client.der)
    with pytest.raises(Refused):
        store.check(client.der, "urn:somebody:else")
    assert "BadCertificateUriInvalid" in caplog.text
    assert list((pki / "rejected").iterdir()) == []


@pytest.mark.parametrize("suffix", [".der", ".cer", ".crt", ".pem"])
def test_trusted_files_are_read_in_both_forms(pki: Path, store: TrustStore, suffix: str) -> None:
    client = identity("stranger")
    form = serialization.Encoding.PEM if suffix in (".pem", ".crt") else serialization.Encoding.DER
    (pki / "trusted" / f"one{suffix}").write_bytes(client.certificate.public_bytes(form))
    store.check(client.der, client.uri)


def test_a_broken_file_does_not_shut_the_others_out(pki: Path, store: TrustStore) -> None:
    client = identity("stranger")
    (pki / "trusted" / "a.der").write_bytes(b"nonsense")
    (pki / "trusted" / "b.der").write_bytes(client.der)
    store.check(client.der, client.uri)


def test_certificate_of_a_trusted_authority_is_let_in_until_revoked(pki: Path, store: TrustStore) -> None:
    authority, member = identity("authority", is_ca=True), identity("member", issuer="authority")
    (pki / "issuers" / "authority.der").write_bytes(authority.der)
    assert refusal(store, member) == "BadCertificateUntrusted"
    (pki / "trusted" / "authority.der").write_bytes(authority.der)
    (pki / "crl" / "authority.crl").write_bytes(crl(authority))
    store.check(member.der, member.uri)
    (pki / "crl" / "authority.crl").write_bytes(crl(authority, member))
    assert refusal(store, member) == "BadCertificateRevoked"


def test_revocation_list_of_an_authority_with_an_elliptic_key_counts(pki: Path, store: TrustStore) -> None:
    member, key, now = identity("of-ec"), ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ec authority")])

    def made(public: Any, subject: x509.Name, uri: str | None) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=uri is None, path_length=None), critical=True)
        )
        if uri:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
            )
        return builder.sign(key, hashes.SHA256())

    def listed(*revoked: x509.Certificate) -> bytes:
        builder = x509.CertificateRevocationListBuilder(name, now, now + timedelta(days=1))
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    authority, child = made(key.public_key(), name, None), made(member.key.public_key(), x509.Name([]), member.uri)
    der = child.public_bytes(serialization.Encoding.DER)
    (pki / "trusted" / "ec.der").write_bytes(authority.public_bytes(serialization.Encoding.DER))
    (pki / "crl" / "ec.crl").write_bytes(listed())
    store.check(der, member.uri)
    (pki / "crl" / "ec.crl").write_bytes(listed(child))
    with pytest.raises(Refused) as caught:
        store.check(der, member.uri)
    assert caught.value.status == "BadCertificateRevoked"
    stranger = ec.generate_private_key(ec.SECP384R1())
    forged = x509.CertificateRevocationListBuilder(name, now, now + timedelta(days=1)).sign(stranger, hashes.SHA256())
    assert not is_by(forged, authority)
    assert not is_by(x509.load_der_x509_crl(crl(identity("authority", is_ca=True))), authority)


def test_without_the_authority_s_list_its_clients_are_refused_and_the_log_says_how_to_mend_it(
    pki: Path, store: TrustStore, caplog: pytest.LogCaptureFixture
) -> None:
    authority, member = identity("authority", is_ca=True), identity("member", issuer="authority")
    (pki / "trusted" / "authority.der").write_bytes(authority.der)
    (pki / "crl" / "others.crl").write_bytes(crl(identity("root", is_ca=True)))
    with caplog.at_level(logging.WARNING):
        assert refusal(store, member) == "BadCertificateRevocationUnknown"
    assert f"plantbridge certs crl FILE --pki {pki}" in caplog.text
    lenient = TrustStore(pki, SystemClock(), trust_required=True, lists_required=False)
    lenient.check(member.der, member.uri)
    (pki / "trusted" / "member.der").write_bytes(member.der)
    store.check(member.der, member.uri)  # a person has trusted it, not its authority
    (pki / "crl" / "authority.crl").write_bytes(crl(authority, member))
    assert refusal(lenient, member) == "BadCertificateRevoked"


def test_revocation_by_somebody_else_does_not_count(pki: Path, store: TrustStore) -> None:
    authority, member = identity("authority", is_ca=True), identity("member", issuer="authority")
    (pki / "trusted" / "authority.der").write_bytes(authority.der)
    (pki / "crl" / "forged.crl").write_bytes(crl(authority, member, signer=identity("stranger")))
    assert refusal(store, member) == "BadCertificateRevocationUnknown"
    (pki / "crl" / "authority.crl").write_bytes(crl(authority))
    store.check(member.der, member.uri)


@pytest.mark.parametrize("extension", ["2.5.29.15", "2.5.29.37", "2.5.29.31"], ids=["usage", "purposes", "crl points"])
def test_certificate_with_an_extension_that_is_nonsense_is_refused_and_told(
    pki: Path, store: TrustStore, caplog: pytest.LogCaptureFixture, extension: str
) -> None:
    client = identity("stranger")
    builder = (
        x509.CertificateBuilder()
        .subject_name(client.certificate.subject)
        .issuer_name(client.certificate.subject)
        .public_key(client.key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(client.uri)]), critical=False)
    )
    nonsense = x509.UnrecognizedExtension(x509.ObjectIdentifier(extension), b"\x00\xff")
    made = builder.add_extension(nonsense, critical=False).sign(client.key, hashes.SHA256())
    with pytest.raises(Refused) as caught:
        store.check(made.public_bytes(serialization.Encoding.DER), client.uri)
    assert caught.value.status == "BadCertificateInvalid"
    assert f"certificate {thumbprint(made)}: BadCertificateInvalid: it cannot be read" in caplog.text
    (kept,) = entries(pki)
    assert (kept.folder, str(store.fault(kept.certificate))) == ("rejected", str(caught.value))


def test_certificate_signed_by_a_trusted_client_is_not_trusted(pki: Path, store: TrustStore) -> None:
    client = identity("stranger")
    (pki / "trusted" / "client.der").write_bytes(client.der)
    forged = (
        x509.CertificateBuilder()
        .subject_name(identity("member", issuer="authority").certificate.subject)
        .issuer_name(client.certificate.subject)
        .public_key(identity("forger").key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:forged")]), critical=False)
        .sign(client.key, hashes.SHA256())
    )
    with pytest.raises(Refused) as caught:
        store.check(forged.public_bytes(serialization.Encoding.DER), "urn:forged")
    assert caught.value.status == "BadCertificateUntrusted"


@pytest.mark.parametrize(
    ("client", "status"),
    [
        (lambda: identity("weak", bits=1024), "BadCertificatePolicyCheckFailed"),
        (lambda: identity("old", days=-1), "BadCertificateTimeInvalid"),
    ],
    ids=["short key", "expired"],
)
def test_form_is_checked_even_where_trust_is_not(pki: Path, client, status: str) -> None:  # type: ignore[no-untyped-def]
    lenient = TrustStore(pki, SystemClock(), trust_required=False)
    assert refusal(lenient, client()) == status
    assert refusal(lenient, identity("stranger"), "urn:somebody-else") == "BadCertificateUriInvalid"
    lenient.check(identity("stranger").der, identity("stranger").uri)


SHA_1 = base64.b64decode(
    "MIIC8DCCAdigAwIBAgIUW4Zs2i7j0qjBr6UKvOXyNPnn4okwDQYJKoZIhvcNAQEFBQAwDzENMAsGA1UEAwwEc2hhMTAgFw0yNjEx"
    "MjEyMjQ3MjVaGA8yMTI2MTAyODIyNDcyNVowDzENMAsGA1UEAwwEc2hhMTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEB"
    "ALmQXgRQc6Os6K/imZmC++bApKYt4pQ8j0bjAoJZHC0Wi2PopNaLdeZjeKzdnSbRgOVGb61uEMTmB+kBUsdfrnEjSBqod31WS4De"
    "T92qNo0mpzLhsZnta4QJDH8Lus33Qe75DnWJpv/mkIauE+BtV2+1i0ASqb63Z4IW6G9wQhzbZYaVVqWnTEBwmCTpngyd+epRzs4Y"
    "KRzYu6W3+2TcR0G0SenHwVYdMCmmKf+DbQvLvOIkYldEKJlIiyd+PYWoWZZ/iggrtEH6KuuNo4WD5/7ykBI+h0N5kHh0tswhsPS4"
    "C64a2d+xz04sU23yt1d/P+mQg3HGZNkrMunXTzhm0DkCAwEAAaNCMEAwHwYDVR0RBBgwFoYUdXJuOnRlc3Q6Y2xpZW50OnNoYTEw"
    "HQYDVR0OBBYEFF93DH5CHBEZC2Vu1LuV5rTvgRfvMA0GCSqGSIb3DQEBBQUAA4IBAQCtSj+gJf9nAJhnQ5VQg+/n20g0MtSaP/Xz"
    "e6w7wnBDCwHmtbiHevBeJcjNU++cD/eveYQ0pZ+0jzn/mMbr+ogBGljOB6htiG2juuZtHh3CMqXqxF96jY2yJVckL0uaj6+Ivkzi"
    "lwGWLQWxlsxvUXGJlPezRwQYtxUy/5IMS6lIc7OIuGBqAkOkawXztzyTI9ioZB9xuFxXlA2DN2YUpycns2YgwU06NbBYjY6LvM19"
    "JpUX/YcnfAilFO+jLhO3g49w16oDhb8BcNR/+KJ1LBrZeJOtOoYV4OwyJjKm7syH4OzGgk0I6yLYfj07ufl0/yadjjLCzKJmlk8u"
    "d2+YHKFs"
)
"""Signed with SHA-1 by OpenSSL: cryptography makes none any more."""


def test_a_certificate_signed_with_sha_1_is_refused_though_trusted(pki: Path, store: TrustStore) -> None:
    (pki / "trusted" / "old.der").write_bytes(SHA_1)
    with pytest.raises(Refused, match="signed with sha1") as caught:
        store.check(SHA_1, "urn:test:client:sha1")
    assert caught.value.status == "BadCertificatePolicyCheckFailed"


SIGNS_ONLY = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
ENCRYPTS_ONLY = x509.KeyUsage(False, False, True, True, False, False, False, False, False)
SIGNS_AND_ENCRYPTS = x509.KeyUsage(True, False, True, False, False, False, False, False, False)


def made_by_hand(*extensions: x509.ExtensionType, name: str = "by hand", uri: str = "urn:hand") -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(identity("stranger").key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
    )
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    return builder.sign(identity("stranger").key, hashes.SHA256())


@pytest.mark.parametrize(
    ("extensions", "is_let_in"),
    [
        ((), True),
        ((SIGNS_AND_ENCRYPTS,), True),
        ((SIGNS_ONLY,), False),
        ((ENCRYPTS_ONLY,), False),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),), False),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),), True),
    ],
    ids=["says nothing", "signs and encrypts", "signs", "encrypts", "server", "any purpose"],
)
def test_a_certificate_is_used_for_what_it_says(
    pki: Path, extensions: tuple[x509.ExtensionType, ...], is_let_in: bool
) -> None:
    lenient = TrustStore(pki, SystemClock(), trust_required=False)
    der = made_by_hand(*extensions).public_bytes(serialization.Encoding.DER)
    if is_let_in:
        lenient.check(der, "urn:hand")
        return
    with pytest.raises(Refused) as caught:
        lenient.check(der, "urn:hand")
    assert caught.value.status == "BadCertificateUseNotAllowed"


def test_what_a_stranger_calls_itself_writes_no_line_and_no_colour(
    pki: Path, store: TrustStore, caplog: pytest.LogCaptureFixture
) -> None:
    evil = made_by_hand(name="a\x1b[31m\nb", uri="urn:a\x1b[31m\nb")
    with pytest.raises(Refused), caplog.at_level(logging.WARNING):
        store.check(evil.public_bytes(serialization.Encoding.DER), "urn:other")
    trust(pki, evil, "anna", NOW)
    (kept,) = [one for one in entries(pki) if one.folder == "trusted"]
    lines = [*caplog.messages, (pki / "audit.log").read_text().removesuffix("\n"), *map(str, told(kept, NOW).values())]
    assert all(line.isprintable() for line in lines), lines


def test_a_renewed_authority_counts_before_its_predecessor(pki: Path, store: TrustStore) -> None:
    renewed, member = identity("renewed", is_ca=True), identity("of-renewed", issuer="renewed")
    before = (
        x509.CertificateBuilder()
        .subject_name(renewed.certificate.subject)
        .issuer_name(renewed.certificate.subject)
        .public_key(renewed.key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=60))
        .not_valid_after(NOW - timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(renewed.key, hashes.SHA256())
    )
    (pki / "trusted" / "a-before.der").write_bytes(before.public_bytes(serialization.Encoding.DER))
    (pki / "trusted" / "b-renewed.der").write_bytes(renewed.der)
    (pki / "crl" / "renewed.crl").write_bytes(crl(renewed))
    store.check(member.der, member.uri)


def test_half_of_what_is_ours_is_told_before_it_is_made_anew(pki: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_or_make(pki, APPLICATION, HOSTS, NOW)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    (pki / "own" / "key.pem").unlink()
    with caplog.at_level(logging.WARNING):
        load_or_make(pki, APPLICATION, HOSTS, NOW)
    assert f"{pki / 'own' / 'key.pem'} is missing" in caplog.text


@pytest.mark.parametrize(("peer", "is_in"), [("10.20.0.7", True), ("::ffff:10.20.0.7", True), ("::1", False)])
def test_a_window_holds_an_address_in_either_form(peer: str, is_in: bool) -> None:
    network = ipaddress.ip_network("10.20.0.0/24")
    assert window.Window(NOW, (network,), "anna").holds(peer) is is_in


@pytest.mark.parametrize("der", [b"", b"nonsense", b"\x30\x82\x04\x00" + b"\x00" * 50])
def test_bytes_that_are_no_certificate_are_refused(store: TrustStore, der: bytes) -> None:
    with pytest.raises(Refused) as caught:
        store.check(der, "urn:a")
    assert caught.value.status == "BadCertificateInvalid"


def test_rejected_certificates_are_bounded(pki: Path, store: TrustStore) -> None:
    for number in range(MAX_REJECTED + 5):
        (pki / "rejected" / f"{number}.der").write_bytes(b"")
    refusal(store, identity("stranger"))
    assert len(list((pki / "rejected").iterdir())) == MAX_REJECTED


@pytest.mark.parametrize(
    ("client", "uri", "words"),
    [
        (lambda: identity("old", days=-1), None, "BadCertificateTimeInvalid: it ended on"),
        (
            lambda: identity("stranger"),
            "urn:other",
            "BadCertificateUriInvalid: it is for urn:test:client:stranger, the",
        ),
        (lambda: identity("weak", bits=1024), None, "BadCertificatePolicyCheckFailed: its key must be RSA"),
    ],
    ids=["expired", "application uri", "short key"],
)
def test_the_failing_check_is_named_with_the_thumbprint(  # type: ignore[no-untyped-def]
    pki: Path, store: TrustStore, caplog: pytest.LogCaptureFixture, client, uri: str | None, words: str
) -> None:
    with caplog.at_level(logging.WARNING):
        refusal(store, client(), uri)
    (line,) = caplog.messages
    assert thumbprint(client().certificate) in line
    assert words in line


def test_expired_authority_lets_nobody_in(pki: Path, store: TrustStore) -> None:
    expired, member = identity("expired-ca", is_ca=True, days=-1), identity("late", issuer="expired-ca")
    (pki / "trusted" / "authority.der").write_bytes(expired.der)
    assert refusal(store, member) == "BadCertificateIssuerTimeInvalid"


def test_intermediate_authority_completes_the_chain_and_may_be_revoked(pki: Path, store: TrustStore) -> None:
    root = identity("root", is_ca=True)
    middle = identity("middle", issuer="root", is_ca=True)
    member = identity("leaf", issuer="middle")
    (pki / "trusted" / "root.der").write_bytes(root.der)
    assert refusal(store, member) == "BadCertificateUntrusted"
    (pki / "issuers" / "middle.der").write_bytes(middle.der)
    assert refusal(store, member) == "BadCertificateRevocationUnknown"
    (pki / "crl" / "middle.crl").write_bytes(crl(middle))
    assert refusal(store, member) == "BadCertificateIssuerRevocationUnknown"
    (pki / "crl" / "root.crl").write_bytes(crl(root))
    store.check(member.der, member.uri)
    (pki / "crl" / "root.crl").write_bytes(crl(root, middle))
    assert refusal(store, member) == "BadCertificateRevoked"


def test_open_window_trusts_for_good_and_writes_it_down(
    pki: Path, store: TrustStore, caplog: pytest.LogCaptureFixture
) -> None:
    networks = (ipaddress.ip_network("10.20.0.0/24"),)
    window.open_window(pki, window.Window(NOW + timedelta(minutes=15), networks, "anna"))
    early, late = identity("early"), identity("too-late")
    with pytest.raises(Refused):
        store.check(early.der, early.uri, "10.21.0.7")
    store.check(early.der, early.uri, "10.20.0.7")
    assert thumbprint(early.certificate) in (pki / "audit.log").read_text()
    assert thumbprint(early.certificate) in caplog.text
    window.open_window(pki, window.Window(NOW - timedelta(seconds=1), networks, "anna"))
    with pytest.raises(Refused):
        store.check(late.der, late.uri, "10.20.0.7")
    store.check(early.der, early.uri, "10.21.0.7")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"until": 1, "networks": [], "by": ""}', b"\xff"])
def test_broken_window_is_none(pki: Path, store: TrustStore, content: bytes) -> None:
    (pki / "accept.json").write_bytes(content)
    assert refusal(store, identity("stranger")) == "BadCertificateUntrusted"


def test_audit_is_bounded(pki: Path) -> None:
    (pki / "audit.log").write_text("a line\n" * 60_000)
    window.audit(pki, NOW, "the newest")
    lines = (pki / "audit.log").read_text().splitlines()
    assert len(lines) <= window.MAX_LINES
    assert lines[-1].endswith("the newest")
