"""The faces of a site, and what of a plant they cannot carry."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from bridge.northbound.opcua.server import OpcuaServer
from bridge.northbound.sparkplug.node import SparkplugNode
from bridge.northbound.status.server import StatusServer
from bridge.northbound.uns.publisher import UnsPublisher

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pydantic import SecretStr

    from bridge.config.site import Site
    from bridge.model.plant import Plant
    from bridge.northbound.status.session import Logins
    from bridge.ports import Clock, Northbound
    from bridge.transport.mqtt import BrokerConfig


def opcua_face(site: Site, clock: Clock, state_directory: Path) -> OpcuaServer:
    """The OPC UA server of a site."""
    return OpcuaServer(site.file.northbound.opcua, clock, state_directory, bridge_name=site.file.bridge.name)


def sparkplug_face(site: Site, clock: Clock, state_directory: Path) -> SparkplugNode:
    """The Sparkplug edge node of a site."""
    own = site.file.bridge
    config = site.file.northbound.sparkplug
    config = config.model_copy(update={"broker": tuple(_known(site, broker) for broker in config.brokers)})
    return SparkplugNode(config, clock, state_directory, own.enterprise, own.site, own.name)


def uns_face(site: Site, clock: Clock) -> UnsPublisher:
    """The Unified Namespace publisher of a site."""
    own = site.file.bridge
    config = site.file.northbound.uns
    config = config.model_copy(update={"broker": _known(site, config.broker)})
    return UnsPublisher(config, clock, own.enterprise, own.site, own.name)


def _known(site: Site, broker: BrokerConfig) -> BrokerConfig:
    """The broker of a face, with what we know of it: the embedded one need not be asked for MQTT 5."""
    if broker.protocol == "auto" and site.file.broker.is_reached_at(broker.host, broker.port):
        return broker.model_copy(update={"protocol": "3.1.1"})
    return broker


def plant_faces(site: Site, clock: Clock, state_directory: Path) -> dict[str, Northbound]:
    """The faces that show the plant, those that are enabled."""
    chosen = site.file.northbound
    faces: dict[str, Northbound] = {}
    if chosen.opcua.enabled:
        faces["opcua"] = opcua_face(site, clock, state_directory)
    if chosen.sparkplug.enabled:
        faces["sparkplug"] = sparkplug_face(site, clock, state_directory)
    if chosen.uns.enabled:
        faces["uns"] = uns_face(site, clock)
    return faces


def status_face(site: Site, clock: Clock, token: SecretStr, logins: Logins) -> StatusServer:
    """Health, metrics, the admin API and the status page."""
    return StatusServer(site.file.northbound.status, token, clock, logins)


async def until_open(face: Northbound) -> None:
    """Wait for a face that takes long to build, and that clients are waiting for."""
    if isinstance(face, OpcuaServer):
        await face.listening.wait()


def listening_faults(before: Site, site: Site) -> list[str]:
    """Where a face is to listen anew and cannot: found before the face that works is closed."""
    old, new = before.file.northbound.opcua, site.file.northbound.opcua
    if not new.enabled or (old.enabled and old.port == new.port):
        return []
    try:
        family = socket.AF_INET6 if ":" in new.host else socket.AF_INET
        socket.create_server((new.host, new.port), family=family).close()
    except OSError as error:
        return [f"opcua cannot listen on {new.host}:{new.port}: {error.strerror or error}"]
    return []


def plant_faults(faces: Iterable[Northbound], plant: Plant) -> list[str]:
    """What of this plant some face cannot carry: colliding topics, characters a protocol forbids."""
    return [f"{face.name}: {fault}" for face in faces for fault in face.faults(plant)]


def identity(site: Site, face: str) -> object:
    """What a face is made from: it must be made anew when this changes."""
    own = site.file.bridge
    return getattr(site.file.northbound, face), own.name, own.enterprise, own.site
