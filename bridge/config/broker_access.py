"""How sources and faces reach their MQTT brokers: what cannot work, and what should not be so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.config.broker import is_loopback
from bridge.transport.mqtt_tls import TlsFileError, Wrapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.keypath import KeyPath
    from bridge.config.merge import Sheaf
    from bridge.config.site import SiteFile
    from bridge.errors import Fault
    from bridge.transport.mqtt import BrokerConfig


def _brokers(file: SiteFile) -> Iterator[tuple[KeyPath, BrokerConfig]]:
    """Of the sources, and of the faces that run, and where each is written."""
    sparkplug, uns = file.northbound.sparkplug, file.northbound.uns
    listed = isinstance(sparkplug.broker, tuple)
    for index, broker in enumerate(sparkplug.brokers if sparkplug.enabled else ()):
        yield ("northbound", "sparkplug", "broker", *((index,) if listed else ())), broker
    if uns.enabled:
        yield ("northbound", "uns", "broker"), uns.broker
    for name, source in file.sources.items():
        if source.type == "iotistica" and source.mqtt is not None:
            yield ("sources", name, "mqtt", "broker"), source.mqtt.broker


def broker_faults(file: SiteFile, sheaf: Sheaf) -> Iterator[Fault]:
    """A face that would be refused for ever by the broker beside it."""
    for path, broker in _brokers(file):
        if broker.protocol == "5" and file.broker.is_reached_at(broker.host, broker.port):
            yield sheaf.fault(
                (*path, "protocol"), "the embedded broker speaks MQTT 3.1.1 only", "auto, or another broker"
            )


def file_faults(file: SiteFile, sheaf: Sheaf) -> Iterator[Fault]:
    """Certificates and keys that cannot be used. Reads them: for `check`; a running bridge tries again by itself."""
    for path, broker in _brokers(file):
        try:
            Wrapping.of(broker, 0.0)
        except TlsFileError as error:
            yield sheaf.fault((*path, error.option), str(error), "a PEM file that this user may read")


def warnings(file: SiteFile, sheaf: Sheaf) -> Iterator[Fault]:
    """What works, and lets others read along."""
    for path, broker in _brokers(file):
        if broker.password is not None and not broker.tls and not is_loopback(broker.host):
            problem = f"the password goes to {broker.host} unencrypted, for everybody on the way to read"
            yield sheaf.fault((*path, "password"), problem, "tls: true, and a port with TLS (8883 is usual)")
