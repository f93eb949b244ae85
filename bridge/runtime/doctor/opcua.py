"""The OPC UA server: its port, what clients are told to connect to, and whether its certificate says the same."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.northbound.opcua import certificates
from bridge.northbound.opcua.config import Trust, is_loopback
from bridge.runtime.doctor.finding import Chart
from bridge.runtime.doctor.house import port_fault
from bridge.runtime.doctor.network import Server, way_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cryptography import x509

    from bridge.config.site import Site
    from bridge.ports import Clock
    from bridge.runtime.doctor.finding import Finding, Findings

SOON_DAYS = 90


async def examine(site: Site, clock: Clock, *, is_running: bool) -> Findings:
    """Port, endpoint, certificate, whom it trusts."""
    chart, config = Chart("opcua"), site.file.northbound.opcua
    if is_running:
        async for one in way_to(chart, Server(_reached_at(config.host), config.port, False), clock.now()):
            if one.check == "TCP":
                yield one
    elif why := port_fault(config.host, config.port):
        step = f"See what listens there: ss -ltnp 'sport = :{config.port}'; stop it, or choose another port"
        yield chart.fault("port", f"{config.host}:{config.port} cannot be had: {why}", step)
    else:
        yield chart.ok("port", f"{config.host}:{config.port} is free")
    yield _endpoint(chart, site)
    for one in _certificate(chart, site, clock.now()):
        yield one
    yield _people(chart, site)


def _reached_at(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where to, not where to listen


def _endpoint(chart: Chart, site: Site) -> Finding:
    config = site.file.northbound.opcua
    sentence = f"clients are told opc.tcp://{config.names[0]}:{config.port}/"
    if is_loopback(config.host):
        return chart.note("endpoint", f"{sentence}; only programs on this computer reach it", "Others: host: 0.0.0.0")
    if not config.hosts:
        step = "Write northbound.opcua.hosts: the names and addresses by which clients really reach this computer"
        return chart.warning("endpoint", f"{sentence}; some clients must be able to resolve just that", step)
    return chart.ok("endpoint", sentence)


def _certificate(chart: Chart, site: Site, now: datetime) -> Iterator[Finding]:
    config = site.file.northbound.opcua
    pki = Path(config.pki) if config.pki else site.state_directory / "pki"
    file = pki / "own" / "certificate.der"
    hosts = " ".join(f"--host {name}" for name in config.names)
    uri = config.application_uri or f"urn:plantbridge:{site.file.bridge.name}"
    remedy = f"Make another, which every client must trust anew: plantbridge certs new --pki {pki} --uri {uri} {hosts}"
    try:
        own = certificates.parse(file.read_bytes())
    except FileNotFoundError:
        yield chart.note("certificate", f"none yet; it is made at the first start, for {', '.join(config.names)}")
        return
    except (OSError, ValueError) as error:
        yield chart.fault(
            "certificate", f"{file} cannot be read: {error}", "Is this the user of the bridge? Else: " + remedy
        )
        return
    yield _names(chart, own, (*config.names, uri), remedy)
    days = certificates.days_left(own, now)
    sentence = f"thumbprint {certificates.thumbprint(own)}, until {own.not_valid_after_utc.date()} ({days:.0f} days)"
    if days < 0:
        yield chart.fault("certificate", f"{sentence}: it has ended", remedy)
    elif days < SOON_DAYS:
        yield chart.warning("certificate", f"{sentence}: it ends soon", remedy)
    else:
        yield chart.ok("certificate", sentence)


def _names(chart: Chart, own: x509.Certificate, wanted: tuple[str, ...], remedy: str) -> Finding:
    known = certificates.names_of(own)
    missing = [name for name in wanted if name not in known]
    if missing:
        return chart.warning(
            "names", f"the certificate does not name {', '.join(missing)}: some clients refuse it", remedy
        )
    return chart.ok("names", f"the certificate names {', '.join(wanted)}")


def _people(chart: Chart, site: Site) -> Finding:
    config = site.file.northbound.opcua
    pki = Path(config.pki) if config.pki else site.state_directory / "pki"
    trusted = len(certificates.files_of(pki / "trusted", certificates.SUFFIXES)) if (pki / "trusted").is_dir() else 0
    if not config.users and not config.unsecured_read_only:
        files = shlex.join(map(str, site.files))
        step = f"Give somebody a login: plantbridge users add NAME {files} --role Observer"
        return chart.warning("users", "nobody may log in", step)
    if config.trust is Trust.REQUIRED and not trusted and not config.unsecured_read_only:
        step = "Let a client try, then: plantbridge certs list, plantbridge certs trust THUMBPRINT"
        return chart.note("trust", "no client's certificate is trusted yet", step)
    return chart.ok("trust", f"{trusted} trusted certificates, {len(config.users)} users")
