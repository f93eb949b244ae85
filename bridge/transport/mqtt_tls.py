"""What paho wraps its socket in: a Wire, and TLS below it where it is wanted; and what was wrong with TLS, in words."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from bridge.transport.mqtt_wire import Wire

if TYPE_CHECKING:
    import socket

    from bridge.transport.mqtt_config import BrokerConfig

CLOCK = "or correct this computer's clock"
UNTRUSTED = "is not signed by an authority we trust: put the PEM file of the authority that signed it at ca_file"
VERIFY = {
    9: f"is not valid yet: wait, {CLOCK}",
    10: f"has expired: renew it at the broker, {CLOCK}",
    18: UNTRUSTED,
    19: UNTRUSTED,
    20: UNTRUSTED,
    21: UNTRUSTED,
    23: "was revoked: renew it at the broker",
    62: "",
    64: "",
}
"""Of the broker's certificate, by OpenSSL's verification code (X509_V_ERR_* of x509_vfy.h); "" is about the name."""
ALERTS = {
    "CERTIFICATE_REQUIRED": "the broker wants a client certificate: set cert_file and key_file",
    "HANDSHAKE_FAILURE": "the broker agrees to no TLS with us: it may want a client certificate (cert_file, key_file)",
    "UNKNOWN_CA": "the broker does not trust the authority of our client certificate: look at cert_file",
    "CERTIFICATE_EXPIRED": "our client certificate has expired: renew cert_file",
    "CERTIFICATE_REVOKED": "our client certificate was revoked: renew cert_file",
    "BAD_CERTIFICATE": "the broker does not take our client certificate: look at cert_file",
    "CERTIFICATE_UNKNOWN": "the broker does not take our client certificate: look at cert_file",
    "UNSUPPORTED_CERTIFICATE": "the broker does not take our client certificate: look at its key usage",
    "PROTOCOL_VERSION": "the broker speaks another version of TLS: it needs 1.2 or newer",
}
"""What the broker says about us, by the end of OpenSSL's reason (RFC 8446, 6.2)."""
NO_TLS = "the broker ended the TLS handshake: does it speak TLS at this port? 8883 is usual"


class TlsFileError(OSError):
    """A file of a broker's TLS options cannot be used; `option` names it, the message says why."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


class Wrapping(ssl.SSLContext):
    """For paho a TLS context, which is how it lets its socket be replaced; without TLS only the wire is put around.

    Certificate and host name are verified. The socket of a handshake that failed is closed, which paho 2.2 leaves open.
    """

    _broker: BrokerConfig
    _timeout_s: float

    @classmethod
    def of(cls, broker: BrokerConfig, timeout_s: float) -> Wrapping:
        """As the broker is to be reached. Reads files: not for the event loop. Raises TlsFileError."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context._broker = broker
        context._timeout_s = timeout_s
        if broker.tls:
            context._trust(broker.ca_file)
            if broker.cert_file is not None:
                context._identify(broker, broker.cert_file)
        return context

    def _trust(self, ca_file: str | None) -> None:
        if ca_file is None:
            self.load_default_certs()
            return
        _require_readable("ca_file", ca_file)
        try:
            self.load_verify_locations(ca_file)
        except ssl.SSLError as error:
            raise TlsFileError("ca_file", f"{ca_file} holds no certificate in PEM form ({_reason(error)})") from None

    def _identify(self, broker: BrokerConfig, cert_file: str) -> None:
        """Show a certificate when asked for one. The password is never asked for at the terminal."""
        _require_readable("cert_file", cert_file)
        if broker.key_file is not None:
            _require_readable("key_file", broker.key_file)
        secret = broker.key_password.get_secret_value() if broker.key_password else ""
        try:
            self.load_cert_chain(cert_file, broker.key_file, password=lambda: secret)
        except ssl.SSLError as error:
            raise _key_fault(broker, cert_file, error) from None

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> Wire:  # type: ignore[override]
        """The wire over this socket, after its handshake. Raises OSError with the socket closed."""
        if not self._broker.tls:
            return Wire(sock)
        name = self._broker.server_name or self._broker.host
        try:
            sock.settimeout(self._timeout_s)
            return Wire(super().wrap_socket(sock, server_hostname=name))
        except (OSError, ValueError) as error:
            sock.close()
            raise OSError(tls_fault(error, self._broker)) from None


def tls_fault(error: Exception, broker: BrokerConfig) -> str:
    """Which check failed, and what to do next, for a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = VERIFY.get(error.verify_code)
        if known == "":
            name = broker.server_name or broker.host
            return f"the broker's certificate is not for {name}: write a name it holds as host, or as server_name"
        return f"the broker's certificate {known or f'does not pass: {error.verify_message}'}"
    if isinstance(error, TimeoutError):
        return f"no answer to the TLS handshake: {NO_TLS.partition(': ')[2]}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        said = next((words for alert, words in ALERTS.items() if reason.endswith(f"ALERT_{alert}")), None)
        if said is not None:
            return said
        if reason == "WRONG_VERSION_NUMBER" or isinstance(error, ssl.SSLEOFError):
            return NO_TLS
        return f"TLS failed: {_reason(error)}"
    return NO_TLS if isinstance(error, ConnectionError) else f"TLS failed: {error}"


def hang_up_fault(broker: BrokerConfig) -> str:
    """A broker that ends the connection instead of answering CONNECT: why may be lost on the way (TLS 1.3)."""
    if not broker.tls:
        return "the broker hung up instead of answering: does it want TLS at this port? Then write tls: true"
    if broker.cert_file is None:
        return "the broker hung up after the TLS handshake: it may want a client certificate (cert_file, key_file)"
    return "the broker hung up after the TLS handshake: it may not take our client certificate (cert_file)"


def _require_readable(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise TlsFileError(option, f"{path} cannot be read: {error.strerror}") from None


def _key_fault(broker: BrokerConfig, cert_file: str, error: ssl.SSLError) -> TlsFileError:
    """OpenSSL tells a wrong password, a wrong key and no key apart, more or less."""
    key = broker.key_file or cert_file
    if error.reason == "KEY_VALUES_MISMATCH":
        return TlsFileError("key_file", f"the key in {key} is not the one of the certificate in {cert_file}")
    if _holds(cert_file, b"-----BEGIN CERTIFICATE-----") and _holds(key, b"PRIVATE KEY-----"):
        if _holds(key, b"ENCRYPTED"):
            return TlsFileError("key_password", f"the key in {key} does not open with key_password")
        return TlsFileError("key_file", f"the key in {key} cannot be used ({_reason(error)})")
    if not _holds(cert_file, b"-----BEGIN CERTIFICATE-----"):
        return TlsFileError("cert_file", f"{cert_file} holds no certificate in PEM form")
    return TlsFileError("key_file", f"{key} holds no private key in PEM form")


def _holds(path: str, words: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return words in file.read(1 << 20)
    except OSError:
        return False


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
