"""A little host application: follows edge nodes as Sparkplug 3.0 chapter 5 says, and notes every broken rule. Pure.

It decodes with Google's runtime, not with our codec.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.northbound.sparkplug.schema import decode

SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}


@dataclass
class Known:
    """What the host holds of one metric."""

    datatype: int
    value: Any
    quality: int
    timestamp: int
    properties: dict[str, Any] = field(default_factory=dict)
    has_alias: bool = False


@dataclass
class Host:
    """One edge node as a host sees it: `tags[device][metric]`, the node itself being device ""."""

    is_online: bool = False
    bd_seq: int | None = None
    seq: int | None = None
    tags: dict[str, dict[str, Known]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    now_ms: int | None = None
    aliases: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Device and metric by alias, since the last NBIRTH."""
    past: list[tuple[str, str, Any]] = field(default_factory=list)
    """Historical values, which move no current one: device, metric, value."""

    @property
    def wants_rebirth(self) -> bool:
        return bool(self.broken)

    def hear(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        namespace, _group, kind, _edge, *rest = topic.split("/")
        device = rest[0] if rest else ""
        self.said.append(f"{kind} {device}".strip())
        message = decode(payload)
        self._check(namespace == "spBv1.0", "namespace")
        self._check(not retain, f"{kind} retained")
        if kind == "NDEATH":
            self._check(qos == 1, f"NDEATH with QoS {qos}")
            self._ndeath(message)
            return
        self._check(qos == 0, f"{kind} with QoS {qos}")
        self._check(message.HasField("timestamp"), f"{kind} without timestamp")
        self._count(kind, message)
        if kind == "NBIRTH":
            self._nbirth(message)
        elif kind == "DBIRTH":
            self._check(self.is_online, "DBIRTH before NBIRTH")
            self._check(device in self.dead or device not in self.tags, f"second DBIRTH of {device}")
            self.dead.discard(device)
            self._born(device, message)
        elif kind == "DDEATH":
            self._check(device in self.tags and device not in self.dead, f"DDEATH of unborn {device}")
            self.dead.add(device)
        else:
            self._data(device, message)

    def _check(self, holds: bool, rule: str) -> None:
        if not holds:
            self.broken.append(rule)

    def _count(self, kind: str, message: Any) -> None:
        self._check(message.HasField("seq"), f"{kind} without seq")
        if kind == "NBIRTH":
            self._check(message.seq == 0, f"NBIRTH with seq {message.seq}")
        else:
            self._check(self.seq is not None and message.seq == (self.seq + 1) % 256, f"gap before {kind}")
        self.seq = message.seq

    def _nbirth(self, message: Any) -> None:
        self.tags, self.dead, self.is_online, self.aliases = {}, set(), True, {}
        self._born("", message)
        self._check(self.tags[""]["bdSeq"].datatype == 4, "bdSeq is no Int64")
        self._check(self.tags[""]["Node Control/Rebirth"].value is False, "no Node Control/Rebirth")
        self.bd_seq = self.tags[""]["bdSeq"].value

    def _born(self, device: str, message: Any) -> None:
        tags = self.tags[device] = {}
        for metric in message.metrics:
            self._check(metric.HasField("name") and metric.HasField("datatype"), f"birth of {device}: {metric}")
            self._check(metric.HasField("timestamp"), f"{metric.name} without timestamp")
            self._note_alias(device, metric)
            self._check(metric.is_null != (metric.WhichOneof("value") is not None), f"{metric.name}: null and value")
            value, quality, timestamp = self._read(metric, metric.datatype)
            known = Known(metric.datatype, value, quality, timestamp, _properties(metric), metric.HasField("alias"))
            tags[metric.name] = known
            self._check(self.now_ms is None or metric.timestamp <= self.now_ms, f"{metric.name} is from the future")

    def _note_alias(self, device: str, metric: Any) -> None:
        if metric.HasField("alias"):
            self._check(metric.alias not in self.aliases, f"alias {metric.alias} of {metric.name} was given before")
            self._check(metric.name not in ("bdSeq", "Node Control/Rebirth"), f"alias on {metric.name}")
            self.aliases[metric.alias] = (device, metric.name)

    def _name(self, device: str, metric: Any) -> str | None:
        if not metric.HasField("alias"):
            return str(metric.name)
        self._check(not metric.HasField("name"), f"alias and name of {metric.name}")
        owner, name = self.aliases.get(metric.alias, ("", None))
        return name if owner == device else None

    def _data(self, device: str, message: Any) -> None:
        self._check(self.is_online and device in self.tags and device not in self.dead, f"data of unborn {device}")
        stamps = [metric.timestamp for metric in message.metrics]
        self._check(stamps == sorted(stamps), "data out of order")
        for metric in message.metrics:
            name = self._name(device, metric)
            known = None if name is None else self.tags.get(device, {}).get(name)
            if known is None:
                self.broken.append(f"unknown metric {metric.name} {metric.alias}")
                continue
            self._check(known.has_alias == metric.HasField("alias"), f"{name} is not said as its birth announced it")
            value, quality, timestamp = self._read(metric, known.datatype)
            if metric.is_historical:
                self.past.append((device, str(name), value))
                continue
            if not any(key == "Quality" for key in metric.properties.keys):
                quality = known.quality  # hosts keep the last property they were told
            self._check(timestamp >= known.timestamp, f"{name} goes back in time")
            known.value, known.quality, known.timestamp = value, quality, timestamp

    def _ndeath(self, message: Any) -> None:
        self._check([metric.name for metric in message.metrics] == ["bdSeq"], "NDEATH with other metrics")
        self._check(not message.HasField("seq"), "NDEATH with seq")
        if message.metrics[0].long_value == self.bd_seq:
            self.is_online = False

    def _read(self, metric: Any, datatype: int) -> tuple[Any, int, int]:
        which = metric.WhichOneof("value")
        value = getattr(metric, which) if which else None
        if datatype in SIGNED_BITS and value is not None:
            bits = SIGNED_BITS[datatype]
            value = value - (1 << bits) if value >> bits - 1 else value
        quality = _properties(metric).get("Quality", 192)
        self._check(quality in (0, 192, 500), f"quality {quality}")
        return value, quality, metric.timestamp


def _properties(metric: Any) -> dict[str, Any]:
    found = {}
    for key, value in zip(metric.properties.keys, metric.properties.values, strict=True):
        assert value.HasField("type")
        found[key] = getattr(value, value.WhichOneof("value"))
    return found
