"""Makes what docker/compose.yaml needs and no repository may hold: an authority, two certificates, passwords.

`setup.py KEPT BROKER BRIDGE GRAFANA`: a directory that only root reads, and one for each program, readable for it
alone. What exists is kept, so it may run at every start; a certificate near its end is made anew.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bridge.northbound.opcua.passwords import hash_password

BRIDGE = "bridge-1"
USERS = (BRIDGE, "host-1", "reader", "commander")
"""Those of docker/mosquitto/acl."""
ROOT, BROKER_UID, BRIDGE_UID, GRAFANA_UID = 0, 1883, 10001, 472
"""Of the images eclipse-mosquitto, plantbridge and grafana."""
ITERATIONS = 101
"""What mosquitto_passwd of mosquitto 2 uses; the passwords are random, so that more would add nothing."""
YEARS_10, RENEW = timedelta(days=3650), timedelta(days=30)
LIFETIME = timedelta(days=397)


def main(kept: Path, broker: Path, bridge: Path, grafana: Path) -> None:
    """Make what is missing."""
    authority, authority_key = _authority(kept)
    _server(broker / "server", _hosts("BROKER_HOSTS", "mosquitto"), BROKER_UID, authority, authority_key)
    _server(bridge / "page", _hosts("BRIDGE_HOSTS", "bridge"), BRIDGE_UID, authority, authority_key)
    _written(broker / "ca.crt", _pem(authority), BROKER_UID)
    _written(bridge / "ca.crt", _pem(authority), BRIDGE_UID)
    passwords = {user: _password(kept / f"{user}.password", ROOT) for user in USERS}
    _written(bridge / "mqtt.password", passwords[BRIDGE].encode(), BRIDGE_UID)
    if not (broker / "passwords").exists():
        lines = "".join(f"{user}:{_mosquitto_hash(password)}\n" for user, password in passwords.items())
        _written(broker / "passwords", lines.encode(), BROKER_UID)
    if not (bridge / "operator.hash").exists():
        operator = hash_password(_password(kept / "operator.password", ROOT))
        _written(bridge / "operator.hash", operator.encode(), BRIDGE_UID)
    _password(grafana / "admin.password", GRAFANA_UID)


def _hosts(variable: str, service: str) -> list[str]:
    """Names and addresses in a certificate: what is said, and what the other containers and this computer say."""
    said = (host.strip() for host in os.environ.get(variable, "").split(","))
    return list(dict.fromkeys(filter(None, (*said, service, "localhost", "127.0.0.1"))))


def _authority(kept: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = kept / "ca.crt", kept / "ca.key"
    if path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - our own file
        return x509.load_pem_x509_certificate(path.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Plant CA")])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        _builder(name, name, key.public_key(), YEARS_10)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    _written(key_path, _key_pem(key), ROOT)
    _written(path, _pem(certificate), ROOT)
    return certificate, key


def _server(
    stem: Path, hosts: list[str], uid: int, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey
) -> None:
    kept = stem.with_suffix(".crt")
    if kept.exists() and x509.load_pem_x509_certificate(kept.read_bytes()).not_valid_after_utc > _now() + RENEW:
        return
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _builder(subject, authority.subject, key.public_key(), LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _written(stem.with_suffix(".key"), _key_pem(key), uid)
    _written(kept, _pem(certificate), uid)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    """From yesterday on: clocks of a plant differ."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - timedelta(days=1))
        .not_valid_after(_now() + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _password(path: Path, uid: int) -> str:
    if not path.exists():
        _written(path, secrets.token_urlsafe(24).encode(), uid)
    return path.read_text(encoding="ascii")


def _mosquitto_hash(password: str) -> str:
    """`$7$iterations$salt$hash`: PBKDF2 with SHA-512, as mosquitto 2 keeps passwords."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _written(path: Path, content: bytes, uid: int) -> None:
    """Whole or not at all, and never readable for others."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    if os.geteuid() == 0:
        os.chown(fresh, uid, uid)
    fresh.replace(path)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
