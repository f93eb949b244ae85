"""Sites that are fed from a record, and that reach nothing but this computer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import orjson

from bridge.config.broker import EmbeddedBrokerConfig
from bridge.config.library import MappingLibrary
from bridge.config.site import load_site
from bridge.config.site_changes import with_sources, with_state_directory
from bridge.errors import BridgeError
from bridge.model.path import MACHINE_ID, SEGMENT
from bridge.sources.replay.config import ReplayConfig
from bridge.transport.mqtt import BrokerConfig

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.config.site import Site, SourceConfig
    from bridge.sources.replay.record import Header

LOOPBACK = "127.0.0.1"


class NotReplayable(BridgeError):
    """The record and the site do not belong together, or the record is none."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a replay listens, on loopback; 0 takes a free one, except for MQTT."""

    opcua: int
    mqtt: int
    status: int


@dataclass(frozen=True, slots=True)
class Playing:
    """The record and how it is played."""

    file: Path
    header: Header
    speed: float = 1.0
    loop: bool = False

    def source(self, name: str) -> ReplayConfig:
        """The source that takes the recorded one's place."""
        return ReplayConfig(
            type="replay", file=str(self.file.resolve()), of=name, speed=self.speed, loop=self.loop
        )  # fmt: skip


def generated_site(playing: Playing, folder: Path) -> Site:
    """A site with the machines of the record, under the ids they had; written to `folder`. Raises ConfigError."""
    header = playing.header
    if not all(map(SEGMENT.match, header.sources)):
        raise NotReplayable(f"{playing.file}: its header names sources that no bridge could have")
    zone = {"time_zone": header.time_zone} if header.time_zone in available_timezones() else {}
    document = {
        "version": 1,
        "bridge": {"name": "replay", "enterprise": "replay", "site": "record", **zone},
        "sources": {name: playing.source(name).model_dump() for name in header.sources},
        "machines": _machines(header),
    }
    file = folder / "bridge.yaml"
    file.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))  # JSON is YAML
    return load_site([file], {})


def _machines(header: Header) -> list[dict[str, Any]]:
    """As many as can be named; the others are found. A stranger wrote it: nothing of it may be expanded."""
    known = set(MappingLibrary.load([]).names)
    machines: dict[str, dict[str, Any]] = {}
    for part in header.machines:
        fits = MACHINE_ID.match(part.machine) and SEGMENT.match(part.part) and part.source in header.sources
        if not fits or "$" in part.key or not part.key or len(part.key) > 200:
            continue
        rules: dict[str, Any] = {"source": part.source, "machine": {"key": part.key}}
        if part.mapping in known:
            rules["mapping"] = part.mapping
        if SEGMENT.match(part.prefix):
            rules["prefix"] = part.prefix
        machine = machines.setdefault(part.machine, {"id": part.machine, "parts": {}, "alive": "any"})
        machine["parts"][part.part] = rules
    return list(machines.values())


def replayed(site: Site, playing: Playing) -> Site:
    """The site with every source replayed; one that was not recorded is never connected, and says so."""
    names = list(site.file.sources)
    if not set(names) & set(playing.header.sources):
        recorded, there = ", ".join(playing.header.sources) or "none", ", ".join(names) or "none"
        raise NotReplayable(f"the record has the sources {recorded}, the site {there}: name them alike")
    sources: dict[str, SourceConfig] = {name: playing.source(name) for name in names}
    return with_sources(site, sources)


def on_loopback(site: Site, ports: Ports, state: Path) -> Site:
    """The site with its faces on this computer only: what is replayed must not pass for what is."""
    file = site.file
    north, broker = file.northbound, BrokerConfig(host=LOOPBACK, port=ports.mqtt)
    faces = {
        "opcua": north.opcua.model_copy(
            update={"host": LOOPBACK, "port": ports.opcua, "pki": None, "unsecured_read_only": True}
        ),
        "sparkplug": north.sparkplug.model_copy(update={"broker": broker}),
        "uns": north.uns.model_copy(update={"broker": broker}),
        "status": north.status.model_copy(update={"host": LOOPBACK, "port": ports.status}),
    }
    changed = {
        "northbound": north.model_copy(update=faces),
        "broker": EmbeddedBrokerConfig(enabled=True, host=LOOPBACK, port=ports.mqtt),
    }
    return with_state_directory(replace(site, file=file.model_copy(update=changed)), state)
