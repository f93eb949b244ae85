"""The way to a server: its name, its port, its certificate. Nothing is said to it beyond a TLS handshake."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from bridge.errors import NotConnected
from bridge.runtime.doctor.finding import Verdict
from bridge.transport.http import goes_in_clear, system_words, tls_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from bridge.runtime.doctor.finding import Chart, Finding, Findings

PATIENCE_S = 5.0
"""For each of a name, a connection and a handshake."""
SOON_DAYS = 30
"""Days before a certificate's end from which it is spoken of."""


class Server(NamedTuple):
    """Where something is. `ca_file`, `verify`: how it proves who it is."""

    host: str
    port: int
    is_encrypted: bool
    ca_file: str | None = None
    verify: bool = True


async def way_to(chart: Chart, server: Server, now: datetime) -> Findings:
    """DNS, TCP and TLS, up to the first that does not work."""
    found = await _resolved(chart, server.host)
    yield found
    if found.verdict is Verdict.FAULT:
        return
    found = await _reached(chart, server)
    yield found
    if found.verdict is not Verdict.FAULT and server.is_encrypted:
        async for one in _handshakes(chart, server, now):
            yield one


async def _resolved(chart: Chart, host: str) -> Finding:
    if _is_address(host):
        return chart.ok("DNS", f"{host} is an address")
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        step = "Look at the name server this computer uses, or write the address instead of the name"
        return chart.fault("DNS", f"Nobody told the address of {host} within {PATIENCE_S:.0f} s", step)
    except (OSError, UnicodeError) as error:
        step = "Is the name spelled right? Ask your network's administrator, or write the address instead"
        return chart.fault("DNS", f"{host} has no address: {_words(error)}", step)
    addresses = list(dict.fromkeys(str(address[4][0]) for address in found))[:4]
    return chart.ok("DNS", f"{host} is {', '.join(addresses)}")


async def _reached(chart: Chart, server: Server) -> Finding:
    began = time.monotonic()
    try:
        async with _connected(server, None):
            milliseconds = (time.monotonic() - began) * 1000
    except TimeoutError:
        step = "Is it on? Does a firewall between here and there drop the packets? Is the address right?"
        return chart.fault("TCP", f"{_where(server)} does not answer within {PATIENCE_S:.0f} s", step)
    except OSError as error:
        step = "Is it on, and is this its port? Try from this computer: curl -v telnet://" + _where(server)
        return chart.fault("TCP", f"{_where(server)} cannot be reached: {_words(error)}", step)
    return chart.ok("TCP", f"{_where(server)} took the connection in {milliseconds:.0f} ms")


async def _handshakes(chart: Chart, server: Server, now: datetime) -> Findings:
    """First one that believes everything, to see the certificate; then ours."""
    try:
        shown = await _certificate(server)
    except (TimeoutError, OSError, ValueError) as error:
        step = "Is this the port with TLS? Write http:// where the server speaks no TLS there"
        yield chart.fault("TLS", f"{_where(server)} makes no TLS with us: {_words(error)}", step)
        return
    yield _shown(chart, shown, now)
    yield await _trusted(chart, server, shown)


async def _certificate(server: Server) -> x509.Certificate:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with _connected(server, context) as writer:
        data = writer.get_extra_info("ssl_object").getpeercert(True)
    if not data:
        raise ValueError("it shows no certificate")
    return x509.load_der_x509_certificate(data)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 in hex, by pairs, as browsers and openssl show it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _shown(chart: Chart, certificate: x509.Certificate, now: datetime) -> Finding:
    end = certificate.not_valid_after_utc
    days = (end - now).days
    sentence = f"certificate of {certificate.subject.rfc4514_string() or 'nobody by name'}, SHA-256 "
    sentence += f"{fingerprint(certificate)}, until {end.date()} ({days} days)"
    lifetime = (end - certificate.not_valid_before_utc).days
    if end <= now:
        return chart.fault("certificate", f"{sentence}: it has ended", "Renew it at the server, or set the clocks")
    if certificate.not_valid_before_utc > now:
        return chart.fault("certificate", f"{sentence}: it is not valid yet", "Compare the clocks of both computers")
    if days < SOON_DAYS and lifetime > SOON_DAYS:  # Caddy's own live for 12 hours, and are renewed by themselves
        return chart.warning("certificate", f"{sentence}: it ends soon", "Renew it at the server")
    return chart.ok("certificate", sentence)


async def _trusted(chart: Chart, server: Server, shown: x509.Certificate) -> Finding:
    by = server.ca_file or "this computer's authorities"
    if not server.verify:
        step = "Compare the fingerprint above at the server, name its root certificate as ca_file, and take verify out"
        return chart.warning("TLS", "verify is false: anybody on the way may pose as this server", step)
    try:
        context = await asyncio.to_thread(tls_context, server.ca_file)
        async with _connected(server, context):
            return chart.ok("TLS", f"trusted by {by}")
    except NotConnected as error:
        return chart.fault("TLS", str(error), error.advice)
    except ssl.SSLCertVerificationError as error:
        step = "Copy the root certificate of whoever signed it to this computer and name it as ca_file"
        if "mismatch" in error.verify_message.lower() or "not valid for" in error.verify_message.lower():
            step = f"Use a name of the certificate in the address; it is for {', '.join(_names(shown)) or 'no name'}"
        return chart.fault("TLS", f"not trusted by {by}: {error.verify_message}", step)
    except (TimeoutError, OSError) as error:
        return chart.fault(
            "TLS", f"the handshake failed: {_words(error)}", "Which versions of TLS does the server know?"
        )


def in_clear(chart: Chart, url: str) -> Finding | None:
    """What is said to this address can be read by others."""
    if not goes_in_clear(url):
        return None
    step = "Use https where the server offers it, or keep the way between both computers to yourselves"
    return chart.warning("TLS", "not encrypted: credentials and values can be read on the way", step)


@asynccontextmanager
async def _connected(server: Server, tls: ssl.SSLContext | None) -> AsyncIterator[asyncio.StreamWriter]:
    """A connection; left at once. Raises OSError, TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        _, writer = await asyncio.open_connection(
            server.host, server.port, ssl=tls, server_hostname=server.host if tls else None
        )
    try:
        yield writer
    finally:
        writer.transport.abort()


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [str(name.value) for name in names][:8]


def _where(server: Server) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _words(error: Exception) -> str:
    """A sentence's end; asyncio's own texts repeat the address."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno is not None:
        return system_words(error)
    return str(error) or type(error).__name__
