"""Payloads: the panel's JSON and msgpack bodies, parsed. Pure.

Everything from the panel is optional: fields we do not know are passed over, fields that are missing are None. What has
not even the outline of the documented shape raises ProtocolError. NaN stays NaN here; a mapping makes it Bad.
Source: QiTech wiki "Rest API"; qitechgmbh/control 2.14.0 to 3.0.0; recorded answers in tests/recorded/qitech.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bridge.errors import ProtocolError
from bridge.sources.qitech.identity import Identity

SHOWN: Final = 120
"""Characters of a strange payload that may be shown to a person."""


@dataclass(frozen=True, slots=True)
class ListedMachine:
    """A machine in the panel's list. `slug` is "" in a MachinesEvent, which has none."""

    identity: Identity
    slug: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One machine as GET /api/v2/machine/<slug>/<serial> shows it; a channel that is null is None."""

    state: dict[str, Any] | None
    live_values: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """One Socket.IO event: {"name": str, "data": any, "ts": ms since 1970 by the panel's clock}."""

    name: str
    data: Any
    ts: int | None


def parse_json(body: bytes) -> Any:
    """Any JSON body. Raises ProtocolError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"The panel's answer is not JSON: {_shown(body)}") from error


def parse_list(body: bytes) -> tuple[ListedMachine, ...]:
    """GET /api/v2/machine.

    Shape: {"machines": [{"legacy_id": {"machine_identification": {"vendor", "machine"}, "serial"}, "serial", "vendor",
    "slug", "error": null | str}]}
    Entries without an identity are passed over. Raises ProtocolError where there is no list.
    """
    return _machines(parse_json(body), "legacy_id")


def parse_machines_event(data: Any) -> tuple[ListedMachine, ...]:
    """MachinesEvent of /main.

    Shape: {"machines": [{"machine_identification_unique": {"machine_identification": {...}, "serial"}, "error"}]}
    """
    return _machines(data, "machine_identification_unique")


def _machines(data: Any, identity_key: str) -> tuple[ListedMachine, ...]:
    machines = data.get("machines") if isinstance(data, Mapping) else None
    if not isinstance(machines, list):
        raise ProtocolError(f"The panel's list of machines has no machines: {_shown(data)}")
    return tuple(filter(None, (_listed(entry, identity_key) for entry in machines)))


def _listed(entry: Any, identity_key: str) -> ListedMachine | None:
    if not isinstance(entry, Mapping):
        return None
    identity = _identity(entry.get(identity_key))
    if identity is None:
        return None
    slug, error = entry.get("slug"), entry.get("error")
    return ListedMachine(identity, slug if isinstance(slug, str) else "", None if error is None else str(error))


def _identity(unique: Any) -> Identity | None:
    kind = unique.get("machine_identification") if isinstance(unique, Mapping) else None
    if not isinstance(kind, Mapping):
        return None
    numbers = [kind.get("vendor"), kind.get("machine"), unique.get("serial")]
    return Identity(*numbers) if all(map(_is_u16, numbers)) else None


def _is_u16(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 0xFFFF


def parse_snapshot(body: bytes) -> Snapshot:
    """GET /api/v2/machine/<slug>/<serial>.

    Shape: {"machine": {...}, "state": {...} | null, "live_values": {...} | null}
    Raises ProtocolError where neither channel could be there.
    """
    data = parse_json(body)
    if not isinstance(data, dict) or not data.keys() & {"state", "live_values"}:
        raise ProtocolError(f"The machine's answer has no state and no live values: {_shown(data)}")
    return Snapshot(_channel(data, "state"), _channel(data, "live_values"))


def _channel(data: dict[str, Any], name: str) -> dict[str, Any] | None:
    payload = data.get(name)
    if payload is not None and not isinstance(payload, dict):
        raise ProtocolError(f"The machine's {name} are not an object: {_shown(payload)}")
    return payload


def parse_event(arguments: Any) -> Envelope:
    """The data of a Socket.IO EVENT packet: ["event", {"name", "data", "ts"}]. Raises ProtocolError."""
    if not isinstance(arguments, list) or len(arguments) < 2 or arguments[0] != "event":
        raise ProtocolError(f"An event without the panel's outline: {_shown(arguments)}")
    envelope = arguments[1]
    name = envelope.get("name") if isinstance(envelope, dict) else None
    if not isinstance(name, str):
        raise ProtocolError(f"An event without a name: {_shown(envelope)}")
    ts = envelope.get("ts")
    return Envelope(name, envelope.get("data"), int(ts) if _is_time(ts) else None)


def _is_time(ts: Any) -> bool:
    return isinstance(ts, int | float) and not isinstance(ts, bool) and 0 <= ts < 2**53


def vendor_words(body: bytes) -> str:
    """What the panel says about an error: its JSON's error field, else its text, shortened; "" for an empty body.

    Shapes: {"error_not_found" | "error_bad_request" | "error_internal" | "error": str}, text/plain, nothing.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _shown(body.decode("utf-8", "replace").strip()) if body.strip() else ""
    if isinstance(data, dict):
        words = [str(value) for key, value in data.items() if key.startswith("error") and value is not None]
        if words:
            return _shown(" ".join(words))
    return _shown(data)


def _shown(payload: Any) -> str:
    text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else str(payload)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
